"""The replica's side of one relation: takes cycles, keeps recovery points as the settings say, holds test clones."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from secondsite import logs
from secondsite.agent.lab import arrivals, rpo
from secondsite.agent.lab.engine import Clone, EngineError, PointInUse, RecoveryPoint, Stopped, TokenBucket
from secondsite.agent.lab.events import Effect, Event
from secondsite.agent.lab.halves import Halves
from secondsite.agent.lab.state import Half
from secondsite.agent.lab.works import Works
from secondsite.wire.agent import Capability
from secondsite.wire.peer import CycleKind
from secondsite.wire.problems import Refusal

_log = logs.get(__name__)


class ReplicaStore:
    """The store of one replica; when its turn comes, after each commit, it thins out its points.

    It announces its VM when the points, their damage or the room for them have changed.
    """

    group = ""

    def __init__(
        self,
        vm_id: str,
        root: Path,
        halves: Halves,
        works: Works,
        *,
        keep_every_cycle: bool,
    ) -> None:
        self.vm_id = vm_id
        self._halves = halves
        self._works = works
        self._clock = works.clock
        self._keep_every_cycle = keep_every_cycle
        self._untidy = False
        # What the points were thinned out by last: where it is the same, there is nothing to do.
        self._tidied: object = None
        self.store = works.machinery.store(root, vm_id, self._committed, self._changed)
        self._catch_up()
        works.rounds.add(self._key, self)

    @property
    def _key(self) -> str:
        return f"replica {self.vm_id}"

    def points(self) -> list[RecoveryPoint]:
        """Oldest first; the last is Latest."""
        return self.store.points()

    @property
    def free_bytes(self) -> int | None:
        """What the file system under the replica has left."""
        return self.store.status().free_bytes

    @property
    def out_of_space(self) -> str:
        """Why the last cycle found no room here; empty when it did."""
        return self.store.out_of_space

    def scrub(self, stop: threading.Event, budget: TokenBucket) -> None:
        """Compare every stored block with its digest, as slowly as `budget` says. Ends early when `stop` is set."""
        try:
            result = self.store.scrub_files(stop, budget)
        except Stopped:
            return
        except (EngineError, OSError) as error:
            _log.warning("a scrub broke off", vm=self.vm_id, error=str(error))
            return
        if result.damaged or result.mended:
            _log.warning("a scrub found damage", vm=self.vm_id, damaged=result.damaged, mended=result.mended)

    def clone(self, point_id: str, clone_id: str) -> Clone:
        """A thin, writable copy of a point; the same pair gives the same clone."""
        return self.store.clone(point_id, clone_id)

    def open_clone(self, clone_id: str) -> Clone:
        """A clone that was made before."""
        return self.store.open_clone(clone_id)

    def drop_clone(self, clone_id: str) -> None:
        """Delete a clone; an unknown one is no error."""
        self.store.drop_clone(clone_id)
        self._tidied = None

    def tidy(self) -> None:
        """Look at the retention again: settings have changed, or a clone is gone."""
        if self._tidied is None or self._tidied != self._grounds:
            self._untidy = True
            self._works.rounds.wake(self._key)

    @property
    def _grounds(self) -> object:
        """What decides which points stay, but for the time, which passes with new points only."""
        half = self._halves.get(self.vm_id)
        return half and (self.store.head, half.settings, half.resynchronized_point, half.clone_id, half.failover_clone)

    def close(self) -> None:
        """Stop; the replica stays."""
        self._works.rounds.remove(self._key)
        self.store.close()

    def discard(self) -> None:
        """Delete the replica with every point."""
        self._works.rounds.remove(self._key)
        self.store.discard()

    @contextmanager
    def standing_down(self) -> Iterator[None]:
        """Inside, and after an end without an error, no turn of its own comes to the store."""
        self._works.rounds.remove(self._key)
        try:
            yield
        except BaseException:
            self._works.rounds.add(self._key, self)
            raise

    def _catch_up(self) -> None:
        """A point may have become durable without our noting it."""
        half, points = self._halves.get(self.vm_id), self.store.points()
        # A former primary's disks are a point perhaps, but none that came.
        came = bool(points) and points[-1].kind is not CycleKind.Seed
        if half and half.side == "Replica" and half.state == "WaitingForInitialReplication" and came:
            self._halves.step(self.vm_id, Event.INITIAL_DONE, initial_done=True)
        self._halves.amend(self.vm_id, lambda half: rpo.caught_up(half, points))

    def _committed(self, point: RecoveryPoint) -> None:
        """In the data port's thread, the point is durable: count it, and leave the rest to our own thread."""
        try:
            self._count(point)
        except (Refusal, sqlite3.Error):
            # The point is there all the same; the next one, or a restart, finds out what it has made of us.
            _log.exception("a recovery point was not counted", vm=self.vm_id, point=point.id)
        self.tidy()

    def _count(self, point: RecoveryPoint) -> None:
        half = self._halves.get(self.vm_id)
        if half and half.state == "WaitingForInitialReplication":
            self._halves.step(self.vm_id, Event.INITIAL_DONE, **arrivals.noted(half, point, self._clock))
        elif half and half.state == "Resynchronizing":
            self._resynchronized(half, point)
        else:
            self._halves.amend(self.vm_id, lambda half: arrivals.noted(half, point, self._clock))

    def _resynchronized(self, half: Half, point: RecoveryPoint) -> None:
        """The cycle that ends a resynchronization (row 18)."""
        row = self._halves.require(self.vm_id, half.vm_name, Event.RESYNC_DONE)
        keeps = Capability.RESYNC_KEEPS_RECOVERY_POINTS in self._works.capabilities
        noted = arrivals.noted(half, point, self._clock)
        if Effect.POINTS_DELETED in row.effects and not keeps:
            noted = {**noted, "resynchronized_point": point.id}
        self._halves.step(self.vm_id, Event.RESYNC_DONE, **noted)

    def _changed(self) -> None:
        self._tidied = None
        self._works.announce(self.vm_id)
        self.tidy()

    def pause(self) -> float | None:
        """Seconds until the points are looked at again; None: not before something changes."""
        if self._untidy:
            return 0
        # Refused cycles commit nothing that would wake us, and what has expired may be the room they need.
        return self._clock.point_spacing_seconds if self.out_of_space else None

    def turn(self) -> None:
        """Thin out the points as the settings say."""
        self._untidy, self._tidied = False, self._grounds
        try:
            self._thin_out()
        except (EngineError, OSError) as error:
            self._tidied = None
            _log.exception("thinning out recovery points failed", vm=self.vm_id, error=str(error))
        self._works.announce(self.vm_id)

    def _thin_out(self) -> None:
        half = self._halves.get(self.vm_id)
        if half is None:
            return
        if half.resynchronized_point:
            self._give_up_before(half.resynchronized_point)
        if self._keep_every_cycle:
            return
        kept_for = self._clock.retention_seconds(half.settings.retention_hours)
        heard = self.store.heard_time
        if heard is not None:
            # Not later: nothing may expire because the primary is silent, perhaps for ever, or our clock is ahead.
            now = min(self._clock.now(), heard)
            self.store.apply_retention(now, self._clock.point_spacing_seconds, kept_for)

    def _give_up_before(self, point_id: str) -> None:
        """Delete the points from before a resynchronization; one that a clone stands on goes when the clone has gone.

        Where retention has taken the point itself, it has dealt with the older ones too.
        """
        points = self.store.points()
        position = next((index for index, point in enumerate(points) if point.id == point_id), 0)
        for point in points[:position]:
            with contextlib.suppress(PointInUse):
                self.store.merge(point.id)
        left = {point.id for point in self.store.points()} & {point.id for point in points[:position]}
        if not left:
            self._halves.update(self.vm_id, resynchronized_point="")
