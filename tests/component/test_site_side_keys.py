"""Keys and bundles at the moments that go wrong: renewal under a pin, a lost authority, a crash between two writes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from secondsite.controller.agents import Unreached
from secondsite.controller.authority import Authorities
from secondsite.controller.kube import Kube
from secondsite.controller.login import find
from secondsite.controller.registration import Registrar
from secondsite.plan.actions import Command, IssueBundle, Renew
from secondsite.plan.observed import UNKNOWN
from secondsite.sandbox.control_plane import ControlPlane
from secondsite.wire.arguments import Nothing
from secondsite.wire.operations import Verb
from support.memory_driver import VM_ID
from support.patience import until
from support.site_side import NAMESPACE, Ends, agent_at, broken, free_port


@pytest.fixture
async def ends(control_plane: ControlPlane, namespace: str) -> AsyncIterator[Ends]:
    async with Kube(find(control_plane.kubeconfig())) as kube:
        made = Ends(kube, namespace, f"https://127.0.0.1:{free_port()}")
        yield made
        await made.side.close()


async def test_a_pinned_site_is_renewed_although_every_renewal_makes_a_new_key(ends: Ends, tmp_path: Path) -> None:
    await ends.authority()
    bundle = await ends.bundle(tmp_path)
    async with agent_at(ends.endpoint, tmp_path / "data", bundle) as agent:
        ends.pin = agent.identity.key_fingerprint
        await ends.register()
        await ends.act(Renew("newyork"))
        await until(lambda: ends.view().known)
        assert agent.identity.key_fingerprint != ends.pin


@pytest.mark.parametrize(("where", "step"), [(Registrar, "_write_secret"), (Authorities, "change")])
async def test_a_bundle_that_was_half_issued_is_no_record_that_waits_for_a_secret(
    ends: Ends, where: type[object], step: str
) -> None:
    await ends.authority()
    with broken(where, step), pytest.raises(ConnectionError):
        await ends.act(IssueBundle("newyork", ""))
    # Without a record the next turn issues another one.
    assert "newyork" not in (await ends.keys()).registrations


async def test_an_authority_lost_while_its_site_is_followed_is_not_replaced(
    ends: Ends, tmp_path: Path, control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secondsite.controller.authority._REFRESH_SECONDS", 0.2)
    monkeypatch.setattr("secondsite.controller.feed.POLL_SECONDS", 1.0)
    await ends.authority()
    bundle = await ends.bundle(tmp_path)
    async with agent_at(ends.endpoint, tmp_path / "data", bundle):
        await ends.register()
        held = ends.side.authorities(NAMESPACE, "vault")
        control_plane.kubectl("delete", "secret", "-n", ends.secrets, f"{NAMESPACE}.vault-authority")
        # Nobody may be told that there is no authority and no site that answers with one: it would be made anew.
        await until(lambda: ends.side.authorities(NAMESPACE, "vault") != held)
        assert ends.side.authorities(NAMESPACE, "vault") is UNKNOWN
        await until(lambda: ends.side.authorities(NAMESPACE, "vault") is not UNKNOWN)
        assert ends.side.foreign_sites(NAMESPACE, "vault") == ("newyork",)
        assert not ends.view().known


async def test_who_shows_a_copied_bundle_in_a_registered_agents_place_is_told_and_believed_nothing(
    ends: Ends, tmp_path: Path
) -> None:
    await ends.authority()
    bundle = await ends.bundle(tmp_path)
    async with agent_at(ends.endpoint, tmp_path / "data", bundle):
        await ends.register()
    async with agent_at(ends.endpoint, tmp_path / "rogue", bundle):
        # It is seen for what it is, and registered no more.
        await until(lambda: ends.side.facts(NAMESPACE, "newyork").peer == "Bootstrap")
        for action in (Command("newyork", Verb.SUSPEND, VM_ID, "intent", Nothing()), Renew("newyork")):
            with pytest.raises(Unreached) as refused:
                await ends.act(action)
            assert refused.value.reason == "PeerUnregistered"
        assert not ends.view().known
