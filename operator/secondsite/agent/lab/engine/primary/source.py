"""The sending half: all disks of one VM, tracked together, frozen at one instant, shipped cycle by cycle."""

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

import msgspec

from secondsite.agent.lab.engine.errors import (
    EngineError,
    HeadConflict,
    ImageLost,
    MapNotTrusted,
    PeerRefused,
    WaitingForMedia,
)
from secondsite.agent.lab.engine.media.export import MediaExport, Writing
from secondsite.agent.lab.engine.media.manifest import Manifest
from secondsite.agent.lab.engine.port.client import PeerClient
from secondsite.agent.lab.engine.primary.agreement import agreed, ask, take_back, with_head
from secondsite.agent.lab.engine.primary.compare import CompareResult, Comparison, Subject
from secondsite.agent.lab.engine.primary.cycle import CycleRun
from secondsite.agent.lab.engine.primary.mending import Mending
from secondsite.agent.lab.engine.primary.overview import progress_of
from secondsite.agent.lab.engine.primary.quiesce import Quiesce, freeze_at_rest
from secondsite.agent.lab.engine.primary.source_core import SourceCore
from secondsite.agent.lab.engine.primary.state import OpenState
from secondsite.agent.lab.engine.primary.tracker import DiskTracker
from secondsite.agent.lab.engine.primary.unchanged import all_quiet, may_stand, tell
from secondsite.agent.lab.engine.types import CycleResult, Freeze, Progress, Told
from secondsite.wire.peer import CycleKind, HashBasis

_UNTRUSTED = "the host stopped without a clean close, or the file of a disk or a map was missing"


class ReplicationSource(SourceCore):
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

    `unchanged_seconds`: for how long after its freeze a point may go on being the newest while nothing changes; until
    then such a cycle is one message, and no file is held open. 0: every cycle makes a point.
    """

    _run: CycleRun | None = None
    _comparison: Comparison | None = None
    _mending: Mending | None = None

    def begin_term(self, generation: int) -> None:
        """Stay the primary in a newer generation: the other side's was discarded. May be repeated. Not in a cycle.

        The open cycle is given up, for the replica may be another since. EngineError when the generation is older.
        """
        with self._idle():
            if generation < self.generation:
                raise EngineError(f"VM {self.vm_id}: generation {generation} is older than ours, {self.generation}")
            self._close_cycle()
            self._change(generation=generation, superseded_by=None)

    def run_cycle(
        self, client: PeerClient, *, stop: threading.Event | None = None, quiesce: Quiesce | None = None
    ) -> CycleResult:
        """One cycle, to its durable recovery point: the open one if there is one, else a fresh freeze.

        With `quiesce` a fresh freeze happens inside of it, and the point is application-consistent, with `shut_down`
        Synced; an open cycle stays what it was frozen as. Where it raises QuiesceFailed the point is crash-consistent,
        and the result says why.
        Raises LinkError (nothing acknowledged is lost, try again), Stopped (`stop` was set; the cycle stays open),
        HeadConflict (no common point: resynchronize), StaleGeneration (the VM is primary elsewhere), MapNotTrusted,
        PeerRefused. RuntimeError when one runs already.
        """
        with self._alone():
            try:
                return self._run_cycle(client, stop or threading.Event(), quiesce)
            finally:
                self._run = None

    def _run_cycle(self, client: PeerClient, stop: threading.Event, quiesce: Quiesce | None) -> CycleResult:
        if not self._state.trusted:
            raise MapNotTrusted(f"VM {self.vm_id}: {_UNTRUSTED}; look after its disks, then resynchronize")
        self._expect_import(client)
        if quiesce is None and (found := self._still_unchanged(client, stop)):
            return found
        started = time.monotonic()
        resumed = self._state.open is not None
        if not resumed:
            # A freeze that nobody takes delivery of would only grow old.
            wanted = self._expect_head(client)
            self._mending = self._mending or Mending(self.vm_id, self.trackers)
            self._mending.offer(client, wanted, stop)
        run = self._begin_run(client, stop, quiesce)
        if run is None:
            # The replica lost frames whose blocks have changed since, or we could not save some: take a new image.
            self._close_cycle()
            resumed = False
            run = self._begin_run(client, stop, quiesce)
            if run is None:
                raise ImageLost(f"VM {self.vm_id}: even a fresh image was lost before it could be sent; try again")
        durable_time = self._finish(run)
        self._committed(run)
        self._rest()
        return run.result(durable_time, seconds=time.monotonic() - started, resumed=resumed)

    def _still_unchanged(self, client: PeerClient, stop: threading.Event) -> CycleResult | None:
        """A cycle without blocks costs one message, and no file of ours. None: there must be a real one."""
        if not may_stand(self._state, self._clock(), self._unchanged_seconds):
            return None
        with self._all_locked():
            if not all_quiet(self.trackers):
                return None
            time_of_freeze = self._clock()
        found = tell(client, self._state, time_of_freeze, stop)
        if found is not None:
            self._rest()
        return found

    def _finish(self, run: CycleRun) -> datetime:
        try:
            return run.finish()
        except PeerRefused as refused:
            if refused.code == "RootMismatch":
                # One side remembers other digests than it should, and nobody can tell which: send all of it anew.
                self._close_cycle()
            raise

    def _begin_run(self, client: PeerClient, stop: threading.Event, quiesce: Quiesce | None) -> CycleRun | None:
        """None when the open cycle can never be finished."""
        cycle = self._state.open or self._open_cycle(quiesce)
        run = self._run = CycleRun(client, self.vm_id, cycle, self._state.generation, self.trackers, stop)
        try:
            return run if run.begin() else None
        except HeadConflict as conflict:
            head = conflict.head
            if not self._amend(lambda state: with_head(state, head)):
                raise
        return self._begin_run(client, stop, quiesce)

    def _expect_head(self, client: PeerClient) -> Mapping[str, tuple[int, ...]]:
        """Agree on the head with the replica; which damaged blocks it would like to have again."""
        with client.session() as peer:
            status = ask(peer, self._state)
            known = agreed(self._state, status)
            if status.stale and status.head != known.compared:
                take_back(peer, self.vm_id, self.trackers)
            # Not before: by this name of the head the map must be right.
            self._amend(lambda state: agreed(state, status))
            return status.wanted

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
            blocks=self._frozen_blocks(),
            changes_disks=self._state.disks_changed,
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

    def _committed(self, run: CycleRun) -> None:
        for tracker in self.trackers.values():
            tracker.release()
        self._stand_on(run.cycle)

    def compare(
        self,
        client: PeerClient,
        *,
        basis: HashBasis = HashBasis.Stored,
        stop: threading.Event | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> CompareResult:
        """Compare the disks with the replica's head, while guests write: the way back where no map can tell.

        After it the map is trusted and the source builds on that head: the next cycle carries what differs, and all
        recovery points stay. The open cycle is given up first; its blocks stay owed. `progress` hears (blocks done,
        blocks in all). Interrupted in any way but a stop of the host, the next call goes on where this one was.
        Raises Stopped, LinkError, StaleGeneration, HeadConflict (the head kept changing), PeerRefused (other disks).
        RuntimeError while a cycle runs.
        """
        with self._alone():
            self._expect_import(client)
            self._close_cycle()
            state = self._state
            term = (state.generation, state.boot_id)
            subject = Subject(client, self.vm_id, self.trackers, *term, self._forget_marks, state.disks_changed)
            self._comparison = Comparison(subject, self._root, basis, stop or threading.Event(), progress)
            distrusted = self._distrusted
            try:
                head, result = self._comparison.run()
            finally:
                self._comparison = None
            with self._state_lock:
                if distrusted != self._distrusted:
                    lost = "the map was lost while the disks were compared; compare again"
                    raise MapNotTrusted(f"VM {self.vm_id}: {lost}")
                self._change(head=head, compared=head, trusted=True, head_time=None, lineage=(), given_up=None)
            return result

    def export_initial(
        self, folder: Path, stop: threading.Event, progress: Told | None, *, level: int | None, quiesce: Quiesce | None
    ) -> Manifest:
        """See `media.initial.export_initial`."""
        with self._alone():
            self._expect_exportable()
            opened = self._state.open or self._open_cycle(quiesce)
            writing = Writing(self.vm_id, opened, self._state.generation, self.trackers, level)
            try:
                manifest = MediaExport(folder, writing, stop, progress).run()
            except ImageLost:
                self._close_cycle()
                raise
            # In this order: as long as the export may be repeated, the frozen image must be whole.
            self._change(open=msgspec.structs.replace(opened, waits_for_media=True))
            for tracker in self.trackers.values():
                tracker.hold_all()
            return manifest

    def _expect_exportable(self) -> None:
        if not self._state.trusted:
            raise MapNotTrusted(f"VM {self.vm_id}: {_UNTRUSTED}; compare with the replica")
        if self._state.head is not None:
            raise EngineError(f"VM {self.vm_id} has replicated already, up to {self._state.head}; nothing to export")
        trackers = self.trackers.values()
        if any(tracker.held(tracker.plan()) or tracker.image_lost() for tracker in trackers):
            # Of what is held elsewhere the frozen image may be gone: freeze anew.
            self._close_cycle()

    def _expect_import(self, client: PeerClient) -> None:
        """WaitingForMedia while an exported copy has not arrived."""
        opened = self._state.open
        if opened is None or not opened.waits_for_media:
            return
        for tracker in self.trackers.values():
            tracker.hold_all()
        if client.status(self.vm_id).head is None:
            raise WaitingForMedia(
                f"VM {self.vm_id}: the initial copy of {opened.freeze_time:%Y-%m-%d %H:%M:%S} UTC was exported and is "
                "not imported at the replica yet; import it, or abandon it and replicate over the network"
            )

    def _forget_marks(self, tracker: DiskTracker) -> None:
        """Before the comparison of a disk: marks that rest on no point would only have blocks sent that do not differ.

        The map is not trusted from before they go until the comparison has found what they stood for. Marks that may
        still serve the next cycle without a comparison stay.
        """
        if self._state.trusted and self._state.head is not None:
            return
        if self._state.trusted:
            self._change(trusted=False)
        tracker.forget()

    @property
    def comparing(self) -> tuple[int, int] | None:
        """Blocks compared and blocks in all, while a comparison runs."""
        comparison = self._comparison
        return (comparison.done, comparison.total) if comparison else None

    def abandon(self) -> None:
        """Give up the open cycle, if any; its blocks go into the next, with a fresh freeze. RuntimeError in a run."""
        with self._idle():
            self._close_cycle()

    def progress(self) -> Progress:
        """Numbers for people, at any time."""
        return progress_of(self._run, self._state.open, self.trackers)
