"""What a primary does in one turn, by the state of its half."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus

from secondsite import logs
from secondsite.agent.lab import consistency, cycles
from secondsite.agent.lab.cycles import Failure, Outcome
from secondsite.agent.lab.engine import (
    EngineError,
    LinkError,
    PeerClient,
    PeerRefused,
    Quiesce,
    ReplicationSource,
    StaleGeneration,
    WaitingForMedia,
)
from secondsite.agent.lab.events import Event
from secondsite.agent.lab.halves import Halves
from secondsite.agent.lab.state import Half
from secondsite.agent.lab.works import Works
from secondsite.wire.agent import Capability
from secondsite.wire.peer import HashBasis

_log = logs.get(__name__)


@dataclass(frozen=True)
class Turn:
    """One turn: what it works with. `stop` ends it early; what it has done so far is not lost."""

    half: Half
    source: ReplicationSource
    client: PeerClient
    halves: Halves
    works: Works
    stop: threading.Event
    quiesce: Quiesce
    started: datetime

    @property
    def newest(self) -> Half:
        """The half as it is by now: settings may have changed meanwhile."""
        return self.halves.get(self.half.vm_id) or self.half

    def note(self, outcome: Outcome) -> None:
        """Take what came out to the half."""
        take(self.halves, self.half.vm_id, outcome)


def take(halves: Halves, vm_id: str, outcome: Outcome) -> None:
    """Take to the half of a VM what came out: an event, or only what has changed."""
    if outcome.event is None:
        halves.update(vm_id, **outcome.changes)
    else:
        halves.step(vm_id, outcome.event, **outcome.changes)


class OutOfBoundsError(EngineError):
    """A disk was resized at one side only (table row 37)."""


def expect_in_bounds(half: Half, why: str) -> None:
    """Raises OutOfBoundsError for a VM that replicates although a disk has outgrown its replica."""
    if why and half.state == "Replicating":
        raise OutOfBoundsError(why)


def begin_initial(turn: Turn) -> None:
    """The time has come that initial replication was to wait for (table row 3)."""
    turn.halves.step(
        turn.half.vm_id, Event.INITIAL_TIME_CAME, initial_start_time=None, last_cycle_start=None, retry_time=None
    )


def deliver(turn: Turn) -> None:
    """One cycle. Where the map was lost and the site may scan, the disks are compared before (table row 47)."""
    clock = turn.works.clock
    if not turn.source.map_trusted and Capability.SCAN_AFTER_CRASH in turn.works.capabilities:
        found = turn.source.compare(turn.client, basis=HashBasis.Read, stop=turn.stop)
        _log.warning("the disks were scanned after a crash", vm=turn.half.vm_name, different=found.blocks_different)
    quiesce = turn.quiesce if consistency.wanted(turn.half, clock, turn.started) else None
    result = turn.source.run_cycle(turn.client, stop=turn.stop, quiesce=quiesce)
    if result.quiesce_error is not None:
        _log.warning("the guest could not be quiesced", vm=turn.half.vm_name, error=result.quiesce_error)
    turn.note(cycles.delivered(turn.newest, result, turn.started, clock))


def await_media(turn: Turn) -> None:
    """Look whether the exported copy has arrived at the replica; once it has, replication goes on from there.

    Raises MapNotTrusted where it has, but what was written since the export is lost.
    """
    half = turn.half
    try:
        if turn.source.map_trusted or Capability.SCAN_AFTER_CRASH in turn.works.capabilities:
            deliver(turn)
            return
        if turn.client.status(half.vm_id).head is not None:
            turn.halves.step(half.vm_id, Event.INITIAL_DONE, initial_done=True)
            deliver(turn)
    except WaitingForMedia:
        _log.debug("the media have not arrived", vm=half.vm_name)
    turn.halves.update(half.vm_id, last_cycle_start=turn.started, retry_time=None, failures=0, failure="")


def kind_of(error: Exception) -> Failure:
    """What kind of failure an error of the engine is."""
    if isinstance(error, OutOfBoundsError):
        return Failure.OUT_OF_BOUNDS
    if isinstance(error, StaleGeneration):
        return Failure.FAILED_OVER
    if isinstance(error, PeerRefused):
        return Failure.REFUSED if error.status < HTTPStatus.INTERNAL_SERVER_ERROR else Failure.REPLICATION
    return Failure.NETWORK if isinstance(error, LinkError) else Failure.REPLICATION
