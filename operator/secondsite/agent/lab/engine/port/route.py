"""What a route of the data port is: a method, a path with its values, and who answers."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from secondsite.agent.lab.engine.errors import BadMessage, CorruptFrame, PeerRefused
from secondsite.agent.lab.engine.port.channel import Channel, Headers
from secondsite.agent.lab.engine.port.frames import FrameReader, ReceivedFrame
from secondsite.agent.lab.engine.replica.store import TargetStore
from secondsite.wire.peer import HEADER_BYTES, ID_PATTERN, MAX_FRAME_BYTES, MAX_MESSAGE_BYTES, Codec, Message

Received = TypeVar("Received", bound=Message)

_NUMBER = "[0-9]{1,12}"
_VALUE = re.compile(r"\{(?P<name>[a-z_]+)(?::(?P<kind>[A-Za-z|]+))?\}")


@dataclass(frozen=True, slots=True)
class Request:
    """An authorized request for a VM that is known here. `values` are those of the path, by name."""

    store: TargetStore
    values: Mapping[str, str]
    headers: Headers
    channel: Channel

    def message(self, kind: type[Received]) -> Received:
        """The body as a message. PeerRefused, BadMessage."""
        body = self.body()
        try:
            return msgspec.json.decode(body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise PeerRefused(400, "BadRequest", f"not a {kind.__name__}: {error}") from error

    def body(self) -> bytes:
        """The body, of known and bounded length; none is empty."""
        if "transfer-encoding" in self.headers:
            raise BadMessage("a message comes with content-length, not in chunks")
        return self.channel.read_body(self.headers, MAX_MESSAGE_BYTES)

    def frames(self) -> Iterator[ReceivedFrame]:
        """The body as frames, one per chunk, each checked; its payload is valid until the next one. CorruptFrame."""
        if self.headers.get("transfer-encoding", "").lower() != "chunked" or "content-length" in self.headers:
            raise PeerRefused(400, "BadRequest", "frames come with transfer-encoding: chunked")
        reader = FrameReader(self.channel.read_into, codecs=Codec)
        with self.channel.flowing():
            while size := self.channel.read_chunk_size(MAX_FRAME_BYTES):
                if size <= HEADER_BYTES:
                    raise CorruptFrame(f"a chunk of {size} bytes is no frame")
                frame = reader.read(size)
                self.channel.end_chunk()
                yield frame


Handler = Callable[[Request], Message | bytes]


class Route:
    """`path` is a template: {vm} stands for an id, {from:number} for digits, {basis:Stored|Read} for one of these."""

    def __init__(self, method: str, path: str, handler: Handler, *, status: int = 200) -> None:
        self.method = method
        self.handler = handler
        self.status = status
        self._pattern = re.compile(_regular_expression(path))

    def match(self, method: str, target: str) -> Mapping[str, str] | None:
        """The values in a request's path; None: not this route."""
        found = self._pattern.fullmatch(target) if method == self.method else None
        return found.groupdict() if found else None


def _regular_expression(path: str) -> str:
    pattern, position = "", 0
    for value in _VALUE.finditer(path):
        kind = {None: ID_PATTERN, "number": _NUMBER}.get(value["kind"], value["kind"])
        pattern += f"{re.escape(path[position : value.start()])}(?P<{value['name']}>{kind})"
        position = value.end()
    return pattern + re.escape(path[position:])
