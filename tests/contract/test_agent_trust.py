"""Who may call an agent: strangers end in the handshake, wrong roles in a 403, the revoked at once."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest

from secondsite.trust.authority import CertificateAuthority
from secondsite.trust.certificates import serial_to_text
from secondsite.trust.names import Name, Role
from secondsite.wire.agent import Settings
from secondsite.wire.identity import TrustUpdate
from secondsite.wire.problems import Code
from support.agents import FENCE, Caller, Running, enrol, running
from support.memory_driver import MemoryDriver
from support.patience import until
from support.vault import DAY, Vault


@pytest.fixture
def vault() -> Vault:
    return Vault()


@pytest.fixture
async def site(tmp_path: Path, vault: Vault) -> AsyncIterator[Running]:
    enrol(tmp_path, vault)
    async with running(tmp_path, MemoryDriver()) as agent:
        await until(agent.agent.settled)
        yield agent


async def refusal(caller: Caller) -> str:
    with pytest.raises(aiohttp.ClientError) as caught:
        await caller.get("/v1/agent")
    return str(caught.value)


async def test_a_stranger_learns_that_nobody_knows_him(site: Running, vault: Vault) -> None:
    assert "TLSV1_ALERT_UNKNOWN_CA" in await refusal(site.caller(vault, Vault().operator()))


async def test_an_expired_operator_learns_it(site: Running, vault: Vault) -> None:
    name = Name(vault.vault_id, Role.OPERATOR)
    old = vault.identity(name, made=datetime.now(UTC) - 30 * DAY, lifetime=DAY)
    assert "CERTIFICATE_EXPIRED" in await refusal(site.caller(vault, old))


async def test_without_a_certificate_nobody_is_served(site: Running, vault: Vault) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=vault.authority.certificate_pem)
    connector = aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(connector=connector) as session:
        with pytest.raises(aiohttp.ClientError, match="CERTIFICATE_REQUIRED"):
            await session.get(f"{site.url}/v1/agent")


async def test_no_older_tls_is_spoken(site: Running, vault: Vault) -> None:
    caller = site.caller(vault)
    caller.context.minimum_version = ssl.TLSVersion.TLSv1_2
    caller.context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert "PROTOCOL_VERSION" in await refusal(caller)


@pytest.mark.parametrize(("method", "path"), [("PUT", "/v1/settings"), ("DELETE", "/v1/tombstones/t1")])
async def test_a_reader_looks_and_does_nothing(site: Running, vault: Vault, method: str, path: str) -> None:
    reader = site.caller(vault, vault.reader())
    for look in ("/v1/agent", "/v1/checks", "/v1/changes"):
        assert (await reader.get(look)).status == 200
    answer = await reader.ask(method, path, Settings(fence=FENCE))
    assert (answer.status, answer.code) == (403, Code.WRONG_ROLE)


async def test_another_site_of_the_vault_may_not_call(site: Running, vault: Vault) -> None:
    answer = await site.caller(vault, vault.agent("newyork")).get("/v1/agent")
    assert (answer.status, answer.code) == (403, Code.WRONG_ROLE)
    assert "role agent" in answer.json["detail"]


async def test_the_revoked_lose_their_connection_and_get_no_other(site: Running, vault: Vault) -> None:
    victim, operator = vault.operator(), site.caller(vault)
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=site.caller(vault, victim).context))
    async with session:
        cursor = (await operator.changes()).cursor
        poll = asyncio.create_task(session.get(f"{site.url}/v1/changes", params={"cursor": cursor, "wait": "60"}))
        await until(lambda: len(list(site.agent.connections())) > 0)
        update = TrustUpdate(authorities=[], revoked=(serial_to_text(victim.peer.serial),))
        assert (await operator.put("/v1/identity/trust", update)).status == 200
        with pytest.raises(aiohttp.ClientError):
            await asyncio.wait_for(poll, 10)
    with pytest.raises(aiohttp.ClientError):
        await site.caller(vault, victim).get("/v1/agent")


async def test_the_revoked_stay_revoked_when_the_agent_starts_again(tmp_path: Path) -> None:
    vault, driver = Vault(), MemoryDriver()
    victim = vault.operator()
    enrol(tmp_path, vault)
    async with running(tmp_path, driver) as agent:
        update = TrustUpdate(authorities=[], revoked=(serial_to_text(victim.peer.serial),))
        await agent.caller(vault).put("/v1/identity/trust", update)
    async with running(tmp_path, driver) as agent:
        with pytest.raises(aiohttp.ClientError):
            await agent.caller(vault, victim).get("/v1/agent")
        assert (await agent.caller(vault).get("/v1/agent")).status == 200


async def test_a_new_authority_is_believed_beside_the_old_one(site: Running, vault: Vault) -> None:
    second = Vault(CertificateAuthority.create(vault.vault_id, datetime.now(UTC)))
    await refusal(site.caller(vault, second.operator()))
    update = TrustUpdate(authorities=[second.authority.certificate_pem])
    assert (await site.caller(vault).put("/v1/identity/trust", update)).status == 200
    for operator in (vault.operator(), second.operator()):
        assert (await site.caller(vault, operator).get("/v1/agent")).status == 200


@pytest.mark.parametrize(
    ("update", "field"),
    [
        (TrustUpdate(authorities=["no certificate"]), "authorities.0"),
        (TrustUpdate(authorities=[], revoked=("xyz",)), "revoked"),
    ],
)
async def test_trust_that_cannot_be_read_changes_nothing(
    site: Running, vault: Vault, update: TrustUpdate, field: str
) -> None:
    answer = await site.caller(vault).put("/v1/identity/trust", update)
    assert (answer.code, answer.json["detail"].split(":")[0]) == (Code.INVALID_REQUEST, field)
    assert (await site.caller(vault).get("/v1/agent")).status == 200
