"""TLS of the data port, as a driver gets it: agents of the vault only, and always with the newest certificate."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from secondsite.agent.identity import SiteIdentity
from secondsite.agent.tls import LiveTLS
from secondsite.trust.certificates import serial_to_text
from secondsite.trust.contexts import client_context, server_context
from secondsite.trust.gate import anyone
from secondsite.trust.handshake import peer_of
from secondsite.trust.identity import Identity
from secondsite.wire.identity import IdentityRequest, TrustUpdate
from support.agents import HOST, SITE, certificate_for, enrol
from support.vault import Vault


@pytest.fixture
def vault() -> Vault:
    return Vault()


@pytest.fixture
def identity(tmp_path: Path, vault: Vault) -> SiteIdentity:
    enrol(tmp_path, vault)
    return SiteIdentity(tmp_path / "identity", None)


async def _greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"hello")
    writer.close()


@asynccontextmanager
async def listening(context: ssl.SSLContext) -> AsyncIterator[int]:
    server = await asyncio.start_server(_greet, HOST, 0, ssl=context)
    async with server:
        yield int(server.sockets[0].getsockname()[1])


async def dial(context: ssl.SSLContext, port: int) -> str:
    """Fingerprint of the key that answered, once a byte has come through."""
    reader, writer = await asyncio.open_connection(HOST, port, ssl=context)
    try:
        if await reader.read() != b"hello":
            raise ssl.SSLError("closed without a greeting")
        return peer_of(writer.get_extra_info("ssl_object")).key_fingerprint
    finally:
        writer.close()


async def call(identity: Identity, vault: Vault, port: int) -> str:
    return await dial(client_context(identity, vault.trust(), anyone), port)


async def test_the_listener_takes_data_from_agents_of_the_vault_only(identity: SiteIdentity, vault: Vault) -> None:
    async with listening(LiveTLS(identity).listener()) as port:
        assert await call(vault.agent("newyork"), vault, port) == identity.key_fingerprint
        for stranger in (vault.operator(), vault.reader(), Vault().agent("newyork")):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await call(stranger, vault, port)


async def test_the_dialler_sends_data_to_the_named_site_only(identity: SiteIdentity, vault: Vault) -> None:
    tls, newyork = LiveTLS(identity), vault.agent("newyork")
    async with listening(server_context(newyork, vault.trust())) as port:
        assert await dial(tls.dialler("newyork"), port) == newyork.peer.key_fingerprint
        with pytest.raises(ssl.SSLCertVerificationError, match="meant for site boston"):
            await dial(tls.dialler("boston"), port)


async def test_open_listeners_and_diallers_follow_a_renewal_and_a_revocation(
    identity: SiteIdentity, vault: Vault
) -> None:
    tls, newyork, before = LiveTLS(identity), vault.agent("newyork"), identity.key_fingerprint
    dialler = tls.dialler("newyork")
    async with listening(tls.listener()) as port, listening(server_context(newyork, vault.trust())) as far:
        assert await call(newyork, vault, port) == before
        request = identity.request(IdentityRequest(vault_id=vault.vault_id, site=SITE))
        identity.install(certificate_for(vault, request))
        tls.refresh()
        assert before != await call(newyork, vault, port) == identity.key_fingerprint
        await dial(dialler, far)
        identity.update_trust(TrustUpdate(authorities=[], revoked=(serial_to_text(newyork.peer.serial),)))
        tls.refresh()
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await call(newyork, vault, port)
        with pytest.raises(ssl.SSLCertVerificationError, match="revoked"):
            await dial(dialler, far)
