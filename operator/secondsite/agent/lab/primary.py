"""The primary's side of one relation: what it does when its turn comes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from secondsite import logs
from secondsite.agent.lab import consistency, cycles
from secondsite.agent.lab.cycles import Failure
from secondsite.agent.lab.engine import (
    Compression,
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
    StaleGeneration,
    Stopped,
)
from secondsite.agent.lab.events import Event
from secondsite.agent.lab.halves import Halves
from secondsite.agent.lab.state import Half
from secondsite.agent.lab.works import Works

_log = logs.get(__name__)

Dial = Callable[[Half], PeerClient]


class Primary:
    """Tracks the disks of one VM and sends what changed. `dial` makes a client for the peer that the half names,
    `quiesce` holds the guest at rest; primaries of one `host` share its places for transfers.

    Tracking begins with initial replication and goes on in every state but `Disabled`, so that a suspended VM knows
    what it owes.
    """

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
        self.group = host
        self._root = root
        self._disks = disks
        self._halves = halves
        self._works = works
        self._clock = works.clock
        self._dial = dial
        self._quiesce = quiesce
        self._client: PeerClient | None = None
        self._source: ReplicationSource | None = None
        self._source_lock = threading.Lock()
        self._busy = threading.Lock()
        self._news = threading.Lock()
        self._stop = threading.Event()
        self._holds = 0
        self._closing = False
        if works.machinery.is_tracked(root):
            self.track()
            self._catch_up()
        works.rounds.add(self._key, self)

    @property
    def _key(self) -> str:
        return f"primary {self.vm_id}"

    def track(self) -> None:
        """Begin to track changes; goes on with what is on the disk. Call it while the guest stands still."""
        with self._source_lock:
            if self._source is None:
                self._source = self._works.machinery.track(self._root, self.vm_id, self._disks)

    def wake(self) -> None:
        """Look again: the half or its settings have changed."""
        self._set_compression()
        self._works.rounds.wake(self._key)

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
            self._works.rounds.wake(self._key)

    def abandon(self) -> None:
        """Give up an unfinished cycle; what it held goes into the next. Call it inside `quiet`."""
        if self._source:
            self._source.abandon()

    def distrust(self) -> None:
        """The host crashed: the map of changes is not to be trusted any more (table row 35)."""
        with self.quiet():
            if self._source:
                self._source.distrust()
                self._halves.step(self.vm_id, Event.HOST_CRASHED, failure="")

    def progress(self) -> Progress | None:
        """Of the open cycle; None before tracking began."""
        with self._source_lock:
            return self._source.progress() if self._source else None

    def close(self, *, discard: bool = False) -> None:
        """Stop. `discard` forgets the tracking too: the relation is over."""
        with self._news:
            self._closing = True
            self._stop.set()
        self._works.rounds.remove(self._key)
        with self._source_lock:
            source, self._source = self._source, None
        if source and discard:
            source.discard()
        elif source:
            source.close()

    def pause(self) -> float | None:
        """Seconds until the next cycle is due; None: not before news."""
        half = self._halves.get(self.vm_id)
        return None if self._holds or self._closing or half is None else cycles.pause(half, self._clock)

    def turn(self) -> None:
        """One cycle, if one is due."""
        with self._busy:
            with self._news:
                if self._holds or self._closing:
                    return
                self._stop = threading.Event()
            half = self._halves.get(self.vm_id)
            if half is None or self._source is None or cycles.pause(half, self._clock) != 0:
                return
            try:
                self._cycle(half, self._source)
            except Exception as error:  # noqa: BLE001 - the last line of defence of a relation
                # Whatever it was, our store perhaps: a relation never stops trying, and never in silence.
                _log.exception("replication cycle broke", vm=half.vm_name)
                self._halves.update(self.vm_id, retry_time=self._clock.now() + self._clock.retry, failure=str(error))

    def _catch_up(self) -> None:
        """What happened between the peer's last answer and our death."""
        half = self._halves.get(self.vm_id)
        if half is None or self._source is None:
            return
        if not self._source.map_trusted and half.state != "WaitingForStartResynchronize":
            self._halves.step(self.vm_id, Event.HOST_CRASHED)
        elif self._source.initial_done and half.state == "InitialReplicationInProgress":
            self._halves.step(self.vm_id, Event.INITIAL_DONE, initial_done=True)
        # A restarted service tries at once; it does not wait out an old pause.
        self._halves.update(self.vm_id, retry_time=None)

    def _cycle(self, half: Half, source: ReplicationSource) -> None:
        started = self._clock.now()
        quiesce = self._quiesce if consistency.wanted(half, self._clock, started) else None
        self._client = self._dial(half)
        self._set_compression()
        try:
            result = source.run_cycle(self._client, stop=self._stop, quiesce=quiesce)
        except Stopped:
            return
        except (MapNotTrusted, HeadConflict) as error:
            _log.warning("resynchronization required", vm=half.vm_name, error=str(error))
            self._halves.step(self.vm_id, Event.RESYNC_NEEDED, failure=str(error))
        except (PeerRefused, LinkError, EngineError, OSError) as error:
            if not self._stop.is_set():
                half = self._halves.get(self.vm_id) or half
                outcome = cycles.failed(half, str(error), _failure(error), started, self._clock)
                _log.warning("replication cycle failed", vm=half.vm_name, outcome=outcome.event.value, error=str(error))
                self._halves.step(self.vm_id, outcome.event, **outcome.changes)
        else:
            if result.quiesce_error is not None:
                _log.warning("the guest could not be quiesced", vm=half.vm_name, error=result.quiesce_error)
            outcome = cycles.delivered(self._halves.get(self.vm_id) or half, result, started, self._clock)
            self._halves.step(self.vm_id, outcome.event, **outcome.changes)


def _failure(error: Exception) -> Failure:
    """What kind of failure an error of the engine is."""
    if isinstance(error, StaleGeneration):
        return Failure.FAILED_OVER
    if isinstance(error, PeerRefused):
        return Failure.REFUSED if error.status < 500 else Failure.REPLICATION
    return Failure.NETWORK if isinstance(error, LinkError) else Failure.REPLICATION
