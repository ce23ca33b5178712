"""The sending half: all disks of one VM, tracked together, frozen at one instant, shipped cycle by cycle."""

import contextlib
import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

import msgspec

from secondsite.agent.lab.engine.agreement import agreed, take_back, with_head
from secondsite.agent.lab.engine.client import PeerClient
from secondsite.agent.lab.engine.cycle import CycleRun
from secondsite.agent.lab.engine.disk import SourceDisk
from secondsite.agent.lab.engine.durable import check_id, lock_directory, make_directories
from secondsite.agent.lab.engine.errors import EngineError, HeadConflict, ImageLost, MapNotTrusted, StaleGeneration
from secondsite.agent.lab.engine.overview import progress_of
from secondsite.agent.lab.engine.quiesce import Quiesce, freeze_at_rest
from secondsite.agent.lab.engine.state import (
    OpenState,
    SourceState,
    current_boot_id,
    load_state,
    save_state,
    state_path,
    taken_up,
)
from secondsite.agent.lab.engine.tracker import DiskTracker
from secondsite.agent.lab.engine.types import CycleResult, Freeze, Progress, utc_now
from secondsite.wire.peer import CycleKind


class ReplicationSource:
    """Tracks the disks of one VM under `root` and replicates them, one cycle at a time.

    Construct it before any guest writes: it attaches to the disks. `at_freeze` is called under the locks of all disks,
    so what it notes fits the recovery point exactly; it must be quick and must not touch the disks.

    Crash rules of this side:
    1. A write marks `current` first. The state file is replaced as a whole.
    2. A freeze ORs into `frozen` before it clears `current`; the cycle exists once the state names it.
    3. `frozen` is cleared only after the replica said Committed; only then does the state close the cycle. Died in
       between: the replica answers the next open with a conflict whose head is that cycle, and it is closed.
    4. A cycle is given up by closing it in the state *first*; what is left in its map is owed by the next freeze. So a
       state that names a cycle always stands beside a whole frozen image.
    5. Another boot id without a clean close: the map is not trusted.
    """

    _tracker_type = DiskTracker

    def __init__(
        self,
        root: Path,
        vm_id: str,
        disks: Mapping[str, SourceDisk],
        *,
        generation: int = 1,
        clock: Callable[[], datetime] = utc_now,
        boot_id: str | None = None,
        at_freeze: Callable[[Freeze], None] | None = None,
    ) -> None:
        self.vm_id = check_id("VM", vm_id)
        self._root = root
        self._disks = {check_id("disk", name): disks[name] for name in sorted(disks)}
        self._clock = clock
        self._at_freeze = at_freeze
        self._one_cycle = threading.Lock()
        self._run: CycleRun | None = None
        make_directories(root)
        self._directory_lock = lock_directory(root)
        try:
            self._state = self._open_state(generation, boot_id or current_boot_id())
            self.trackers = {name: self._tracker_type(disk, root, name) for name, disk in self._disks.items()}
            self._save(self._state)
        except BaseException:
            os.close(self._directory_lock)
            raise
        for name, disk in self._disks.items():
            disk.attach(self.trackers[name])

    @staticmethod
    def exists(root: Path) -> bool:
        """Whether tracking was ever set up under `root`."""
        return state_path(root).exists()

    @property
    def map_trusted(self) -> bool:
        """False after an unclean stop of the host: writes may be missing from the map."""
        return self._state.trusted

    @property
    def head(self) -> str | None:
        """The newest recovery point known here to be committed at the replica."""
        return self._state.head

    @property
    def open_cycle(self) -> OpenState | None:
        return self._state.open

    @property
    def generation(self) -> int:
        return self._state.generation

    @property
    def superseded_by(self) -> int | None:
        """The newer generation that refused ours: the VM is primary elsewhere. None again after a cycle was taken."""
        return self._state.superseded_by

    def begin_term(self, generation: int) -> None:
        """Stay the primary in a newer generation: the other side's was discarded. May be repeated. Not in a cycle.

        The open cycle is given up, for the replica may be another since. EngineError when the generation is older.
        """
        if generation < self.generation:
            raise EngineError(f"VM {self.vm_id}: generation {generation} is older than ours, {self.generation}")
        self.abandon()
        self._change(generation=generation, superseded_by=None)

    @property
    def initial_done(self) -> bool:
        return self._state.head is not None

    def distrust(self) -> None:
        """As after a crash of the host."""
        self._change(trusted=False)

    def run_cycle(
        self, client: PeerClient, *, stop: threading.Event | None = None, quiesce: Quiesce | None = None
    ) -> CycleResult:
        """One cycle, to its durable recovery point: the open one if there is one, else a fresh freeze.

        With `quiesce` a fresh freeze happens inside of it, and the point is application-consistent; an open cycle stays
        what it was frozen as. Where it raises QuiesceFailed the point is crash-consistent, and the result says why.
        Raises LinkError (nothing acknowledged is lost, try again), Stopped (`stop` was set; the cycle stays open),
        HeadConflict (no common point: resynchronize), StaleGeneration (the VM is primary elsewhere), MapNotTrusted,
        PeerRefused. RuntimeError when one runs already.
        """
        if not self._one_cycle.acquire(blocking=False):
            raise RuntimeError(f"a cycle of VM {self.vm_id} is running already")
        try:
            return self._run_cycle(client, stop or threading.Event(), quiesce)
        except StaleGeneration as refusal:
            self._change(superseded_by=refusal.generation or self.generation + 1)
            raise
        finally:
            self._run = None
            self._one_cycle.release()

    def _run_cycle(self, client: PeerClient, stop: threading.Event, quiesce: Quiesce | None) -> CycleResult:
        if self._directory_lock < 0:
            raise EngineError(f"VM {self.vm_id}: replication was closed here")
        if not self._state.trusted:
            raise MapNotTrusted(f"VM {self.vm_id}: the host stopped without a clean close; resynchronize")
        started = time.monotonic()
        resumed = self._state.open is not None
        if not resumed:
            # A freeze that nobody takes delivery of would only grow old.
            self._expect_head(client)
        run = self._begin_run(client, stop, quiesce)
        if run is None:
            # The replica lost frames whose blocks have changed since, or we could not save some: take a new image.
            self._close_cycle()
            resumed = False
            run = self._begin_run(client, stop, quiesce)
            if run is None:
                raise ImageLost(f"VM {self.vm_id}: even a fresh image was lost before it could be sent; try again")
        durable_time = run.finish()
        self._committed(run)
        return run.result(durable_time, seconds=time.monotonic() - started, resumed=resumed)

    def _begin_run(self, client: PeerClient, stop: threading.Event, quiesce: Quiesce | None) -> CycleRun | None:
        """None when the open cycle can never be finished."""
        cycle = self._state.open or self._open_cycle(quiesce)
        run = self._run = CycleRun(client, self.vm_id, cycle, self._state.generation, self.trackers, stop)
        try:
            return run if run.begin() else None
        except HeadConflict as conflict:
            known = with_head(self._state, conflict.head)
            if known is None:
                raise
            self._save(known)
        return self._begin_run(client, stop, quiesce)

    def _expect_head(self, client: PeerClient) -> None:
        with client.session() as peer:
            status = peer.status(self.vm_id)
            known = agreed(self._state, status)
            if known is not self._state:
                self._save(known)
            if status.stale:
                take_back(peer, self.vm_id, self.trackers)

    def _open_cycle(self, quiesce: Quiesce | None) -> OpenState:
        """Freeze all disks at one instant and make the cycle durable; the guest is thawed before that is written."""
        cycle = uuid.uuid4().hex
        kind = CycleKind.Initial if self._state.head is None else CycleKind.Delta
        freeze_time, consistency, error = freeze_at_rest(lambda: self._freeze(cycle, kind), quiesce)
        opened = OpenState(
            cycle=cycle,
            parent=self._state.head,
            kind=kind,
            freeze_time=freeze_time,
            consistency=consistency,
            quiesce_error=error,
        )
        self._change(open=opened)
        return opened

    def _freeze(self, cycle: str, kind: CycleKind) -> datetime:
        with self._all_locked():
            time_of_freeze = self._clock()
            for tracker in self.trackers.values():
                tracker.freeze(everything=kind is CycleKind.Initial)
            if self._at_freeze is not None:
                self._at_freeze(Freeze(cycle, time_of_freeze))
        return time_of_freeze

    @contextlib.contextmanager
    def _all_locked(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for disk in self._disks.values():
                stack.enter_context(disk.lock)
            yield

    def _committed(self, run: CycleRun) -> None:
        for tracker in self.trackers.values():
            tracker.release()
        head = {"head": run.cycle.cycle, "head_time": run.cycle.freeze_time, "lineage": ()}
        self._change(**head, open=None, given_up=None, superseded_by=None)

    def _close_cycle(self) -> None:
        if self._state.open is not None:
            self._change(open=None, given_up=self._state.open.cycle)

    def abandon(self) -> None:
        """Give up the open cycle, if any; its blocks go into the next, with a fresh freeze. RuntimeError in a run."""
        if not self._one_cycle.acquire(blocking=False):
            raise RuntimeError(f"VM {self.vm_id}: stop the running cycle before it is abandoned")
        try:
            self._close_cycle()
        finally:
            self._one_cycle.release()

    def progress(self) -> Progress:
        """Numbers for people, at any time."""
        return progress_of(self._run, self._state.open, self.trackers)

    def close(self) -> None:
        """A clean stop: after it the host may stop too. Waits for a running cycle: set its `stop` first.

        Detaches from the disks, which stay open. May be repeated.
        """
        with self._one_cycle:
            if self._directory_lock < 0:
                return
            self._detach(durable=True)
            for disk in self._disks.values():
                disk.sync()
            self._change(clean=True)
            self._unlock()

    def discard(self) -> None:
        """Stop tracking for good: all but the disks is removed. Waits for a running cycle: set its `stop` first."""
        with self._one_cycle:
            if self._directory_lock >= 0:
                self._detach(durable=False)
                self._unlock()
            state_path(self._root).unlink(missing_ok=True)
            shutil.rmtree(self._root, ignore_errors=True)

    def _detach(self, *, durable: bool) -> None:
        for disk in self._disks.values():
            disk.attach(None)
        for tracker in self.trackers.values():
            tracker.close(durable=durable)

    def _unlock(self) -> None:
        os.close(self._directory_lock)
        self._directory_lock = -1

    def _open_state(self, generation: int, boot_id: str) -> SourceState:
        sizes = {name: disk.size for name, disk in self._disks.items()}
        complete = all(DiskTracker.complete(self._root, name, size) for name, size in sizes.items())
        fresh = SourceState(vm=self.vm_id, disks=sizes, generation=generation, boot_id=boot_id)
        path = state_path(self._root)
        return taken_up(load_state(path), fresh, path, maps_complete=complete)

    def _change(self, **changes: object) -> None:
        self._save(msgspec.structs.replace(self._state, **changes))

    def _save(self, state: SourceState) -> None:
        save_state(state_path(self._root), state)
        self._state = state
