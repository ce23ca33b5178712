"""The primary's side of one relation: a thread that runs a replication cycle whenever one is due."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from secondsite import logs
from secondsite.agent.lab import consistency, counters
from secondsite.agent.lab.clock import LabClock
from secondsite.agent.lab.engine import (
    Compression,
    CycleResult,
    EngineError,
    HeadConflict,
    LinkError,
    MapNotTrusted,
    PeerClient,
    PeerRefused,
    Progress,
    Quiesce,
    ReplicationSource,
    SourceDisk,
    Stopped,
)
from secondsite.agent.lab.halves import Halves
from secondsite.agent.lab.state import Half
from secondsite.agent.lab.table import Event

_log = logs.get(__name__)

Dial = Callable[[Half], PeerClient]


class Primary:
    """Tracks the disks of one VM and sends what changed. `dial` makes a client for the peer that the half names,
    `quiesce` holds the guest at rest.

    Tracking begins with initial replication and goes on in every state but `Disabled`, so that a suspended VM knows
    what it owes.
    """

    def __init__(
        self,
        vm_id: str,
        root: Path,
        disks: Mapping[str, SourceDisk],
        halves: Halves,
        clock: LabClock,
        dial: Dial,
        quiesce: Quiesce,
    ) -> None:
        self.vm_id = vm_id
        self._root = root
        self._disks = disks
        self._halves = halves
        self._clock = clock
        self._dial = dial
        self._quiesce = quiesce
        self._client: PeerClient | None = None
        self._source: ReplicationSource | None = None
        self._source_lock = threading.Lock()
        self._busy = threading.Lock()
        self._news = threading.Condition()
        self._stop = threading.Event()
        self._holds = 0
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=f"primary {vm_id}", daemon=True)
        if ReplicationSource.exists(root):
            self.track()
            self._catch_up()
        self._thread.start()

    def track(self) -> None:
        """Begin to track changes; goes on with what is on the disk. Call it while the guest stands still."""
        with self._source_lock:
            if self._source is None:
                self._source = ReplicationSource(self._root, self.vm_id, self._disks)

    def wake(self) -> None:
        """Look again: the half or its settings have changed."""
        self._set_compression()
        with self._news:
            self._news.notify_all()

    def _set_compression(self) -> None:
        """By the setting as it is now, in a running cycle too: it may take hours."""
        half, client = self._halves.get(self.vm_id), self._client
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
                self._news.notify_all()

    def abandon(self) -> None:
        """Give up an unfinished cycle; what it held goes into the next. Call it inside `quiet`."""
        if self._source:
            self._source.abandon()

    def distrust(self) -> None:
        """The host crashed: the map of changes is not to be trusted any more (table row 14)."""
        with self.quiet():
            if self._source:
                self._source.distrust()
                self._halves.step(self.vm_id, Event.TRACKING_LOST, failure="")

    def progress(self) -> Progress | None:
        """Of the open cycle; None before tracking began."""
        with self._source_lock:
            return self._source.progress() if self._source else None

    def close(self, *, discard: bool = False) -> None:
        """Stop. `discard` forgets the tracking too: the relation is over."""
        with self._news:
            self._closing = True
            self._stop.set()
            self._news.notify_all()
        self._thread.join()
        with self._source_lock:
            source, self._source = self._source, None
        if source and discard:
            source.discard()
        elif source:
            source.close()

    def _catch_up(self) -> None:
        """What happened between the peer's last answer and our death."""
        half = self._halves.get(self.vm_id)
        if half is None or self._source is None:
            return
        if not self._source.map_trusted and half.state != "WaitingForStartResynchronize":
            self._halves.step(self.vm_id, Event.TRACKING_LOST)
        elif self._source.initial_done and half.state == "InitialReplicationInProgress":
            self._halves.step(self.vm_id, Event.INITIAL_DONE, initial_done=True)
        # A restarted service tries at once; it does not wait out an old pause.
        self._halves.update(self.vm_id, retry_time=None)

    def _run(self) -> None:
        while not self._closing:
            with self._news:
                pause = self._pause()
                if pause is None or pause > 0:
                    self._news.wait(pause)
                    continue
                self._stop = threading.Event()
            with self._busy:
                self._cycle_if_wanted()

    def _cycle_if_wanted(self) -> None:
        half = self._halves.get(self.vm_id)
        if half is None or self._holds or self._closing:
            return
        try:
            self._cycle(half)
        except Exception:  # noqa: BLE001 - the last line of defence of a thread
            # Whatever it was, our store perhaps: a relation never stops trying, and never in silence.
            _log.exception("replication cycle broke", vm=half.vm_name)
            with self._news:
                self._news.wait(self._clock.retry.total_seconds())

    def _pause(self) -> float | None:
        """Seconds until the next cycle is due; None: not before news."""
        half = self._halves.get(self.vm_id)
        if self._holds or half is None or half.state not in ("InitialReplicationInProgress", "Replicating"):
            return None
        interval = self._interval(half)
        due = half.retry_time or (half.last_cycle_start and half.last_cycle_start + timedelta(seconds=interval))
        if due is None:
            return 0
        # A clock that was set back must not stop replication.
        return min((due - self._clock.now()).total_seconds(), max(interval, self._clock.retry.total_seconds()))

    def _interval(self, half: Half) -> float:
        return self._clock.scaled(half.settings.interval_seconds)

    def _cycle(self, half: Half) -> None:
        started = self._clock.now()
        if self._source is None:
            return
        quiesce = self._quiesce if consistency.wanted(half, self._clock, started) else None
        self._client = self._dial(half)
        self._set_compression()
        try:
            result = self._source.run_cycle(self._client, stop=self._stop, quiesce=quiesce)
        except Stopped:
            return
        except (MapNotTrusted, HeadConflict) as error:
            _log.warning("resynchronization required", vm=half.vm_name, error=str(error))
            self._halves.step(self.vm_id, Event.TRACKING_LOST, failure=str(error))
        except PeerRefused as error:
            self._failed(half, error, started, final=error.status < 500)
        except (LinkError, EngineError, OSError) as error:
            if not self._stop.is_set():
                self._failed(half, error, started, final=False)
        else:
            self._delivered(half, result, started)

    def _delivered(self, half: Half, result: CycleResult, started: datetime) -> None:
        now = self._clock.now()
        half = self._halves.get(self.vm_id) or half
        # From the freeze on, by one clock: the peer's may be wrong.
        seconds = max(0.0, (now - result.freeze_time).total_seconds())
        window = counters.current(half.window, now, self._clock.monitoring_seconds)
        if half.initial_done:
            window = window.delivered(result.bytes, seconds, self._interval(half))
        if result.quiesce_error is not None:
            _log.warning("the guest could not be quiesced", vm=half.vm_name, error=result.quiesce_error)
            window = window.not_quiesced()
        first = {} if half.initial_done else {"initial_done": True, "initial_total_bytes": result.bytes}
        self._halves.step(
            self.vm_id,
            Event.CYCLE_DONE if half.initial_done else Event.INITIAL_DONE,
            window=window,
            failures=0,
            failure="",
            retry_time=None,
            last_cycle_start=started,
            last_replication_time=now,
            last_cycle_seconds=seconds,
            last_cycle_bytes=result.bytes,
            cycles=half.cycles + 1,
            **consistency.noted(result),
            **first,
        )

    def _failed(self, half: Half, error: Exception, started: datetime, *, final: bool) -> None:
        now = self._clock.now()
        half = self._halves.get(self.vm_id) or half
        failures = half.failures + 1
        exhausted = half.state != "Replicating" and failures > self._clock.knobs.initial_retries
        event = Event.CYCLE_REFUSED if final else Event.RETRIES_EXHAUSTED if exhausted else Event.CYCLE_FAILED
        _log.warning("replication cycle failed", vm=half.vm_name, outcome=event.value, error=str(error))
        self._halves.step(
            self.vm_id,
            event,
            window=counters.current(half.window, now, self._clock.monitoring_seconds).failed(),
            failures=failures,
            failure=str(error),
            retry_time=now + self._clock.retry,
            last_cycle_start=started,
        )
