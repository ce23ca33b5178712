"""Operator and agent, both real: from the first bundle to a registered site, whoever dies, and what opens nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from secondsite.controller.agents import AgentClient
from secondsite.controller.kube import Kube
from secondsite.controller.login import find
from secondsite.controller.registration import Registrar
from secondsite.errors import SpecRefused
from secondsite.plan.actions import CreateAuthority, IssueBundle, Register
from secondsite.sandbox.control_plane import ControlPlane
from secondsite.trust.certificates import utc_now
from support.patience import until
from support.site_side import NAMESPACE, Ends, agent_at, broken, free_port, registered


@pytest.fixture
async def ends(control_plane: ControlPlane, namespace: str) -> AsyncIterator[Ends]:
    async with Kube(find(control_plane.kubeconfig())) as kube:
        made = Ends(kube, namespace, f"https://127.0.0.1:{free_port()}")
        yield made
        await made.side.close()


async def test_an_authority_is_not_made_twice(ends: Ends) -> None:
    await ends.authority()
    first = (await ends.keys()).signer.fingerprint
    await ends.restart()
    await ends.act(CreateAuthority())
    assert (await ends.keys()).signer.fingerprint == first


async def test_a_site_of_a_lost_authority_is_found_before_a_new_one_is_made(
    ends: Ends, tmp_path: Path, control_plane: ControlPlane
) -> None:
    async with registered(ends, tmp_path):
        await ends.side.close()
        control_plane.kubectl("delete", "secret", "-n", ends.secrets, f"{NAMESPACE}.vault-authority")
        await ends.restart()
        await until(lambda: ends.side.foreign_sites(NAMESPACE, "vault") == ("newyork",))
        assert ends.side.authorities(NAMESPACE, "vault") == ()


@pytest.mark.parametrize("step", ["request_certificate", "install_certificate"])
async def test_registration_goes_on_after_the_operator_died(
    ends: Ends, tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ends.authority()
    bundle = await ends.bundle(tmp_path)
    async with agent_at(ends.endpoint, tmp_path / "data", bundle):
        await until(lambda: ends.side.facts(NAMESPACE, "newyork").peer == "Bootstrap")
        with broken(AgentClient, step), pytest.raises(ConnectionError):
            await ends.act(Register("newyork"))
        await ends.restart()
        await ends.register()


async def test_registration_goes_on_after_the_operator_died_before_it_saw_the_end(ends: Ends, tmp_path: Path) -> None:
    await ends.authority()
    bundle = await ends.bundle(tmp_path)
    async with agent_at(ends.endpoint, tmp_path / "data", bundle):
        await until(lambda: ends.side.facts(NAMESPACE, "newyork").peer == "Bootstrap")
        with broken(Registrar, "_confirm"), pytest.raises(ConnectionError):
            await ends.act(Register("newyork"))
        await ends.restart()
        await until(lambda: ends.side.facts(NAMESPACE, "newyork").peer == "Agent")
        await until(lambda: ends.view().known)


async def test_registration_goes_on_after_the_agent_died(ends: Ends, tmp_path: Path) -> None:
    await ends.authority()
    bundle = await ends.bundle(tmp_path)
    async with agent_at(ends.endpoint, tmp_path / "data", bundle):
        await until(lambda: ends.side.facts(NAMESPACE, "newyork").peer == "Bootstrap")
        with broken(AgentClient, "install_certificate"), pytest.raises(ConnectionError):
            await ends.act(Register("newyork"))
    async with agent_at(ends.endpoint, tmp_path / "data", bundle):
        await ends.register()


async def test_a_copied_bundle_is_refused_once_it_is_bound(ends: Ends, tmp_path: Path) -> None:
    await ends.authority()
    bundle = await ends.bundle(tmp_path)
    async with agent_at(ends.endpoint, tmp_path / "data", bundle):
        await until(lambda: ends.side.facts(NAMESPACE, "newyork").peer == "Bootstrap")
        with broken(AgentClient, "install_certificate"), pytest.raises(ConnectionError):
            await ends.act(Register("newyork"))
    async with agent_at(ends.endpoint, tmp_path / "rogue", bundle):
        await ends.restart()
        await until(lambda: ends.side.facts(NAMESPACE, "newyork").peer == "Bootstrap")
        with pytest.raises(SpecRefused) as refused:
            await ends.act(Register("newyork"))
        assert refused.value.reason == "BundleBoundToOther"
        assert "issueRegistration" in refused.value.remedy


async def test_a_spent_bundle_opens_nothing(ends: Ends, tmp_path: Path) -> None:
    async with registered(ends, tmp_path):
        pass
    async with agent_at(ends.endpoint, tmp_path / "rogue", tmp_path / "bundle.json"):
        await ends.restart()
        await until(lambda: ends.side.facts(NAMESPACE, "newyork").peer == "Bootstrap")
        with pytest.raises(SpecRefused, match="spent"):
            await ends.act(Register("newyork"))


async def test_a_replaced_bundle_and_one_of_another_object_open_nothing(ends: Ends, tmp_path: Path) -> None:
    await ends.authority()
    bundle = await ends.bundle(tmp_path)
    old = tmp_path / "old.json"
    old.write_bytes(bundle.read_bytes())
    await ends.bundle(tmp_path)
    async with agent_at(ends.endpoint, tmp_path / "data", old):
        await until(lambda: ends.side.facts(NAMESPACE, "newyork").peer == "Bootstrap")
        with pytest.raises(SpecRefused) as refused:
            await ends.act(Register("newyork"))
        assert refused.value.reason == "BundleNotOutstanding"
    async with agent_at(ends.endpoint, tmp_path / "other", bundle):
        ends.uid = "uid-2"
        await ends.restart()
        await until(lambda: ends.side.facts(NAMESPACE, "newyork").peer == "Bootstrap")
        with pytest.raises(SpecRefused) as other:
            await ends.act(Register("newyork"))
        assert other.value.reason == "BundleForOther"


async def test_a_key_that_is_not_the_pinned_one_is_never_signed(ends: Ends, tmp_path: Path) -> None:
    await ends.authority()
    ends.pin = "sha256:" + "0" * 64
    bundle = await ends.bundle(tmp_path)
    async with agent_at(ends.endpoint, tmp_path / "data", bundle):
        await until(lambda: ends.side.facts(NAMESPACE, "newyork").peer == "Bootstrap")
        with pytest.raises(SpecRefused) as refused:
            await ends.act(Register("newyork"))
        assert refused.value.reason == "KeyPinMismatch"
        assert (await ends.keys()).registrations["newyork"].bound_key == ""


async def test_an_expired_bundle_is_refused(ends: Ends, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await ends.authority()
    bundle = await ends.bundle(tmp_path)
    async with agent_at(ends.endpoint, tmp_path / "data", bundle):
        await until(lambda: ends.side.facts(NAMESPACE, "newyork").peer == "Bootstrap")
        keys = await ends.keys()
        record = keys.registrations["newyork"]
        later = utc_now() + timedelta(hours=200)
        assert utc_now() < record.expiry < later
        monkeypatch.setattr("secondsite.controller.registration.utc_now", lambda: later)
        with pytest.raises(SpecRefused) as refused:
            await ends.act(Register("newyork"))
        assert refused.value.reason == "BundleExpired"


async def test_a_new_bundle_replaces_the_old_secret(ends: Ends, tmp_path: Path) -> None:
    await ends.authority()
    first = (await ends.bundle(tmp_path)).read_text()
    await ends.act(IssueBundle("newyork", "again"))
    assert (await ends.bundle(tmp_path)).read_text() != first
