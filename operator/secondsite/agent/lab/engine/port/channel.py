"""HTTP/1.1 over one blocking socket, bounded on every side. Both ends of the data port use it."""

import contextlib
import errno
import io
import select
import socket
import ssl
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

from secondsite.agent.lab.engine.errors import BadMessage, LinkError
from secondsite.agent.lab.engine.port.patience import PATIENCE, Pace, Patience

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_HEAD_BYTES = 16384
_LINE_BYTES = 4096
_READ_BYTES = 65536
# Offsets in struct tcp_info (linux/tcp.h): tcpi_delivery_rate_app_limited, tcpi_delivery_rate; where the latter ends.
_APP_LIMITED = 7
_DELIVERY_RATE = 160
_TCP_INFO_BYTES = 168

Headers = dict[str, str]


class Channel:
    """A connected socket with a reader. Any trouble of the transport is a LinkError.

    How long silence may last is the socket's timeout; how slowly a peer may speak, so that it is not waited for
    byte by byte, is `patience`.
    """

    def __init__(self, sock: socket.socket, patience: Patience | None = None) -> None:
        # Head and small bodies must not wait for the acknowledgement of what went before.
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = sock
        self._patience = patience or PATIENCE
        self._pace = Pace(self._patience)
        self._reader = io.BufferedReader(_Incoming(sock, self._pace), _READ_BYTES)

    @property
    def peer_certificate(self) -> dict[str, object] | None:
        """As `ssl.SSLSocket.getpeercert` gives it; None without TLS."""
        if not isinstance(self._socket, ssl.SSLSocket):
            return None
        return dict(self._socket.getpeercert() or {})

    def send(self, *pieces: bytes | memoryview) -> None:
        with _link_errors():
            for piece in pieces:
                self._socket.sendall(piece)

    def delivery_rate(self) -> float | None:
        """Bytes per second that the path itself carried of late, by the kernel's count; None: it says nothing now.

        Time in `send` would count against the link what a busy machine at either end costs. OSError where the
        transport is not TCP or the system not Linux.
        """
        info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
        if len(info) < _TCP_INFO_BYTES:
            raise OSError(errno.ENOSYS, "this kernel does not tell the delivery rate")
        (rate,) = struct.unpack_from("Q", info, _DELIVERY_RATE)
        # We spoke too little for the link to show what it can do.
        return None if info[_APP_LIMITED] & 1 or not rate else float(rate)

    def answer_waits(self) -> bool:
        """Whether the other side has sent something although it is our turn to speak."""
        with _link_errors():
            # Not select(2), which takes no descriptor above 1023: an agent with many layers open has those.
            waits = select.poll()
            waits.register(self._socket, select.POLLIN)
            return bool(waits.poll(0))

    def flowing(self) -> contextlib.AbstractContextManager[None]:
        """While inside, the peer may take its time, as long as something comes."""
        return self._pace.flowing()

    def read_into(self, view: memoryview) -> None:
        with _link_errors():
            done = 0
            while done < len(view):
                count = self._reader.readinto(view[done:])
                if not count:
                    raise LinkError("the connection ended in the middle of a message")
                done += count

    def read_bytes(self, count: int) -> bytes:
        buffer = bytearray(count)
        self.read_into(memoryview(buffer))
        return bytes(buffer)

    def read_line(self) -> str:
        """One line without its end; empty at the end of a head, and LinkError at the end of the connection."""
        with _link_errors():
            line = self._reader.readline(_LINE_BYTES)
        if not line:
            raise LinkError("the connection was closed")
        if not line.endswith(b"\n"):
            raise BadMessage("a line without end")
        return line.rstrip(b"\r\n").decode("latin-1")

    def read_head(self) -> tuple[str, Headers]:
        """Start line and headers, names in lower case."""
        with _link_errors():
            # How long a connection may lie idle between two messages is the socket's business.
            self._reader.peek(1)
        with self._pace.whole(self._patience.head_seconds):
            start = self.read_line()
            headers: Headers = {}
            size = len(start)
            while line := self.read_line():
                size += len(line)
                name, colon, value = line.partition(":")
                if size > _HEAD_BYTES or not colon:
                    raise BadMessage("a head that is too long or malformed")
                headers[name.strip().lower()] = value.strip()
            return start, headers

    def read_body(self, headers: Headers, limit: int) -> bytes:
        """A body of known length; none is empty."""
        text = headers.get("content-length", "0")
        if not (text.isascii() and text.isdigit()) or int(text) > limit:
            raise BadMessage(f"content-length {text[:20]!r}: not a number up to {limit}")
        with self._pace.whole(self._patience.body_seconds):
            return self.read_bytes(int(text))

    def read_chunk_size(self, limit: int) -> int:
        """The size line of a chunk; 0 at the end of the body, whose last empty line is read too."""
        text = self.read_line()
        try:
            size = int(text, 16) if len(text) <= 8 else -1
        except ValueError:
            size = -1
        if not 0 <= size <= limit:
            raise BadMessage(f"chunk size {text[:20]!r}: not a hexadecimal number up to {limit}")
        if size == 0:
            self.end_chunk()
        return size

    def end_chunk(self) -> None:
        if self.read_line():
            raise BadMessage("a chunk that does not end where it should")

    def drain(self, seconds: float, limit: int) -> None:
        """Read and forget for a while, so that our last words arrive before the connection is reset."""
        with contextlib.suppress(OSError, ValueError), self._pace.whole(seconds):
            self._socket.settimeout(seconds)
            self._socket.shutdown(socket.SHUT_WR)
            while limit > 0 and (got := self._reader.read1(_READ_BYTES)):
                limit -= len(got)

    def abort(self) -> None:
        """End it at once, from any thread: whoever waits in it gets a LinkError."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._reader.close()
        self._socket.close()


class _Incoming(io.RawIOBase):
    """What the socket brings, as the pace allows."""

    def __init__(self, sock: socket.socket, pace: Pace) -> None:
        self._socket = sock
        self._pace = pace

    def readable(self) -> bool:
        return True

    def readinto(self, view: "WriteableBuffer") -> int:
        count = self._socket.recv_into(view)
        self._pace.came(count)
        return count


@contextlib.contextmanager
def _link_errors() -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise LinkError(f"the connection broke: {error}") from error
