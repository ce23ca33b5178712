"""Who gets through a handshake between real asyncio ends, and what the other end is told."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from structlog.testing import capture_logs

from secondsite.trust.contexts import client_context, reloadable, server_context, shrink_tls_buffers
from secondsite.trust.gate import SiteGate, anyone
from secondsite.trust.identity import Identity, Trust
from secondsite.trust.names import Name, Role
from support.tls_site import HOST, fetch, listening, refusal
from support.vault import DAY, Vault


def dial(identity: Identity, trust: Trust, site: str = "newyork") -> ssl.SSLContext:
    return client_context(identity, trust, SiteGate(site, HOST))


@pytest.fixture
def vault() -> Vault:
    return Vault()


@pytest.fixture(autouse=True)
def _no_accident(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A refusal is a decision: asyncio must not report it as an exception that nobody caught."""
    yield
    assert [record.message for record in caplog.get_records("call")] == []


async def test_operator_and_agent_of_one_vault_meet(vault: Vault) -> None:
    gate = SiteGate("newyork", HOST)
    agent = vault.agent("newyork")
    async with listening(server_context(agent, vault.trust())) as (url, _):
        status, text = await fetch(client_context(vault.operator(), vault.trust(), gate), url)
    assert (status, text) == (200, f"secondsite://{vault.vault_id}/operator/-")
    assert gate.seen == agent.peer


async def refused(context: ssl.SSLContext, server: ssl.SSLContext) -> str:
    """What the client is told; the server must not have served anything."""
    return str(await refusal(context, server))


async def test_the_client_is_told_that_its_authority_is_unknown(vault: Vault) -> None:
    with capture_logs() as log:
        told = await refused(
            dial(Vault().operator(), vault.trust()),
            server_context(vault.agent("newyork"), vault.trust()),
        )
    assert "TLSV1_ALERT_UNKNOWN_CA" in told
    assert "CERTIFICATE_VERIFY_FAILED" in log[0]["error"]


async def test_the_client_is_told_that_a_certificate_is_required(vault: Vault) -> None:
    bare = ssl.create_default_context(cadata=vault.authority.certificate_pem)
    bare.check_hostname = False
    told = await refused(bare, server_context(vault.agent("newyork"), vault.trust()))
    assert "TLSV13_ALERT_CERTIFICATE_REQUIRED" in told


@pytest.mark.parametrize(
    ("made", "alert"),
    [
        (timedelta(days=-30), "SSLV3_ALERT_CERTIFICATE_EXPIRED"),
        (timedelta(days=8), "SSLV3_ALERT_BAD_CERTIFICATE"),
    ],
)
async def test_the_client_is_told_that_its_times_are_wrong(vault: Vault, made: timedelta, alert: str) -> None:
    name = Name(vault.vault_id, Role.OPERATOR)
    late = vault.identity(name, made=datetime.now(UTC) + made, lifetime=10 * DAY)
    assert alert in await refused(dial(late, vault.trust()), server_context(vault.agent("newyork"), vault.trust()))


async def test_a_clock_six_days_ahead_does_not_end_in_the_handshake(vault: Vault) -> None:
    early = vault.identity(Name(vault.vault_id, Role.OPERATOR), made=datetime.now(UTC) + 6 * DAY)
    async with listening(server_context(vault.agent("newyork"), vault.trust())) as (url, _):
        assert (await fetch(dial(early, vault.trust()), url))[0] == 200


async def test_tls_1_2_is_refused(vault: Vault) -> None:
    old = dial(vault.operator(), vault.trust())
    old.minimum_version = ssl.TLSVersion.TLSv1_2
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    told = await refused(old, server_context(vault.agent("newyork"), vault.trust()))
    assert "TLSV1_ALERT_PROTOCOL_VERSION" in told


async def test_the_operator_names_the_site_that_answered_instead(vault: Vault) -> None:
    told = await refused(
        dial(vault.operator(), vault.trust(), "newyork"),
        server_context(vault.agent("chicago"), vault.trust()),
    )
    assert "The certificate is of site chicago, dialled newyork at 127.0.0.1" in told


async def test_a_bundle_of_another_endpoint_is_refused(vault: Vault) -> None:
    elsewhere = vault.bootstrap("newyork", address="127.0.0.9")
    told = await refused(dial(vault.operator(), vault.trust()), server_context(elsewhere, vault.trust()))
    assert "made for 127.0.0.9, dialled 127.0.0.1" in told


async def test_a_bundle_of_this_endpoint_is_let_in(vault: Vault) -> None:
    gate = SiteGate("newyork", HOST)
    async with listening(server_context(vault.bootstrap("newyork"), vault.trust())) as (url, _):
        assert (await fetch(client_context(vault.operator(), vault.trust(), gate), url))[0] == 200
    assert gate.seen
    assert gate.seen.name.role is Role.BOOTSTRAP


async def test_an_operator_cannot_pose_as_a_site(vault: Vault) -> None:
    told = await refused(dial(vault.operator(), vault.trust()), server_context(vault.operator(), vault.trust()))
    assert "unsuitable certificate purpose" in told


async def test_a_bundle_cannot_be_used_to_dial(vault: Vault) -> None:
    told = await refused(
        dial(vault.bootstrap("chicago"), vault.trust()),
        server_context(vault.agent("newyork"), vault.trust()),
    )
    assert "ALERT_UNSUPPORTED_CERTIFICATE" in told


async def test_a_name_of_another_vault_is_refused(vault: Vault) -> None:
    # The same key signs for two vaults: the chain is good, the name is not.
    other = Trust("another", vault.trust().authorities)
    with capture_logs() as log:
        await refused(dial(vault.operator(), vault.trust()), server_context(vault.agent("newyork"), other))
    assert f"of vault {vault.vault_id}, this is another" in log[0]["error"]


@pytest.mark.parametrize(("role", "method"), [("agent", "GET"), ("agent", "PUT"), ("reader", "PUT")])
async def test_a_wrong_role_gets_403_with_a_reason(vault: Vault, role: str, method: str) -> None:
    identity = vault.agent("chicago") if role == "agent" else vault.reader()
    async with listening(server_context(vault.agent("newyork"), vault.trust())) as (url, site):
        status, text = await fetch(dial(identity, vault.trust()), url, method)
        assert site.served == []
    assert status == 403
    assert "WrongRole" in text
    assert f"A certificate of the {identity.peer.name} may not do this" in text


async def test_a_reader_may_read(vault: Vault) -> None:
    async with listening(server_context(vault.agent("newyork"), vault.trust())) as (url, _):
        assert (await fetch(dial(vault.reader(), vault.trust()), url))[0] == 200


async def test_a_revoked_client_is_cut_off_at_once_and_logged(vault: Vault) -> None:
    operator = vault.operator()
    with capture_logs() as log:
        async with asyncio.timeout(10):
            await refused(
                dial(operator, vault.trust()),
                server_context(vault.agent("newyork"), vault.trust(revoked=[operator.peer.serial])),
            )
    assert f"(serial {operator.peer.serial:x}) was revoked" in log[0]["error"]


async def test_a_refused_client_that_goes_on_talking_is_hung_up_on(vault: Vault) -> None:
    operator = vault.operator()
    client = dial(operator, vault.trust())
    request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"

    def insist(port: int) -> bytes:
        with socket.create_connection((HOST, port), timeout=10) as raw, client.wrap_socket(raw) as secure:
            with contextlib.suppress(ConnectionError):
                secure.sendall(request)
                heard = secure.recv(1)
                secure.sendall(request)
                return heard + socket.socket.recv(secure, 1)
            return b""

    with capture_logs() as log:
        server = server_context(vault.agent("newyork"), vault.trust(revoked=[operator.peer.serial]))
        async with listening(server) as (url, site):
            assert await asyncio.to_thread(insist, int(url.rpartition(":")[2])) == b""
            assert site.served == []
    assert len(log) == 1


async def test_a_revoked_site_is_refused_by_the_one_that_dials(vault: Vault) -> None:
    agent = vault.agent("newyork")
    told = await refused(
        dial(vault.operator(), vault.trust(revoked=[agent.peer.serial])),
        server_context(agent, vault.trust()),
    )
    assert "was revoked" in told


async def test_an_expired_agent_is_reached_only_to_be_renewed(vault: Vault) -> None:
    expired = vault.agent("newyork", made=datetime.now(UTC) - 12 * DAY, lifetime=10 * DAY)
    server, operator = server_context(expired, vault.trust()), vault.operator()
    assert "certificate has expired" in await refused(dial(operator, vault.trust()), server)

    graceful = SiteGate("newyork", HOST, expired_grace=3 * DAY)
    async with listening(server) as (url, _):
        context = client_context(operator, vault.trust(), graceful, check_times=False)
        assert (await fetch(context, url))[0] == 200

    strict = client_context(
        operator,
        vault.trust(),
        SiteGate("newyork", HOST, expired_grace=1 * DAY),
        check_times=False,
    )
    assert "too long ago to be renewed" in await refused(strict, server)


async def test_sessions_are_not_resumed(vault: Vault) -> None:
    server = server_context(vault.agent("newyork"), vault.trust())
    client = dial(vault.operator(), vault.trust())
    async with listening(server) as (url, _):
        port = int(url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection(HOST, port, ssl=client)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b"200 OK" in await reader.read()
        session = writer.get_extra_info("ssl_object").session
        writer.close()
    # A TLS 1.3 session can be resumed only with a ticket, and tickets come after the handshake.
    assert not session.has_ticket


async def test_a_listener_is_renewed_while_a_connection_stays_open(vault: Vault) -> None:
    gate = SiteGate("newyork", HOST)
    first, second = vault.agent("newyork"), vault.agent("newyork")
    listener = reloadable(server_context(first, vault.trust()))
    client = client_context(vault.operator(), vault.trust(), gate)
    async with listening(listener) as (url, site), aiohttp.ClientSession() as session:
        open_poll = asyncio.create_task(session.get(url + "/hold", ssl=client))
        await site.waiting.wait()
        assert gate.seen == first.peer
        listener.current = server_context(second, vault.trust())
        assert (await fetch(client, url))[0] == 200
        assert gate.seen == second.peer
        site.release.set()
        async with await open_poll as answer:
            assert await answer.text() == "kept"


async def test_a_client_takes_a_renewed_identity_too(vault: Vault) -> None:
    client = reloadable(client_context(vault.operator(), vault.trust(), anyone))
    async with listening(server_context(vault.agent("newyork"), vault.trust())) as (url, _):
        assert "/operator/" in (await fetch(client, url))[1]
        client.current = client_context(vault.reader(), vault.trust(), anyone)
        assert "/reader/" in (await fetch(client, url))[1]


async def test_small_buffers_carry_large_bodies(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncio.sslproto.SSLProtocol, "max_size", asyncio.sslproto.SSLProtocol.max_size)
    shrink_tls_buffers()
    body = bytes(range(256)) * (1 << 12)
    client = dial(vault.operator(), vault.trust())
    async with (
        listening(server_context(vault.agent("newyork"), vault.trust())) as (url, site),
        aiohttp.ClientSession() as session,
        session.put(url, data=body, ssl=client) as answer,
    ):
        assert answer.status == 200
    assert site.served == ["PUT"]
