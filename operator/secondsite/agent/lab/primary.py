"""The primary's side of one relation: what it does when its turn comes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from secondsite import logs
from secondsite.agent.lab import cycles, disk_set, log_watch, media, resync, returning, triggers, turns
from secondsite.agent.lab.engine import (
    Compression,
    EngineError,
    HeadConflict,
    LinkError,
    MapNotTrusted,
    PeerClient,
    PeerRefused,
    Quiesce,
    ReplicationSource,
    SourceDisk,
    Stopped,
)
from secondsite.agent.lab.events import Event
from secondsite.agent.lab.halves import Halves
from secondsite.agent.lab.state import Half
from secondsite.agent.lab.table import find
from secondsite.agent.lab.tracking import Tracking
from secondsite.agent.lab.turns import Turn
from secondsite.agent.lab.works import Works
from secondsite.wire.facts import State

_log = logs.get(__name__)

Dial = Callable[[Half], PeerClient]
Deed = Callable[[Turn], None]

# What a turn does where it is no ordinary cycle.
_DEEDS: dict[State, Deed] = {
    "ReadyForInitialReplication": turns.begin_initial,
    "InitialReplicationInProgress": returning.deliver_first,
    "WaitingForInitialReplication": turns.await_media,
    "WaitingForStartResynchronize": resync.stand_by,
    "Resynchronizing": resync.resynchronize,
    "WaitingForUpdateCompletion": disk_set.change,
}


class Primary:
    """Tracks the disks of one VM and sends what changed. `dial` makes a client for the peer that the half names,
    `quiesce` holds the guest at rest; primaries of one `host` share its places for transfers.

    `tracking` begins with initial replication and goes on in every state but `Disabled`, so that a suspended VM knows
    what it owes. `out_of_bounds`: why what the guest writes does not fit the replica's disks; empty: it does.
    """

    out_of_bounds = ""

    def __init__(
        self,
        vm_id: str,
        root: Path,
        disks: Mapping[str, SourceDisk],
        halves: Halves,
        works: Works,
        dial: Dial,
        quiesce: Quiesce,
        host: str,
    ) -> None:
        self.vm_id = vm_id
        self._key, self._log_key = f"primary {vm_id}", f"log {vm_id}"
        self.group = host
        self._halves = halves
        self._works = works
        self._clock = works.clock
        self._dial = dial
        self._quiesce = quiesce
        self._client: PeerClient | None = None
        self._busy = threading.Lock()
        self._news = threading.Lock()
        self._stop = threading.Event()
        self._holds = 0
        self._closing = False
        self.tracking = Tracking(works.machinery, root, vm_id, disks)
        self._catch_up()
        works.rounds.add(self._key, self)
        works.rounds.add(self._log_key, log_watch.LogWatch(self._half, self._look_at_log, self._clock))

    def _half(self) -> Half | None:
        return self._halves.get(self.vm_id)

    @property
    def _source(self) -> ReplicationSource | None:
        return self.tracking.source

    def wake(self) -> None:
        """Look again: the half or its settings have changed."""
        self._set_compression()
        self._works.rounds.wake(self._key)
        self._works.rounds.wake(self._log_key)

    def _set_compression(self) -> None:
        """By the setting as it is now, in a running cycle too: it may take hours."""
        half, client = self._half(), self._client
        if half is not None and client is not None:
            client.compression = Compression.Auto if half.settings.compression else Compression.Off

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """While inside, no cycle runs; a running one is stopped and goes on later where it was."""
        with self._news:
            self._holds += 1
            self._stop.set()
        try:
            with self._busy:
                yield
        finally:
            with self._news:
                self._holds -= 1
            self._works.rounds.wake(self._key)

    def abandon(self) -> None:
        """Give up an unfinished cycle; what it held goes into the next. Call it inside `quiet`."""
        if self._source:
            self._source.abandon()

    def distrust(self) -> None:
        """The host crashed: the map of changes is not to be trusted any more (rows 35, 47). Call it inside `quiet`."""
        half = self._half()
        if half and self._source:
            self._source.distrust()
            resync.crashed(half, self._source, self._halves, self._works)

    def touched_offline(self) -> None:
        """A disk was changed while the VM was off: no map can tell where (row 14). Call it inside `quiet`."""
        self._require_resync(triggers.Trigger.DISK_TOUCHED)

    @contextmanager
    def held(self) -> Iterator[tuple[Half, ReplicationSource]]:
        """`quiet`, with the half and the source as they are. EngineError where the relation is over or not tracked."""
        with self.quiet():
            half, source = self._half(), self._source
            if half is None or source is None:
                raise EngineError(f"VM {self.vm_id}: changes are not tracked (any more)")
            yield half, source

    def act(self, deed: Deed) -> None:
        """Do something in the caller's thread, as in a turn. Inside `held`; raises what the engine does."""
        with self._news:
            self._stop = threading.Event()
        half, source = self._half(), self._source
        if half and source:
            turns.expect_in_bounds(half, self.out_of_bounds)
            self._act(half, source, deed)

    def close(self, *, discard: bool = False) -> None:
        """Stop. `discard` forgets the tracking too: the relation is over."""
        with self._news:
            self._closing = True
            self._stop.set()
        self._works.rounds.remove(self._key)
        self._works.rounds.remove(self._log_key)
        self.tracking.end(discard=discard)

    def retire(self, hand_over: Callable[[ReplicationSource], None]) -> None:
        """Be a primary no more: `hand_over` takes the source, and closes it. Where it raises, all is as before."""
        with self.held() as (_, source):
            hand_over(source)
            self.tracking.let_go()
            self._closing = True
        self._works.rounds.remove(self._key)
        self._works.rounds.remove(self._log_key)

    def pause(self) -> float | None:
        """Seconds until the next cycle is due; None: not before news."""
        half = self._half()
        return None if self._holds or self._closing or half is None else cycles.pause(half, self._clock)

    def turn(self) -> None:
        """One cycle, if one is due."""
        with self._busy:
            with self._news:
                if self._holds or self._closing:
                    return
                self._stop = threading.Event()
            half = self._half()
            if half is None or self._source is None or cycles.pause(half, self._clock) != 0:
                return
            try:
                self._turn(half, self._source)
            except Exception as error:  # noqa: BLE001 - the last line of defence of a relation
                # Whatever it was, our store perhaps: a relation never stops trying, and never in silence.
                _log.exception("replication cycle broke", vm=half.vm_name)
                self._halves.update(self.vm_id, retry_time=self._clock.now() + self._clock.retry, failure=str(error))

    def _catch_up(self) -> None:
        """What happened between the peer's last answer and our death."""
        half = self._half()
        if half is None or self._source is None:
            return
        if not self._source.map_trusted:
            # A comparison under way goes on: its bookmarks know whether the host stopped.
            if half.state != "Resynchronizing":
                resync.crashed(half, self._source, self._halves, self._works)
        elif self._source.initial_done and half.state == "InitialReplicationInProgress" and half.generation == 1:
            self._halves.step(self.vm_id, Event.INITIAL_DONE, initial_done=True)
        # A restarted service tries at once; it does not wait out an old pause.
        self._halves.update(self.vm_id, retry_time=None)

    def _turn(self, half: Half, source: ReplicationSource) -> None:
        exporting = half.state == "InitialReplicationInProgress" and half.media
        deed = self._export if exporting else _DEEDS.get(half.state, turns.deliver)
        started = self._clock.now()
        try:
            turns.expect_in_bounds(half, self.out_of_bounds)
            self._act(half, source, deed)
        except Stopped:
            return
        except (MapNotTrusted, HeadConflict) as error:
            self._require_resync(str(error))
        except (PeerRefused, LinkError, EngineError, OSError) as error:
            if not self._stop.is_set():
                self._failed(self._half() or half, error, started)

    def _act(self, half: Half, source: ReplicationSource, deed: Deed) -> None:
        client = self._client = self._dial(half)
        self._set_compression()
        now = self._clock.now()
        deed(Turn(half, source, client, self._halves, self._works, self._stop, self._quiesce, now))

    def _export(self, turn: Turn) -> None:
        def told(done: int, total: int) -> None:
            self.tracking.exported = (done, total)

        try:
            media.export(turn, told)
        finally:
            self.tracking.exported = None

    def _failed(self, half: Half, error: Exception, started: datetime) -> None:
        outcome = cycles.failed(half, str(error), turns.kind_of(error), started, self._clock)
        _log.warning("replication failed", vm=half.vm_name, state=half.state, outcome=outcome.event, error=str(error))
        if outcome.event is Event.RESYNC_NEEDED:
            self._require_resync(str(outcome.changes["failure"]), self._clock.now() + self._clock.retry)
        else:
            turns.take(self._halves, self.vm_id, outcome)

    def _look_at_log(self) -> None:
        """In the watch's turn (rows 14, 19)."""
        half = self._half()
        with self.tracking.watched() as source:
            full = half and source and log_watch.full(half, source, self._clock)
        if full:
            with self.quiet():
                self._require_resync(triggers.Trigger.LOG_FULL)

    def _require_resync(self, why: str, retry: datetime | None = None) -> None:
        """No cycle runs. Where no row lists it, it is found out when the map is needed."""
        half, source = self._half(), self._source
        if half and source and find(half.side, half.state, Event.RESYNC_NEEDED, half.look):
            resync.required(half, source, self._halves, why, retry=retry)
        else:
            self._halves.update(self.vm_id, failure=why, retry_time=self._clock.now() + self._clock.retry)
