"""The same handshakes between blocking sockets in threads, as the data port has them."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from structlog.testing import capture_logs

from secondsite.errors import SecondsiteError
from secondsite.trust.certificates import Peer
from secondsite.trust.contexts import VaultContext, client_context, reloadable, server_context
from secondsite.trust.gate import PeerRefused, SiteGate, only_roles
from secondsite.trust.handshake import peer_of
from secondsite.trust.identity import Identity
from secondsite.trust.names import Role
from support.vault import DAY, Vault

HOST = "127.0.0.1"


@pytest.fixture
def vault() -> Vault:
    return Vault()


def data_port(vault: Vault, *, revoked: tuple[int, ...] = ()) -> VaultContext:
    return server_context(vault.agent("chicago"), vault.trust(revoked), only_roles(Role.AGENT))


def dialler(identity: Identity, vault: Vault, site: str = "chicago") -> VaultContext:
    return client_context(identity, vault.trust(), SiteGate(site, HOST))


@contextmanager
def answering(context: ssl.SSLContext) -> Iterator[tuple[tuple[str, int], Future[Peer]]]:
    """A listener for one connection; the future holds who came, or why it was refused."""

    def answer(listener: socket.socket) -> Peer:
        connection, _ = listener.accept()
        connection.settimeout(10)
        with contextlib.closing(connection), context.wrap_socket(connection, server_side=True) as secure:
            secure.sendall(b"welcome")
            return peer_of(secure)

    with ThreadPoolExecutor(1) as pool, socket.create_server((HOST, 0)) as listener:
        yield listener.getsockname(), pool.submit(answer, listener)


def greet(context: ssl.SSLContext, address: tuple[str, int]) -> bytes:
    """The client knows only at its first read whether it was let in: so it is with TLS 1.3."""
    with socket.create_connection(address, timeout=10) as raw, context.wrap_socket(raw) as secure:
        return secure.recv(100)


def test_two_sites_of_one_vault_meet(vault: Vault) -> None:
    source = vault.agent("newyork")
    with answering(data_port(vault)) as (address, came):
        assert greet(dialler(source, vault), address) == b"welcome"
    assert came.result() == source.peer


@pytest.mark.parametrize(
    ("who", "alert"),
    [
        ("stranger", "TLSV1_ALERT_UNKNOWN_CA"),
        ("expired", "SSLV3_ALERT_CERTIFICATE_EXPIRED"),
        ("bundle", "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE"),
    ],
)
def test_a_refused_client_is_told_why(vault: Vault, who: str, alert: str) -> None:
    identity = {
        "stranger": lambda: Vault().agent("newyork"),
        "expired": lambda: vault.agent("newyork", made=datetime.now(UTC) - 30 * DAY, lifetime=10 * DAY),
        "bundle": lambda: vault.bootstrap("newyork"),
    }[who]()
    with capture_logs() as log, answering(data_port(vault)) as (address, came):
        with pytest.raises(ssl.SSLError, match=alert):
            greet(dialler(identity, vault), address)
        assert isinstance(came.exception(10), ssl.SSLError)
    assert [entry["address"] for entry in log] == [HOST]


def test_a_refused_client_is_parted_from_in_order(vault: Vault) -> None:
    # A reset would throw away the alert where the system drops what was not read yet, as Windows does.
    stranger = dialler(Vault().agent("newyork"), vault)
    with (
        answering(data_port(vault)) as (address, _),
        socket.create_connection(address, timeout=10) as raw,
        stranger.wrap_socket(raw) as secure,
    ):
        with pytest.raises(ssl.SSLError, match="UNKNOWN_CA"):
            secure.recv(1)
        assert socket.socket.recv(secure, 1) == b""


def test_no_certificate_is_told(vault: Vault) -> None:
    bare = ssl.create_default_context(cadata=vault.authority.certificate_pem)
    bare.check_hostname = False
    with answering(data_port(vault)) as (address, _), pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
        greet(bare, address)


@pytest.mark.parametrize("role", ["operator", "reader"])
def test_the_data_port_takes_only_sites(vault: Vault, role: str) -> None:
    identity = vault.operator() if role == "operator" else vault.reader()
    with answering(data_port(vault)) as (address, came):
        assert greet(dialler(identity, vault), address) == b""
        with pytest.raises(PeerRefused, match=f"of the {role} of vault .* takes role agent"):
            came.result(10)


def test_a_revoked_site_is_refused_at_both_ends(vault: Vault) -> None:
    source = vault.agent("newyork")
    with answering(data_port(vault, revoked=(source.peer.serial,))) as (address, came):
        assert greet(dialler(source, vault), address) == b""
        with pytest.raises(PeerRefused, match="was revoked"):
            came.result(10)
    target = vault.agent("chicago")
    with answering(server_context(target, vault.trust())) as (address, _), pytest.raises(PeerRefused, match="revoked"):
        greet(client_context(source, vault.trust([target.peer.serial]), SiteGate("chicago", HOST)), address)


def test_the_dialling_site_names_the_wrong_target(vault: Vault) -> None:
    with (
        answering(data_port(vault)) as (address, _),
        pytest.raises(PeerRefused, match="of site chicago, dialled boston"),
    ):
        greet(dialler(vault.agent("newyork"), vault, "boston"), address)


def test_a_renewed_context_serves_the_next_connection(vault: Vault) -> None:
    gate = SiteGate("chicago", HOST)
    client = client_context(vault.agent("newyork"), vault.trust(), gate)
    context = reloadable(data_port(vault))
    seen = []
    for _ in range(2):
        with answering(context) as (address, _):
            assert greet(client, address) == b"welcome"
        seen.append(gate.seen)
        context.current = data_port(vault)
    assert seen[0] != seen[1]


def test_a_connection_without_our_checks_has_no_peer(vault: Vault) -> None:
    with socket.socket() as plain, pytest.raises(SecondsiteError, match="no peer certificate"):
        peer_of(plain)
