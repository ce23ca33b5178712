"""Requests on the data port: parsed, authorized, handed to who answers, answered."""

import errno
import logging
import re
from collections.abc import Callable, Mapping

import msgspec

from secondsite.agent.lab.engine.errors import (
    BadMessage,
    CorruptFrame,
    DamagedBlock,
    EngineError,
    FramesMissing,
    HeadConflict,
    LinkError,
    NoSpace,
    PeerRefused,
    PointInUse,
    StaleGeneration,
    Stopped,
    StoreDamaged,
    StoreLocked,
)
from secondsite.agent.lab.engine.port import routes_hashes, routes_repairs, routes_replicate, routes_roles
from secondsite.agent.lab.engine.port.channel import Channel, Headers
from secondsite.agent.lab.engine.port.route import Request, Route
from secondsite.agent.lab.engine.replica.store import TargetStore
from secondsite.agent.lab.engine.roles.retired import PromotedAway
from secondsite.wire.peer import ID_PATTERN, MAX_MESSAGE_BYTES, Message, Problem

Stores = Callable[[str], TargetStore | PromotedAway | None]
"""What there is of a VM, by its id."""
Authorize = Callable[[Mapping[str, object] | None, str, str], str]
Post = Callable[[str, str, bytes], Message]
"""Site that asks, VM, body. Raises PeerRefused."""

# What the wire knows of one VM. A further module of routes adds itself here.
_ROUTES: tuple[Route, ...] = (
    *routes_replicate.ROUTES,
    *routes_roles.ROUTES,
    *routes_hashes.ROUTES,
    *routes_repairs.ROUTES,
)
_METHODS = frozenset({"GET", "POST", "PUT"})

# What is wrong with the bytes that came, and what is wrong here: a sender must be able to tell them apart.
PROBLEMS: dict[type[EngineError], tuple[int, str]] = {
    BadMessage: (400, "BadMessage"),
    CorruptFrame: (422, "CorruptFrame"),
    NoSpace: (507, "InsufficientSpace"),
    StoreDamaged: (500, "StoreDamaged"),
    DamagedBlock: (500, "DamagedBlock"),
    StoreLocked: (503, "Unavailable"),
    PointInUse: (503, "Unavailable"),
    Stopped: (503, "Unavailable"),
    # All others.
    EngineError: (500, "StoreFailed"),
}

_log = logging.getLogger(__name__)


class Routes:
    """Serves one request after the other. Nothing that a peer sends can do more than get a problem for an answer."""

    def __init__(self, stores: Stores, authorize: Authorize, posts: Mapping[str, Post]) -> None:
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

    def _handle(self, channel: Channel, start: str, headers: Headers) -> tuple[int, Message | bytes]:
        words = start.split(" ")
        if len(words) != 3 or words[2] != "HTTP/1.1" or words[0] not in _METHODS:
            raise PeerRefused(400, "BadRequest", f"{start[:80]!r} is no request of this port")
        method, target, _ = words
        for pattern, post in self._posts.items():
            if method == "POST" and (found := pattern.fullmatch(target)):
                site = self._authorize(channel.peer_certificate, found[1], target)
                return 200, post(site, found[1], channel.read_body(headers, MAX_MESSAGE_BYTES))
        for route in _ROUTES:
            values = route.match(method, target)
            if values is not None:
                store = self._store(channel, values["vm"], target)
                return route.status, route.handler(Request(store, values, headers, channel))
        raise PeerRefused(404, "UnknownPath", f"no {method} {target[:200]}")

    def _store(self, channel: Channel, vm_id: str, path: str) -> TargetStore:
        self._authorize(channel.peer_certificate, vm_id, path)
        store = self._stores(vm_id)
        if store is None:
            raise PeerRefused(404, "UnknownVM", f"no replica of VM {vm_id} here; enable replication first")
        if isinstance(store, PromotedAway):
            raise store.refusal()
        return store


def _problem_of(error: Exception) -> Problem:
    if isinstance(error, LinkError) and not isinstance(error, BadMessage):
        # Nobody is there to be told.
        raise error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        detail = f"{error}: the disk of the replica is full; free space there, what was acknowledged is kept"
        return Problem(status=507, code="InsufficientSpace", detail=detail[:500])
    if not isinstance(error, EngineError):
        _log.error("data port: a request failed", exc_info=error)
        return Problem(status=500, code="Internal", detail=f"{type(error).__name__}: {error}"[:500])
    if isinstance(error, PeerRefused):
        head = error.head if isinstance(error, HeadConflict) else None
        have = error.have if isinstance(error, FramesMissing) else None
        generation = error.generation if isinstance(error, StaleGeneration) else None
        return Problem(
            status=error.status, code=error.code, detail=error.detail, head=head, have=have, generation=generation
        )
    status, code = next(answer for kind, answer in PROBLEMS.items() if isinstance(error, kind))
    if status == 500:
        _log.error("data port: the replica failed a request", exc_info=error)
    return Problem(status=status, code=code, detail=str(error)[:500])


_REASONS = {200: "OK", 201: "Created"}


def _answer(channel: Channel, status: int, answer: Message | bytes, *, close: bool) -> None:
    body = answer if isinstance(answer, bytes) else msgspec.json.encode(answer)
    kind = _content_type(answer)
    head = (
        f"HTTP/1.1 {status} {_REASONS.get(status, 'Problem')}\r\ncontent-type: {kind}\r\n"
        f"content-length: {len(body)}\r\n{'connection: close' + chr(13) + chr(10) if close else ''}\r\n"
    )
    # In one piece: two small writes would wait for each other's acknowledgement.
    channel.send(head.encode() + body)


def _content_type(answer: Message | bytes) -> str:
    if isinstance(answer, bytes):
        return "application/octet-stream"
    return "application/problem+json" if isinstance(answer, Problem) else "application/json"
