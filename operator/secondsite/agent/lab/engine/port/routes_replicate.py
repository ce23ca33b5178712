"""The calls of a replication cycle, and what a sender asks before and while it runs one."""

from secondsite.agent.lab.engine.port.route import Request, Route
from secondsite.agent.lab.engine.port.syncer import Syncer
from secondsite.wire.peer import (
    CycleCommit,
    CycleCommitted,
    CycleOpen,
    CycleOpened,
    CycleUnchanged,
    FramesHeld,
    PeerStatus,
)


def _status(request: Request) -> PeerStatus:
    request.body()
    return request.store.receiver.status()


def _open(request: Request) -> CycleOpened:
    return request.store.receiver.open_cycle(request.message(CycleOpen))


def _unchanged(request: Request) -> CycleCommitted:
    return request.store.receiver.unchanged(request.message(CycleUnchanged))


def _commit(request: Request) -> CycleCommitted:
    return request.store.receiver.commit(request.values["cycle"], request.message(CycleCommit))


def _frames(request: Request) -> FramesHeld:
    """Take frames until the body ends. What came before a broken link is kept."""
    part = request.store.receiver.part(request.values["cycle"], request.values["disk"])
    writer = part.claim(int(request.values["from"]))
    with Syncer(part) as syncer:
        for frame in request.frames():
            part.append(writer, frame)
            syncer.came(frame.size)
    return FramesHeld(have=part.durable_frames)


_CYCLE = "/v1/vms/{vm}/cycles/{cycle}"

ROUTES = (
    Route("GET", "/v1/vms/{vm}", _status),
    Route("POST", "/v1/vms/{vm}/cycles", _open, status=201),
    Route("POST", "/v1/vms/{vm}/cycles?unchanged", _unchanged),
    Route("POST", f"{_CYCLE}/commit", _commit),
    Route("PUT", f"{_CYCLE}/disks/{{disk}}/frames?from={{from:number}}", _frames),
)
