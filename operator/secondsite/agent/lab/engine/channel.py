"""HTTP/1.1 over one blocking socket, bounded on every side. Both ends of the data port use it."""

import contextlib
import select
import socket
import ssl
from collections.abc import Iterator

from secondsite.agent.lab.engine.errors import BadMessage, LinkError

_HEAD_BYTES = 16384
_LINE_BYTES = 4096

Headers = dict[str, str]


class Channel:
    """A connected socket with a reader. Any trouble of the transport is a LinkError."""

    def __init__(self, sock: socket.socket) -> None:
        # Head and small bodies must not wait for the acknowledgement of what went before.
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = sock
        self._reader = sock.makefile("rb", 65536)

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

    def answer_waits(self) -> bool:
        """Whether the other side has sent something although it is our turn to speak."""
        with _link_errors():
            return bool(select.select([self._socket], [], [], 0)[0])

    def read_into(self, view: memoryview) -> None:
        with _link_errors():
            done = 0
            while done < len(view):
                count = self._reader.readinto(view[done:])  # type: ignore[attr-defined]  # typeshed: makefile("rb", n) is buffered
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
        self._socket.settimeout(seconds)
        with contextlib.suppress(OSError, ValueError):
            self._socket.shutdown(socket.SHUT_WR)
            while limit > 0 and (got := self._reader.read1(65536)):  # type: ignore[attr-defined]  # as above
                limit -= len(got)

    def abort(self) -> None:
        """End it at once, from any thread: whoever waits in it gets a LinkError."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._reader.close()
        self._socket.close()


@contextlib.contextmanager
def _link_errors() -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise LinkError(f"the connection broke: {error}") from error
