"""Faults of the data port, under both ends of it: where TLS begins, connections are refused, slowed or broken."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import socket
import ssl
import threading
import weakref
from typing import Any

from secondsite.agent.driver import DataTLS
from secondsite.agent.lab.engine import TokenBucket
from secondsite.agent.lab.fault_relay import relay
from secondsite.agent.lab.faults import Fault, Faults

# From within the handshake up to the middle of a usual cycle.
_LEAST_BYTES, _MOST_BYTES = 1 << 10, 1 << 17
# TLS alert certificate_expired, fatal, as the record that it travels in (RFC 8446, sections 5.1 and 6).
_EXPIRED_ALERT = bytes((21, 3, 3, 0, 2, 2, 45))
_HELLO_BYTES = 65536
_CUTTING = frozenset({Fault.LINK_DOWN, Fault.LINK_LOSSY, Fault.CERTIFICATE_EXPIRED, Fault.VMMS_RESTART})


class BreakableTLS:
    """The TLS of the data port, with the faults of this site in it. It fulfils `agent.driver.DataTLS`."""

    def __init__(self, tls: DataTLS, faults: Faults) -> None:
        self._tls = tls
        self._faults = faults
        self._diallers: dict[str, ssl.SSLContext] = {}
        self._open: weakref.WeakSet[ssl.SSLSocket] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._slow = TokenBucket()
        self._chance = random.SystemRandom()
        faults.listen(self._changed)

    def listener(self) -> ssl.SSLContext:
        """For taking data."""
        return _breakable(self._tls.listener(), self)

    def dialler(self, site: str) -> ssl.SSLContext:
        """For sending data to `site`."""
        if site not in self._diallers:
            self._diallers[site] = _breakable(self._tls.dialler(site), self)
        return self._diallers[site]

    def wrap(self, inner: ssl.SSLContext, sock: socket.socket, *, serving: bool, **more: Any) -> ssl.SSLSocket:
        """What `wrap_socket` of `inner` does, as far as the faults let it. Raises OSError."""
        self._require_link()
        if self._faults.on(Fault.CERTIFICATE_EXPIRED):
            if serving:
                _refuse(sock)
            raise ssl.SSLCertVerificationError(1, "certificate verify failed: certificate has expired")
        found = inner.wrap_socket(self._hampered(sock, serving=serving), server_side=serving, **more)
        with self._lock:
            self._open.add(found)
        try:
            # Whoever cut it during the handshake did not see this connection yet.
            self._require_link()
        except OSError:
            found.close()
            raise
        return found

    def _require_link(self) -> None:
        if self._faults.on(Fault.LINK_DOWN) or self._faults.on(Fault.VMMS_RESTART):
            raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))

    def _hampered(self, sock: socket.socket, *, serving: bool) -> socket.socket:
        """The socket, or one that stands for it. What this site sends is slowed where its own limit is."""
        slow, lossy = self._faults.on(Fault.LINK_SLOW) if serving else None, self._faults.on(Fault.LINK_LOSSY)
        breaks = lossy is not None and self._chance.uniform(0, 100) < (lossy.value or 0)
        if not slow and not breaks:
            return sock
        self._slow.rate = slow.value if slow else None
        return relay(sock, self._chance.randint(_LEAST_BYTES, _MOST_BYTES) if breaks else None, self._slow)

    def _changed(self, fault: Fault, _vm_id: str) -> None:
        if fault is Fault.LINK_SLOW:
            slow = self._faults.on(fault)
            self._slow.rate = slow.value if slow else None
        if fault in _CUTTING and self._faults.on(fault):
            with self._lock:
                connections = list(self._open)
            for connection in connections:
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)


class _Context(ssl.SSLContext):
    """Stands before the context that would be used without faults."""

    inner: ssl.SSLContext
    tls: BreakableTLS

    def wrap_socket(  # type: ignore[override]  # of its many options the data port uses these
        self, sock: socket.socket, server_side: bool = False, **more: Any
    ) -> ssl.SSLSocket:
        return self.tls.wrap(self.inner, sock, serving=server_side, **more)


def _breakable(inner: ssl.SSLContext, tls: BreakableTLS) -> ssl.SSLContext:
    context = _Context(inner.protocol)
    context.inner, context.tls = inner, tls
    return context


def _refuse(sock: socket.socket) -> None:
    """Say that the other's certificate has expired, and let it hear that before the connection is closed."""
    with contextlib.suppress(OSError):
        sock.recv(_HELLO_BYTES)
        sock.sendall(_EXPIRED_ALERT)
        sock.shutdown(socket.SHUT_WR)
        sock.settimeout(1)
        while sock.recv(_HELLO_BYTES):
            pass
