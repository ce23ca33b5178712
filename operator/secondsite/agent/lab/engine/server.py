"""The receiver's end of the data port: one thread accepts, one per connection serves."""

import contextlib
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Mapping

from secondsite.agent.lab.engine.channel import Channel
from secondsite.agent.lab.engine.errors import LinkError
from secondsite.agent.lab.engine.routes import Authorize, Routes
from secondsite.agent.lab.engine.store import TargetStore

_MAX_CONNECTIONS = 256
_TIMEOUT_SECONDS = 60.0
_DRAIN_SECONDS = 1.0
_DRAIN_BYTES = 64 << 20

_log = logging.getLogger(__name__)


class DataServer:
    """Serves the stores of this site on `address`:`port` (0: any free one).

    `stores` gives the store of a VM, or None. `authorize(peer certificate as getpeercert gives it, VM, path)` is asked
    at each request; it returns the name of the site or raises PeerRefused. `tls` None is for tests and benchmarks; the
    context must demand the client's certificate.
    """

    def __init__(
        self,
        address: str,
        port: int,
        tls: ssl.SSLContext | None,
        stores: Callable[[str], TargetStore | None],
        authorize: Authorize,
    ) -> None:
        self._tls = tls
        self._routes = Routes(stores, authorize)
        self._listener = socket.create_server((address, port), backlog=128)
        self._channels: set[Channel] = set()
        self._lock = threading.Lock()
        self._closing = False
        self._thread = threading.Thread(target=self._accept, name="data-port", daemon=True)

    @property
    def port(self) -> int:
        """The real one."""
        return int(self._listener.getsockname()[1])

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop listening and end all connections; what was acknowledged is durable."""
        self._closing = True
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
        while not self._closing:
            try:
                sock, peer = self._listener.accept()
            except OSError as error:
                if not self._closing:
                    _log.warning("data port: accepting a connection: %s", error)
                continue
            if len(self._channels) >= _MAX_CONNECTIONS:
                sock.close()
                continue
            threading.Thread(target=self._serve, args=(sock, peer), name=f"data-{peer[0]}", daemon=True).start()

    def _serve(self, sock: socket.socket, peer: Mapping[int, object] | tuple[object, ...]) -> None:
        try:
            sock.settimeout(_TIMEOUT_SECONDS)
            channel = Channel(sock if self._tls is None else self._tls.wrap_socket(sock, server_side=True))
        except OSError as error:
            _log.info("data port: TLS with %s failed: %s", peer, error)
            sock.close()
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
            while not self._closing and self._routes.serve_one(channel):
                pass
        channel.drain(_DRAIN_SECONDS, _DRAIN_BYTES)
