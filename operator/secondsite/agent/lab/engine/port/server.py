"""The receiver's end of the data port: one thread accepts, one per connection serves."""

import contextlib
import logging
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any

from secondsite.agent.lab.engine.errors import LinkError
from secondsite.agent.lab.engine.port.channel import Channel
from secondsite.agent.lab.engine.port.patience import PATIENCE
from secondsite.agent.lab.engine.port.routes import Authorize, Post, Routes, Stores

_MAX_CONNECTIONS = 256
# One address, slow or hostile, leaves as many to all others. An honest sender needs three per cycle (`link`).
_MAX_PER_ADDRESS = 128
_TIMEOUT_SECONDS = 60.0
_PATIENCE = PATIENCE
# Whoever has not shown a certificate by then gets no thread of ours.
_HANDSHAKE_SECONDS = 10.0
# After an error that the next attempt would meet again, as when file descriptors have run out.
_PAUSE_SECONDS = 0.1
_DRAIN_SECONDS = 1.0
_DRAIN_BYTES = 64 << 20

# As `socket.accept` gives it.
_Address = tuple[Any, ...]

_log = logging.getLogger(__name__)


class DataServer:
    """Serves the stores of this site on `address`:`port` (0: any free one).

    `stores` gives the store of a VM, what is left of one that was promoted, or None. `authorize(peer certificate as
    getpeercert gives it, VM, path)` is asked at each request; it returns the name of the site or raises PeerRefused.
    `tls` None is for tests and benchmarks; the context must demand the client's certificate. `posts` are messages
    beside replication, by the path in front of the VM's id; `authorize` is asked for them too.
    """

    def __init__(
        self,
        address: str,
        port: int,
        tls: ssl.SSLContext | None,
        stores: Stores,
        authorize: Authorize,
        posts: Mapping[str, Post] | None = None,
    ) -> None:
        self._tls = tls
        self._routes = Routes(stores, authorize, posts or {})
        self._listener = socket.create_server((address, port), backlog=128)
        self._channels: set[Channel] = set()
        self._lock = threading.Lock()
        self._connections: Counter[str] = Counter()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._accept, name="data-port", daemon=True)

    @property
    def port(self) -> int:
        """The real one."""
        return int(self._listener.getsockname()[1])

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop listening and end all connections; what was acknowledged is durable."""
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        if self._thread.ident is not None:
            self._thread.join()
        with self._lock:
            channels = list(self._channels)
        for channel in channels:
            channel.abort()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                sock, peer = self._listener.accept()
            except OSError as error:
                if not self._closing.wait(_PAUSE_SECONDS):
                    _log.warning("data port: accepting a connection: %s", error)
                continue
            self._begin(sock, peer)

    def _begin(self, sock: socket.socket, peer: _Address) -> None:
        """Serve the connection in a thread of its own, unless there are too many: strangers count too."""
        address = str(peer[0])
        with self._lock:
            if self._connections.total() >= _MAX_CONNECTIONS or self._connections[address] >= _MAX_PER_ADDRESS:
                sock.close()
                return
            self._connections[address] += 1
        try:
            threading.Thread(target=self._serve, args=(sock, peer), name=f"data-{peer[0]}", daemon=True).start()
        except RuntimeError as error:
            _log.warning("data port: no thread for %s: %s", peer, error)
            self._end(sock, address)

    def _end(self, sock: socket.socket, address: str) -> None:
        sock.close()
        with self._lock:
            self._connections[address] -= 1
            # Else every address that ever dialled would be remembered.
            self._connections += Counter()

    def _serve(self, sock: socket.socket, peer: _Address) -> None:
        try:
            self._converse(sock, peer)
        finally:
            self._end(sock, str(peer[0]))

    def _converse(self, sock: socket.socket, peer: _Address) -> None:
        try:
            sock.settimeout(_HANDSHAKE_SECONDS)
            secured = sock if self._tls is None else self._tls.wrap_socket(sock, server_side=True)
            secured.settimeout(_TIMEOUT_SECONDS)
            channel = Channel(secured, _PATIENCE)
        except OSError as error:
            _log.info("data port: TLS with %s failed: %s", peer, error)
            return
        with self._lock:
            self._channels.add(channel)
        try:
            self._requests(channel)
        finally:
            channel.close()
            with self._lock:
                self._channels.discard(channel)

    def _requests(self, channel: Channel) -> None:
        with contextlib.suppress(LinkError):
            while not self._closing.is_set() and self._routes.serve_one(channel):
                pass
        channel.drain(_DRAIN_SECONDS, _DRAIN_BYTES)
