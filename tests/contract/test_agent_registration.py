"""From bundle to certificate, with a crash at every point, and renewal over connections that stay open."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest

from secondsite.agent.identity import SiteIdentity
from secondsite.errors import SecondsiteError
from secondsite.trust.bundle import BundleError, RegistrationBundle
from secondsite.trust.keys import fingerprint, make_request, new_key, requested_key
from secondsite.trust.names import Role
from secondsite.wire.identity import CertificateInstall, IdentityRequest, TrustUpdate
from secondsite.wire.problems import Code, Refusal
from support.agents import SITE, bundle, certificate_for, command, enrol, running
from support.memory_driver import MemoryDriver
from support.patience import until
from support.vault import DAY, Vault


@pytest.fixture
def vault() -> Vault:
    return Vault()


def asked(vault: Vault, site: str = SITE) -> IdentityRequest:
    return IdentityRequest(vault_id=vault.vault_id, site=site)


def key_in(request: str) -> str:
    return fingerprint(requested_key(request))


async def test_before_registration_only_the_agent_and_its_identity_answer(tmp_path: Path, vault: Vault) -> None:
    async with running(tmp_path, MemoryDriver(), bundle(vault)) as agent:
        operator = agent.caller(vault)
        info = (await operator.get("/v1/agent")).json
        assert (info["registered"], info["site"]) == (False, "")
        assert operator.gate.seen is not None
        assert operator.gate.seen.name.role is Role.BOOTSTRAP
        for path in ("/v1/checks", "/v1/changes", "/v1/vms/x", "/v1/operations/k", "/v1/agents", "/v1/nonsense"):
            answer = await operator.get(path)
            assert (answer.status, answer.code) == (403, Code.NOT_REGISTERED), path
        for path in ("/v1/operations/k", "/v1/settings", "/v1/associations/a"):
            assert (await operator.put(path, command())).code == Code.NOT_REGISTERED
        assert (await operator.delete("/v1/operations/k")).code == Code.NOT_REGISTERED
        trust = await operator.put("/v1/identity/trust", TrustUpdate(authorities=[]))
        assert trust.code == Code.NOT_REGISTERED


async def test_a_registered_agent_shows_its_certificate_and_serves(tmp_path: Path, vault: Vault) -> None:
    driver = MemoryDriver()
    async with running(tmp_path, driver, bundle(vault)) as agent:
        operator = agent.caller(vault)
        pinned = (await operator.get("/v1/agent")).json["keyFingerprint"]
        assert driver.context is None
        await operator.register(vault)
        await until(agent.agent.settled)
        info = (await operator.get("/v1/agent")).json
        assert (info["registered"], info["site"], info["keyFingerprint"]) == (True, SITE, pinned)
        assert operator.gate.seen is not None
        assert (operator.gate.seen.name.role, operator.gate.seen.key_fingerprint) == (Role.AGENT, pinned)
        assert (await operator.changes()).whole
        id_ = info["id"]
    assert [path.name for path in (tmp_path / "identity").iterdir()] == ["identity.json"]
    # The next start needs no bundle.
    async with running(tmp_path, MemoryDriver()) as agent:
        info = (await agent.caller(vault).get("/v1/agent")).json
        assert (info["registered"], info["id"]) == (True, id_)


async def test_another_site_or_vault_is_refused(tmp_path: Path, vault: Vault) -> None:
    async with running(tmp_path, MemoryDriver(), bundle(vault)) as agent:
        for wrong in (asked(vault, "newyork"), asked(Vault())):
            answer = await agent.caller(vault).put("/v1/identity/request", wrong)
            assert (answer.status, answer.code) == (403, Code.WRONG_BUNDLE)
            assert answer.json["remedy"]


async def test_a_certificate_that_does_not_fit_is_refused(tmp_path: Path, vault: Vault) -> None:
    async with running(tmp_path, MemoryDriver(), bundle(vault)) as agent:
        operator = agent.caller(vault)
        request = (await operator.put("/v1/identity/request", asked(vault))).json["certificateRequest"]
        other_vault = certificate_for(Vault(), request)
        wrong = [
            certificate_for(vault, make_request(new_key())),
            certificate_for(vault, request, site="newyork"),
            CertificateInstall(certificate=other_vault.certificate, authorities=[vault.authority.certificate_pem]),
            CertificateInstall(certificate="nonsense", authorities=[]),
        ]
        for offer in wrong:
            assert (await operator.put("/v1/identity/certificate", offer)).code == Code.KEY_MISMATCH
        assert not (await operator.get("/v1/agent")).json["registered"]
        assert (await operator.put("/v1/identity/certificate", certificate_for(vault, request))).status == 200


async def test_renewal_keeps_open_connections_and_changes_the_key(tmp_path: Path, vault: Vault) -> None:
    enrol(tmp_path, vault)
    async with running(tmp_path, MemoryDriver()) as agent:
        await until(agent.agent.settled)
        operator = agent.caller(vault)
        before = (await operator.get("/v1/agent")).json["keyFingerprint"]
        cursor = (await operator.changes()).cursor
        polls = [asyncio.create_task(operator.changes(cursor, 60)) for _ in range(5)]
        await until(lambda: len(list(agent.agent.connections())) == len(polls))
        await operator.register(vault)
        after = (await operator.get("/v1/agent")).json["keyFingerprint"]
        assert operator.gate.seen is not None
        assert before != after == operator.gate.seen.key_fingerprint
        await operator.put("/v1/operations/k1", command())
        pages = await asyncio.wait_for(asyncio.gather(*polls), 10)
        assert all(page.entries for page in pages)


async def test_an_expired_bundle_starts_with_a_warning_and_no_operator_believes_it(
    tmp_path: Path, vault: Vault
) -> None:
    old = bundle(vault, lifetime=timedelta(seconds=-1))
    async with running(tmp_path, MemoryDriver(), old) as agent:
        warning = agent.agent.identity.warning(datetime.now(UTC))
        assert "expired" in warning
        assert "issueRegistration" in warning
        with pytest.raises(aiohttp.ClientConnectorCertificateError, match="expired"):
            await agent.caller(vault).get("/v1/agent")


# From here: what a crash leaves in the folder, seen by opening it again.


def test_without_certificate_and_bundle_there_is_no_start(tmp_path: Path) -> None:
    with pytest.raises(SecondsiteError, match=r"no certificate.*--bundle"):
        SiteIdentity(tmp_path, None)


def test_the_key_is_on_the_disk_before_anybody_hears_of_it(tmp_path: Path, vault: Vault) -> None:
    first = SiteIdentity(tmp_path, bundle(vault))
    keys = {key_in(first.request(asked(vault))) for _ in range(3)}
    # Crash after the request; the next start has no bundle given.
    second = SiteIdentity(tmp_path, None)
    keys |= {key_in(second.request(asked(vault))), second.key_fingerprint, first.key_fingerprint}
    assert len(keys) == 1
    assert not second.registered


def test_a_certificate_signed_before_the_crash_fits_after_it(tmp_path: Path, vault: Vault) -> None:
    given = bundle(vault)
    offer = certificate_for(vault, SiteIdentity(tmp_path, given).request(asked(vault)))
    again = SiteIdentity(tmp_path, given)
    again.install(offer)
    # The reply was lost: installing it again is no error.
    again.install(offer)
    assert again.registered
    assert SiteIdentity(tmp_path, None).registered


@pytest.mark.parametrize("left", [("bundle.json", "pending-key.pem"), ("bundle.json",), ("pending-key.pem",)])
def test_a_crash_between_the_certificate_and_tidying_up(tmp_path: Path, vault: Vault, left: tuple[str, ...]) -> None:
    given = bundle(vault)
    identity = SiteIdentity(tmp_path, given)
    offer = certificate_for(vault, identity.request(asked(vault)))
    leftovers = {name: (tmp_path / name).read_bytes() for name in left}
    identity.install(offer)
    for name, content in leftovers.items():
        (tmp_path / name).write_bytes(content)
    for bundle_again in (given, None):
        again = SiteIdentity(tmp_path, bundle_again)
        assert again.registered
        assert again.key_fingerprint == identity.key_fingerprint
        assert sorted(path.name for path in tmp_path.iterdir()) == ["identity.json"]
    # And a renewal asks with a key of its own.
    assert key_in(again.request(asked(vault))) != identity.key_fingerprint


def test_a_half_written_file_counts_for_nothing(tmp_path: Path, vault: Vault) -> None:
    identity = SiteIdentity(tmp_path, bundle(vault))
    offer = certificate_for(vault, identity.request(asked(vault)))
    (tmp_path / ".identity.json.half").write_text('{"certificate": "-----BEGIN')
    again = SiteIdentity(tmp_path, None)
    assert not again.registered
    again.install(offer)
    assert SiteIdentity(tmp_path, None).registered


def test_a_renewal_goes_on_with_its_key_after_a_crash(tmp_path: Path, vault: Vault) -> None:
    enrol(tmp_path, vault)
    folder = tmp_path / "identity"
    first = SiteIdentity(folder, None)
    request = first.request(asked(vault))
    second = SiteIdentity(folder, None)
    assert key_in(second.request(asked(vault))) == key_in(request) != second.key_fingerprint
    second.install(certificate_for(vault, request))
    assert SiteIdentity(folder, None).key_fingerprint == key_in(request)


def test_a_spent_bundle_is_ignored_and_a_fresh_one_registers_anew(tmp_path: Path, vault: Vault) -> None:
    first, second = bundle(vault), bundle(vault)
    identity = SiteIdentity(tmp_path, first)
    identity.install(certificate_for(vault, identity.request(asked(vault))))
    identity.update_trust(TrustUpdate(authorities=[], revoked=("abc",)))
    assert SiteIdentity(tmp_path, first).registered
    anew = SiteIdentity(tmp_path, second)
    assert not anew.registered
    # What was revoked stays revoked.
    assert anew.trust.revoked == {0xABC}
    anew.install(certificate_for(vault, anew.request(asked(vault))))
    for spent in (first, second):
        again = SiteIdentity(tmp_path, spent)
        assert again.registered
        assert again.trust.revoked == {0xABC}


def test_a_certificate_nobody_asked_for_is_refused(tmp_path: Path, vault: Vault) -> None:
    enrol(tmp_path, vault)
    identity = SiteIdentity(tmp_path / "identity", None)
    with pytest.raises(Refusal) as caught:
        identity.install(certificate_for(vault, make_request(new_key())))
    assert caught.value.code == Code.KEY_MISMATCH


def test_a_damaged_folder_says_what_to_do(tmp_path: Path, vault: Vault) -> None:
    enrol(tmp_path, vault)
    (tmp_path / "identity" / "identity.json").write_text("{}")
    with pytest.raises(SecondsiteError, match=r"identity\.json is damaged.*issueRegistration"):
        SiteIdentity(tmp_path / "identity", None)


def test_a_tampered_bundle_is_refused() -> None:
    text = bundle(Vault()).to_json().replace('"site": "chicago"', '"site": "newyork"')
    with pytest.raises(BundleError, match="issueRegistration"):
        RegistrationBundle.parse(text)


def test_secrets_are_for_their_owner_only(tmp_path: Path, vault: Vault) -> None:
    enrol(tmp_path, vault)
    folder = tmp_path / "identity"
    SiteIdentity(folder, None).request(asked(vault))
    assert {path.stat().st_mode & 0o077 for path in (folder, *folder.iterdir())} == {0}


def test_an_expired_certificate_is_told_at_the_start(tmp_path: Path, vault: Vault) -> None:
    enrol(tmp_path, vault, lifetime=DAY)
    identity = SiteIdentity(tmp_path / "identity", None)
    assert identity.warning(datetime.now(UTC)) == ""
    assert "expired" in identity.warning(datetime.now(UTC) + 2 * DAY)
