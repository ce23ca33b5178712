"""Requests on the data port: parsed, authorized, handed to the store, answered."""

import logging
import re
from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec

from secondsite.agent.lab.engine.channel import Channel, Headers
from secondsite.agent.lab.engine.errors import (
    BadMessage,
    CorruptFrame,
    EngineError,
    FramesMissing,
    HeadConflict,
    LinkError,
    PeerRefused,
)
from secondsite.agent.lab.engine.frames import FrameReader
from secondsite.agent.lab.engine.part import IncomingPart, SyncClock
from secondsite.agent.lab.engine.store import TargetStore
from secondsite.wire.peer import (
    HEADER_BYTES,
    ID_PATTERN,
    MAX_FRAME_BYTES,
    MAX_MESSAGE_BYTES,
    CycleCommit,
    CycleOpen,
    FramesHeld,
    Message,
    Problem,
)

Authorize = Callable[[Mapping[str, object] | None, str, str], str]
Post = Callable[[str, str, bytes], Message]
"""Site that asks, VM, body. Raises PeerRefused."""
Received = TypeVar("Received", bound=Message)

_VM = f"/v1/vms/(?P<vm>{ID_PATTERN})"
_CYCLE = f"{_VM}/cycles/(?P<cycle>{ID_PATTERN})"
_PATHS = {
    "GET": re.compile(_VM),
    "POST": re.compile(f"{_VM}/cycles|{_CYCLE.replace('(?P<vm>', '(?P<cvm>')}/(?P<commit>commit)"),
    "PUT": re.compile(rf"{_CYCLE}/disks/(?P<disk>{ID_PATTERN})/frames\?from=(?P<first>[0-9]{{1,12}})"),
}

_PROBLEMS: dict[type[EngineError], tuple[int, str]] = {
    BadMessage: (400, "BadMessage"),
    CorruptFrame: (422, "CorruptFrame"),
}

_log = logging.getLogger(__name__)


class Routes:
    """Serves one request after the other. Nothing that a peer sends can do more than get a problem for an answer."""

    def __init__(
        self, stores: Callable[[str], TargetStore | None], authorize: Authorize, posts: Mapping[str, Post]
    ) -> None:
        self._stores = stores
        self._authorize = authorize
        self._posts = {re.compile(f"{re.escape(prefix)}({ID_PATTERN})"): post for prefix, post in posts.items()}

    def serve_one(self, channel: Channel) -> bool:
        """Read and answer one request; False when the connection must end. LinkError when it has ended."""
        try:
            start, headers = channel.read_head()
            status, answer = self._handle(channel, start, headers)
        except Exception as error:  # noqa: BLE001  # the last line of defence: the peer is told, the thread lives
            problem = _problem_of(error)
            _answer(channel, problem.status, problem, close=True)
            return False
        _answer(channel, status, answer, close=False)
        return True

    def _handle(self, channel: Channel, start: str, headers: Headers) -> tuple[int, Message]:
        words = start.split(" ")
        if len(words) != 3 or words[2] != "HTTP/1.1" or words[0] not in _PATHS:
            raise PeerRefused(400, "BadRequest", f"{start[:80]!r} is no request of this port")
        method, target, _ = words
        for pattern, post in self._posts.items():
            if method == "POST" and (found := pattern.fullmatch(target)):
                site = self._authorize(channel.peer_certificate, found[1], target)
                return 200, post(site, found[1], channel.read_body(headers, MAX_MESSAGE_BYTES))
        return self._replicate(channel, method, target, headers)

    def _replicate(self, channel: Channel, method: str, target: str, headers: Headers) -> tuple[int, Message]:
        match = _PATHS[method].fullmatch(target)
        if match is None:
            raise PeerRefused(404, "UnknownPath", f"no {method} {target[:200]}")
        found = match.groupdict()
        vm_id = found["vm"] or found["cvm"]
        store = self._store(channel, vm_id, target)
        if method == "PUT":
            part = store.receiver.part(found["cycle"], found["disk"])
            return 200, _receive(channel, headers, part, int(found["first"]))
        body = channel.read_body(headers, MAX_MESSAGE_BYTES)
        if method == "GET":
            return 200, store.receiver.status()
        if found["commit"]:
            return 200, store.receiver.commit(found["cycle"], _decode(body, CycleCommit))
        return 201, store.receiver.open_cycle(_decode(body, CycleOpen))

    def _store(self, channel: Channel, vm_id: str, path: str) -> TargetStore:
        self._authorize(channel.peer_certificate, vm_id, path)
        store = self._stores(vm_id)
        if store is None:
            raise PeerRefused(404, "UnknownVM", f"no replica of VM {vm_id} here; enable replication first")
        return store


def _receive(channel: Channel, headers: Headers, part: IncomingPart, first: int) -> FramesHeld:
    """Take frames, one per chunk, until the body ends. What came before a broken link is kept."""
    if headers.get("transfer-encoding", "").lower() != "chunked":
        raise PeerRefused(400, "BadRequest", "frames come with transfer-encoding: chunked")
    writer = part.claim(first)
    reader, clock = FrameReader(channel.read_into), SyncClock()
    try:
        while size := channel.read_chunk_size(MAX_FRAME_BYTES):
            if size <= HEADER_BYTES:
                raise CorruptFrame(f"a chunk of {size} bytes is no frame")
            frame = reader.read()
            if frame.size != size:
                raise CorruptFrame(f"frame {frame.header.sequence} has {frame.size} bytes, its chunk {size}")
            channel.end_chunk()
            part.append(writer, frame)
            if clock.due(size):
                part.sync()
    finally:
        part.sync()
    return FramesHeld(have=part.durable_frames)


def _decode(body: bytes, kind: type[Received]) -> Received:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise PeerRefused(400, "BadRequest", f"not a {kind.__name__}: {error}") from error


def _problem_of(error: Exception) -> Problem:
    if isinstance(error, LinkError) and not isinstance(error, BadMessage):
        # Nobody is there to be told.
        raise error
    if not isinstance(error, EngineError):
        _log.error("data port: a request failed", exc_info=error)
        return Problem(status=500, code="Internal", detail=f"{type(error).__name__}: {error}"[:500])
    if isinstance(error, PeerRefused):
        head = error.head if isinstance(error, HeadConflict) else None
        have = error.have if isinstance(error, FramesMissing) else None
        return Problem(status=error.status, code=error.code, detail=error.detail, head=head, have=have)
    status, code = next((answer for kind, answer in _PROBLEMS.items() if isinstance(error, kind)), (400, "BadRequest"))
    return Problem(status=status, code=code, detail=str(error))


_REASONS = {200: "OK", 201: "Created"}


def _answer(channel: Channel, status: int, message: Message, *, close: bool) -> None:
    body = msgspec.json.encode(message)
    kind = "application/problem+json" if isinstance(message, Problem) else "application/json"
    head = (
        f"HTTP/1.1 {status} {_REASONS.get(status, 'Problem')}\r\ncontent-type: {kind}\r\n"
        f"content-length: {len(body)}\r\n{'connection: close' + chr(13) + chr(10) if close else ''}\r\n"
    )
    # In one piece: two small writes would wait for each other's acknowledgement.
    channel.send(head.encode() + body)
