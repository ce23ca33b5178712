"""The sender's end of the data port."""

import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TypeVar

import msgspec

from secondsite.agent.lab.engine.errors import LinkError, PeerRefused
from secondsite.agent.lab.engine.port.bucket import TokenBucket
from secondsite.agent.lab.engine.port.channel import Channel
from secondsite.agent.lab.engine.port.codec import Compression, LinkSpeed, choose_level
from secondsite.agent.lab.engine.port.link import Link
from secondsite.agent.lab.engine.port.stream import FrameStream, read_answer, read_bytes
from secondsite.wire.peer import (
    WIRE_VERSION,
    Codec,
    CycleCommit,
    CycleCommitted,
    CycleOpen,
    CycleOpened,
    CycleUnchanged,
    Message,
    PeerStatus,
)

Answer = TypeVar("Answer", bound=Message)


class PeerClient:
    """Dials the data port of another site; holds no connection itself, so it may be shared by all VMs, for ever.

    `tls` None is for tests and benchmarks. `verify_peer` sees the certificate of each connection, as `getpeercert`
    gives it, and raises PeerRefused for a stranger. `dial` replaces the plain TCP connection (faults of the link).
    All clients of one peer share one `link`, and all of a site one `bucket`. `compression` may be changed at any time.
    """

    def __init__(
        self,
        host: str,
        port: int,
        tls: ssl.SSLContext | None,
        *,
        bucket: TokenBucket | None = None,
        server_name: str | None = None,
        timeout_seconds: float = 30,
        verify_peer: Callable[[Mapping[str, object]], None] | None = None,
        dial: Callable[[], socket.socket] | None = None,
        compression: Compression = Compression.Auto,
        link: Link | None = None,
    ) -> None:
        self.bucket = bucket or TokenBucket()
        self.link = link or Link()
        self.compression = compression
        self._address = (host, port)
        self._tls = tls
        self._server_name = server_name or host
        self._timeout = timeout_seconds
        self._verify_peer = verify_peer
        self._dial = dial or self._connect

    def status(self, vm_id: str) -> PeerStatus:
        """One VM as the replica's side sees it. LinkError, PeerRefused."""
        with self.session() as peer:
            return peer.status(vm_id)

    def level(self, codecs: Collection[str]) -> int | None:
        """How to compress the next frame for a peer that knows `codecs`: a zstd level; None: not at all."""
        if self.compression is Compression.Off or Codec.Zstd not in codecs:
            return None
        return choose_level(self.link.speed.rate, self.bucket.rate)

    def post(self, path: str, message: Message, answer: type[Answer]) -> Answer:
        """A message beside replication (`DataServer`'s `posts`). LinkError, PeerRefused."""
        # What is said only once goes over a connection that nothing else has used.
        with contextlib.closing(PeerSession(self.open_channel, self._name, self.link.speed)) as peer:
            return peer.post(path, message, answer)

    @contextlib.contextmanager
    def session(self) -> Iterator["PeerSession"]:
        """One connection, from its first use to the end of the block; it may be one that the link has kept."""
        peer = PeerSession(self.open_channel, self._name, self.link.speed, self._take_idle)
        try:
            yield peer
        except BaseException:
            peer.close()
            raise
        peer.hand_over(lambda channel, opened: self.link.idle.keep((self._address, self._tls), channel, opened))

    @property
    def _name(self) -> str:
        return f"{self._address[0]}:{self._address[1]}"

    def _take_idle(self) -> tuple[Channel, float] | None:
        return self.link.idle.take((self._address, self._tls))

    def open_channel(self) -> Channel:
        """A new connection, its other end verified."""
        try:
            sock = self._dial()
        except OSError as error:
            raise LinkError(f"connecting to {self._address[0]}:{self._address[1]}: {error}") from error
        try:
            sock.settimeout(self._timeout)
            channel = Channel(self._wrap(sock))
        except OSError as error:
            sock.close()
            raise LinkError(f"TLS with {self._address[0]}:{self._address[1]}: {error}") from error
        try:
            if self._verify_peer is not None:
                self._verify_peer(channel.peer_certificate or {})
        except BaseException:
            channel.close()
            raise
        return channel

    def _wrap(self, sock: socket.socket) -> socket.socket:
        return sock if self._tls is None else self._tls.wrap_socket(sock, server_hostname=self._server_name)

    def _connect(self) -> socket.socket:
        return socket.create_connection(self._address, timeout=self._timeout)


class PeerSession:
    """Requests on one connection, one after the other. After a LinkError it is of no more use."""

    def __init__(
        self,
        connect: Callable[[], Channel],
        host: str,
        speed: LinkSpeed,
        take_idle: Callable[[], tuple[Channel, float] | None] = lambda: None,
    ) -> None:
        self._connect = connect
        self._take_idle = take_idle
        # Whether the connection was another's before, and nothing was answered on it since.
        self._untried = False
        self._opened_at = 0.0
        self._host = host
        self._speed = speed
        self._channel: Channel | None = None

    def status(self, vm_id: str) -> PeerStatus:
        """PeerRefused where the other side speaks another version of the wire: all else here would be misread."""
        status = self._call("GET", f"/v1/vms/{vm_id}", None, PeerStatus)
        if status.version != WIRE_VERSION:
            detail = (
                f"VM {vm_id}: {self._host} speaks version {status.version} of the data port, version {WIRE_VERSION} is "
                "spoken here; update the older agent"
            )
            raise PeerRefused(422, "UnknownVersion", detail)
        return status

    def post(self, path: str, message: Message, answer: type[Answer]) -> Answer:
        return self._call("POST", path, message, answer)

    def open_cycle(self, vm_id: str, message: CycleOpen) -> CycleOpened:
        return self.post(f"/v1/vms/{vm_id}/cycles", message, CycleOpened)

    def commit(self, vm_id: str, cycle: str, message: CycleCommit) -> CycleCommitted:
        return self.post(f"/v1/vms/{vm_id}/cycles/{cycle}/commit", message, CycleCommitted)

    def unchanged(self, vm_id: str, message: CycleUnchanged) -> CycleCommitted:
        """PeerRefused where the replica would rather have a cycle."""
        return self.post(f"/v1/vms/{vm_id}/cycles?unchanged", message, CycleCommitted)

    def put_frames(self, vm_id: str, cycle: str, disk: str, first: int) -> "FrameStream":
        """Begin a PUT of frames, the first of which has the sequence number `first`."""
        channel = self._opened()
        path = f"/v1/vms/{vm_id}/cycles/{cycle}/disks/{disk}/frames?from={first}"
        channel.send(f"PUT {path} HTTP/1.1\r\nhost: {self._host}\r\ntransfer-encoding: chunked\r\n\r\n".encode())
        return FrameStream(channel, self._speed)

    def put_repairs(self, vm_id: str, disk: str) -> "FrameStream":
        """Begin a PUT of blocks that are damaged at the other side."""
        channel = self._opened()
        path = f"/v1/vms/{vm_id}/disks/{disk}/repairs"
        channel.send(f"PUT {path} HTTP/1.1\r\nhost: {self._host}\r\ntransfer-encoding: chunked\r\n\r\n".encode())
        return FrameStream(channel, self._speed)

    def abort(self) -> None:
        """End the connection from another thread."""
        if self._channel is not None:
            self._channel.abort()

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel, self._untried = None, False

    def hand_over(self, keep: Callable[[Channel, float], None]) -> None:
        """Give a connection on which nothing is under way to who keeps it."""
        if self._channel is not None and not self._untried and self._still():
            keep(self._channel, self._opened_at)
            self._channel = None
        self.close()

    def _still(self) -> bool:
        try:
            return self._channel is not None and not self._channel.answer_waits()
        except LinkError:
            return False

    def _reuse(self) -> None:
        """Take an idle connection, if there is one; whether it still stands only an answer shows."""
        while self._channel is None and (found := self._take_idle()):
            self._channel, self._opened_at = found
            self._untried = True
            if not self._still():
                self.close()

    def _opened(self) -> Channel:
        if self._channel is None:
            self._channel, self._opened_at, self._untried = self._connect(), time.monotonic(), False
        return self._channel

    def get_bytes(self, path: str) -> bytes:
        """What is answered in bytes instead of a message: hashes, bits."""
        return read_bytes(self._send("GET", path, b""))

    def _call(self, method: str, path: str, message: Message | None, answer: type[Answer]) -> Answer:
        body = b"" if message is None else msgspec.json.encode(message)
        self._reuse()
        if self._untried:
            # The other side may have hung up at this very moment; every request may be repeated.
            with contextlib.suppress(LinkError):
                found = read_answer(self._send(method, path, body), answer)
                self._untried = False
                return found
            self.close()
        return read_answer(self._send(method, path, body), answer)

    def _send(self, method: str, path: str, body: bytes) -> Channel:
        head = f"{method} {path} HTTP/1.1\r\nhost: {self._host}\r\ncontent-length: {len(body)}\r\n\r\n"
        channel = self._opened()
        channel.send(head.encode() + body)
        return channel
