"""TLS connections that know who is at the other end before the first byte of content passes.

`SSLObject` serves asyncio, `SSLSocket` serves threads with blocking sockets; both read the peer's name and ask the
context's gate at the end of the handshake, on either side.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import Protocol, cast

from cryptography import x509

from secondsite import logs
from secondsite.errors import SecondsiteError
from secondsite.trust.certificates import Peer, read_peer
from secondsite.trust.gate import Admit, PeerRefused, check
from secondsite.trust.identity import Trust

_log = logs.get(__name__)

# How long a refused client is listened to, so that closing does not tear down the alert on its way to it.
_FAREWELL_SECONDS = 1.0


class Gatekeeper(Protocol):
    """What a connection finds in its context."""

    trust: Trust
    admit: Admit


class VaultSSLObject(ssl.SSLObject):
    """The TLS end of an asyncio transport: `transport.get_extra_info("ssl_object").peer`."""

    peer: Peer | None = None
    _refusal: ssl.SSLError | None = None

    def do_handshake(self) -> None:
        """Raises SSLError; on a server only at the second call, so that the client learns why.

        asyncio throws away what OpenSSL wants to send when a handshake fails, the alert with it (CPython issue
        98078). It sends when a handshake wants to read more, so that is what a server says first. A client must not:
        it would wait for an answer that never comes.
        """
        if self._refusal is not None:
            raise self._refusal
        try:
            super().do_handshake()
            self.peer = _admitted(self, _gatekeeper(self.context))
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            if not self.server_side:
                raise
            _log.warning("connection refused", error=str(error), reason=error.reason)
            if _was_received(error):
                raise
            self._refusal = error
            self._say_goodbye(error)
            raise ssl.SSLWantReadError from None

    def _say_goodbye(self, error: ssl.SSLError) -> None:
        # OpenSSL has its own alert for a bad chain. For a peer that our gate refuses there is only the orderly end.
        if isinstance(error, PeerRefused):
            with contextlib.suppress(ssl.SSLError):
                self.unwrap()


class VaultSSLSocket(ssl.SSLSocket):
    """The TLS end of a blocking socket, made by `context.wrap_socket(…)`; `peer` says who is there."""

    peer: Peer | None = None

    def do_handshake(self, block: bool = False) -> None:
        """Raises SSLError; a server logs it, and has told the client by then."""
        try:
            super().do_handshake(block)
            self.peer = _admitted(self, _gatekeeper(self.context))
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            if self.server_side:
                _log.warning("connection refused", error=str(error), reason=error.reason, address=_address(self))
                self._part()
            raise

    def _part(self) -> None:
        """Close with unread bytes would reset the connection, and the alert with it: take them first."""
        with contextlib.suppress(OSError):
            self.settimeout(_FAREWELL_SECONDS)
            socket.socket.shutdown(self, socket.SHUT_WR)
            for _ in range(16):
                if not socket.socket.recv(self, 4096):
                    break


def peer_of(connection: object) -> Peer:
    """Who is at the other end of a connection that one of our contexts made.

    `connection` is an SSLSocket or a transport's `ssl_object`. Raises SecondsiteError for any other, so that a
    listener set up without TLS by mistake serves nobody.
    """
    peer = connection.peer if isinstance(connection, VaultSSLObject | VaultSSLSocket) else None
    if peer is None:
        raise SecondsiteError("The connection has no peer certificate of a vault")
    return peer


def _admitted(connection: ssl.SSLObject | ssl.SSLSocket, gatekeeper: Gatekeeper) -> Peer:
    der = connection.getpeercert(binary_form=True)
    try:
        peer = read_peer(x509.load_der_x509_certificate(der or b""))
    except (SecondsiteError, ValueError) as error:
        raise PeerRefused("NoName", str(error)) from None
    check(peer, gatekeeper.trust, gatekeeper.admit)
    return peer


def _gatekeeper(context: ssl.SSLContext) -> Gatekeeper:
    return cast("Gatekeeper", context)


def _was_received(error: ssl.SSLError) -> bool:
    """Whether it is the other end's alert: then nothing is to be sent."""
    return "_ALERT_" in (error.reason or "")


def _address(connection: socket.socket) -> str:
    try:
        return str(connection.getpeername()[0])
    except (OSError, IndexError):
        # Gone, or none of a network.
        return "unknown"
