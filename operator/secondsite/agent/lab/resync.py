"""Resynchronization at the primary's side: it begins, it compares and sends what differs, it ends (rows 14 to 20)."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta

from secondsite import logs
from secondsite.agent.lab import cycles, resync_peer, triggers
from secondsite.agent.lab.engine import ReplicationSource
from secondsite.agent.lab.events import Effect, Event
from secondsite.agent.lab.halves import Halves
from secondsite.agent.lab.state import Half
from secondsite.agent.lab.table import find
from secondsite.agent.lab.turns import Turn
from secondsite.agent.lab.works import Works
from secondsite.wire.agent import Capability

_log = logs.get(__name__)

# A percent is news, but not more often: each is written to the store.
_TELL = timedelta(seconds=1)


def required(half: Half, source: ReplicationSource, halves: Halves, why: str, *, retry: datetime | None = None) -> None:
    """A resynchronization is needed now (rows 14, 19). `retry`: it may not begin by itself before that."""
    row = halves.require(half.vm_id, half.vm_name, Event.RESYNC_NEEDED)
    if Effect.TRACKING_STOPS in row.effects:
        source.distrust()
    _log.warning("resynchronization required", vm=half.vm_name, reason=why)
    halves.step(half.vm_id, Event.RESYNC_NEEDED, failure=why, resynchronize_percent=None, retry_time=retry)


def crashed(half: Half, source: ReplicationSource, halves: Halves, works: Works) -> None:
    """The map of changes was lost with the host: rows 35 and 47; elsewhere it is found out when it is needed."""
    may_scan = Capability.SCAN_AFTER_CRASH in works.capabilities
    look = dataclasses.replace(half.look, may_scan=may_scan)
    row = find(half.side, half.state, Event.HOST_CRASHED, look)
    if row is not None:
        # Where the state stays, what was wrong before is wrong still.
        why = half.failure if row.after is None else triggers.Trigger.HOST_CRASHED.value
        halves.step(half.vm_id, Event.HOST_CRASHED, {"may_scan": may_scan}, failure=why, retry_time=None)
    elif half.state == "Resynchronizing":
        # What was compared before it says nothing any more: the comparison begins anew, by itself.
        source.distrust()


def begin(half: Half, source: ReplicationSource, halves: Halves, *, same_sizes: bool) -> None:
    """Rows 15 and 20: from here on the disks are compared. Raises Refusal."""
    halves.require(half.vm_id, half.vm_name, Event.RESYNCHRONIZE, same_sizes=same_sizes)
    # First, for a state that says so with a map that is trusted would skip the comparison.
    source.distrust()
    halves.step(
        half.vm_id,
        Event.RESYNCHRONIZE,
        {"same_sizes": same_sizes},
        failures=0,
        failure="",
        retry_time=None,
        resynchronize_percent=0,
        resynchronize_start_time=None,
        resynchronize_after=None,
    )


def stop(half: Half, source: ReplicationSource, halves: Halves, now: datetime) -> None:
    """Row 17, and a start that was only set: the next begins from zero, and by itself in the next window at the
    earliest. Raises Refusal.
    """
    halves.require(half.vm_id, half.vm_name, Event.STOP_RESYNCHRONIZE)
    source.distrust()
    halves.step(
        half.vm_id,
        Event.STOP_RESYNCHRONIZE,
        failure="A resynchronization was stopped",
        retry_time=None,
        resynchronize_percent=None,
        resynchronize_start_time=None,
        resynchronize_after=triggers.closing(half.settings, now),
    )


def stand_by(turn: Turn) -> None:
    """While a resynchronization is needed: tell the peer that none is under way, and begin one when it may."""
    half, now = turn.half, turn.works.clock.now()
    if half.peer_resynchronizes:
        resync_peer.tell(turn.client, half.vm_id, under_way=False)
        turn.halves.update(half.vm_id, peer_resynchronizes=False)
    due = triggers.start_due(half, now)
    # Of a VM that was failed over a person says which side goes on.
    waits = turn.source.superseded_by is not None and half.resynchronize_start_time is None
    if waits:
        turn.halves.update(half.vm_id, retry_time=now + turn.works.clock.retry)
    elif due is not None and due <= now:
        # Whether the sizes are still the same the comparison finds out.
        begin(half, turn.source, turn.halves, same_sizes=True)


def resynchronize(turn: Turn) -> None:
    """Compare, then one cycle with what differs. Interrupted, the next turn goes on where this one was."""
    half, source = turn.half, turn.source
    if not source.map_trusted or source.open_cycle is None:
        # Told before its cycle opens: the replica knows by it which point a resynchronization ends with.
        turn.halves.update(half.vm_id, peer_resynchronizes=True)
        resync_peer.tell(turn.client, half.vm_id, under_way=True)
    if not source.map_trusted:
        percent = _Percent(turn)
        found = source.compare(turn.client, stop=turn.stop, progress=percent.tell)
        _log.info("the disks are compared", vm=half.vm_name, different=found.blocks_different)
    result = source.run_cycle(turn.client, stop=turn.stop)
    outcome = cycles.delivered(turn.newest, result, turn.started, turn.works.clock)
    over = {"peer_resynchronizes": False, "resynchronize_percent": None}
    turn.note(cycles.Outcome(outcome.event, outcome.changes | over))


class _Percent:
    """How far a comparison is, noted in the half now and then."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._said = turn.half.resynchronize_percent
        self._time: datetime | None = None

    def tell(self, done: int, total: int) -> None:
        percent = 100 * done // total if total else 100
        now = self._turn.works.clock.now()
        if percent != self._said and (self._time is None or percent == 100 or abs(now - self._time) >= _TELL):
            self._said, self._time = percent, now
            self._turn.halves.update(self._turn.half.vm_id, resynchronize_percent=percent)
