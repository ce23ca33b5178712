"""A cycle in which nothing has changed: the replica is told that its newest point still is what the source has."""

import contextlib
import threading
import time
from collections.abc import Mapping
from datetime import datetime

from secondsite.agent.lab.engine.errors import PeerRefused
from secondsite.agent.lab.engine.port.client import PeerClient
from secondsite.agent.lab.engine.primary.state import SourceState
from secondsite.agent.lab.engine.primary.tracker import DiskTracker
from secondsite.agent.lab.engine.types import CycleResult
from secondsite.wire.peer import CycleKind, CycleUnchanged


def may_stand(state: SourceState, now: datetime, seconds: float) -> bool:
    """Whether the head may be the newest point at `now`, too: it is younger than `seconds`, and no cycle is open."""
    if (
        state.head is None
        or state.head_time is None
        or state.open
        or state.disks_changed
        or state.superseded_by is not None
    ):
        return False
    return 0 <= (now - state.head_time).total_seconds() < seconds


def all_quiet(trackers: Mapping[str, DiskTracker]) -> bool:
    """Whether no disk differs from the head. The locks of all disks held."""
    return all(tracker.quiet for tracker in trackers.values())


def tell(client: PeerClient, state: SourceState, time_of_freeze: datetime, stop: threading.Event) -> CycleResult | None:
    """Have the replica move its newest point's time. None where it does not take that: run a cycle, which says why.

    LinkError; Stopped.
    """
    assert state.head is not None
    started = time.monotonic()
    message = CycleUnchanged(head=state.head, generation=state.generation, freeze_time=time_of_freeze)
    with contextlib.suppress(PeerRefused), client.link.turn(stop), client.session() as peer:
        answer = peer.unchanged(state.vm, message)
        return CycleResult(
            cycle=state.head,
            kind=CycleKind.Delta,
            freeze_time=time_of_freeze,
            durable_time=answer.durable_time,
            blocks=0,
            bytes=0,
            wire_bytes=0,
            seconds=time.monotonic() - started,
            resumed=False,
        )
    return None
