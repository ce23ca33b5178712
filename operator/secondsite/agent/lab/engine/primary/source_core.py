"""What a source is before it sends anything: its tracked disks, its state, its lock, who may act on it."""

import contextlib
import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

import msgspec

from secondsite.agent.lab.engine.durable import check_id, lock_directory, make_directories
from secondsite.agent.lab.engine.errors import EngineError, StaleGeneration
from secondsite.agent.lab.engine.primary.bookmark import bookmark_path
from secondsite.agent.lab.engine.primary.disk import SourceDisk
from secondsite.agent.lab.engine.primary.state import (
    OpenState,
    SourceState,
    current_boot_id,
    load_state,
    save_state,
    state_path,
    taken_up,
)
from secondsite.agent.lab.engine.primary.tracker import DiskTracker
from secondsite.agent.lab.engine.roles.retired import expect_not_demoted
from secondsite.agent.lab.engine.types import Freeze, utc_now
from secondsite.wire.peer import BLOCK_BYTES

_log = logging.getLogger(__name__)


class SourceCore:
    """The tracked disks of one VM under `root`, and what is durably known of their replication."""

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
        unchanged_seconds: float = 0.0,
    ) -> None:
        self.vm_id = check_id("VM", vm_id)
        self._root = root
        self._disks = {check_id("disk", name): disks[name] for name in sorted(disks)}
        self._clock = clock
        self._at_freeze = at_freeze
        self._unchanged_seconds = unchanged_seconds
        self._one_cycle = threading.Lock()
        # What a run changes, somebody may distrust meanwhile: neither may undo the other.
        self._state_lock = threading.RLock()
        # How often the map was lost since; whoever makes it trusted again must have seen them all.
        self._distrusted = 0
        make_directories(root)
        self._directory_lock = lock_directory(root)
        try:
            self._take_up(generation, boot_id or current_boot_id())
        except BaseException:
            os.close(self._directory_lock)
            raise
        for name, disk in self._disks.items():
            disk.attach(self.trackers[name])
        self._rest()

    def _take_up(self, generation: int, boot_id: str) -> None:
        """Open maps and state as they were left, or new ones."""
        expect_not_demoted(self._root)
        for disk in self._disks.values():
            disk.expect_unobserved()
        self._state = self._open_state(generation, boot_id)
        whole = all(DiskTracker.image_complete(self._root, name, disk.size) for name, disk in self._disks.items())
        self.trackers = {name: self._tracker_type(disk, self._root, name) for name, disk in self._disks.items()}
        self._save(self._state)
        for disk in self._disks.values():
            # Not before it is noted that the map does not speak of this file.
            disk.extend()
        self._settle()
        if not whole:
            self._close_cycle()

    @staticmethod
    def exists(root: Path) -> bool:
        """Whether tracking was ever set up under `root`."""
        return state_path(root).exists()

    @property
    def root(self) -> Path:
        """The folder of the tracking."""
        return self._root

    @property
    def map_trusted(self) -> bool:
        """False after an unclean stop of the host, or where a map or the file of a disk was missing or too short."""
        return self._state.trusted

    @property
    def head(self) -> str | None:
        """The newest recovery point known here to be committed at the replica."""
        return self._state.head

    @property
    def common_point(self) -> str | None:
        """The last point that the other side may know too: the head, or what this side was promoted from."""
        return self._state.common_point

    @property
    def written_bytes(self) -> int:
        """What guests wrote since the last freeze, whole blocks: not what a comparison found to differ."""
        return sum(tracker.written_blocks() for tracker in self.trackers.values()) * BLOCK_BYTES

    @property
    def sizes(self) -> dict[str, int]:
        """Of the disks, in bytes, by name."""
        return {name: disk.size for name, disk in self._disks.items()}

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

    @property
    def initial_done(self) -> bool:
        return self._state.head is not None

    def distrust(self) -> None:
        """As after a crash of the host."""
        with self._state_lock:
            self._distrusted += 1
            self._forget_bookmarks()
            self._change(trusted=False)

    @staticmethod
    def distrust_at(root: Path) -> None:
        """As `distrust`, where no source is open: before a disk that is gone is made anew. Nothing tracked: fine."""
        if not SourceCore.exists(root):
            return
        lock = lock_directory(root)
        try:
            state = load_state(state_path(root))
            if state is not None:
                for name in state.disks:
                    bookmark_path(root, name).unlink(missing_ok=True)
                save_state(state_path(root), msgspec.structs.replace(state, trusted=False))
        finally:
            os.close(lock)

    @contextlib.contextmanager
    def _idle(self) -> Iterator[None]:
        """No cycle and no comparison runs meanwhile; RuntimeError where one does."""
        if not self._one_cycle.acquire(blocking=False):
            raise RuntimeError(f"VM {self.vm_id}: one is running already; stop the running cycle or comparison first")
        try:
            yield
        finally:
            self._one_cycle.release()

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One cycle or comparison at a time."""
        with self._idle():
            if self._directory_lock < 0:
                raise EngineError(f"VM {self.vm_id}: replication was closed here")
            try:
                self._settle()
                yield
            except StaleGeneration as refusal:
                self._change(superseded_by=refusal.generation or self.generation + 1)
                raise

    @contextlib.contextmanager
    def _all_locked(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for disk in self._disks.values():
                stack.enter_context(disk.lock)
            yield

    def _rest(self) -> None:
        """Let go of maps and disks that nobody writes to; a write takes them up again. Alone, and no cycle is open."""
        with self._all_locked():
            idle = self._unchanged_seconds and self._state.trusted and self._state.open is None
            if idle and all(tracker.quiet for tracker in self.trackers.values()):
                for tracker in self.trackers.values():
                    tracker.rest()
                for disk in self._disks.values():
                    disk.rest()

    def _close_cycle(self) -> None:
        self._settle()
        if self._state.open is not None:
            self._change(open=None, given_up=self._state.open.cycle)

    def _settle(self) -> None:
        """What a kill interrupted, or a full disk: the maps are released only after the replica said Committed.

        To open that cycle once more would make a point of nothing, where the replica was replaced since.
        """
        opened = self._state.open
        if self._state.trusted and opened and opened.blocks is not None and self._frozen_blocks() < opened.blocks:
            for tracker in self.trackers.values():
                tracker.release()
            self._stand_on(opened)

    def _stand_on(self, cycle: OpenState) -> None:
        """The cycle is a recovery point, and the next builds on it."""
        head = {"head": cycle.cycle, "head_time": cycle.freeze_time, "lineage": ()}
        self._change(**head, open=None, given_up=None, superseded_by=None, compared=None, disks_changed=False)

    def _frozen_blocks(self) -> int:
        return sum(tracker.frozen_blocks() for tracker in self.trackers.values())

    def close(self) -> None:
        """A clean stop: after it the host may stop too. Waits for a running cycle: set its `stop` first.

        Detaches from the disks, which stay open. May be repeated.
        """
        with self._one_cycle:
            if self._directory_lock < 0:
                return
            self._settle()
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
        fresh = SourceState(vm=self.vm_id, disks=self.sizes, generation=generation, boot_id=boot_id)
        path = state_path(self._root)
        found = load_state(path)
        if found is None:
            for disk in self._disks.values():
                disk.extend()
        return taken_up(found, fresh, path, whole=found is None or self._whole())

    def _whole(self) -> bool:
        """Whether all maps are there, and all disks. Else an interrupted comparison must not go on either."""
        lost = [name for name, disk in self._disks.items() if not DiskTracker.complete(self._root, name, disk.size)]
        short = [str(disk.path) for disk in self._disks.values() if not disk.whole]
        if lost or short:
            _log.error("VM %s: maps of %s and disk files %s are missing or too short", self.vm_id, lost, short)
            self._forget_bookmarks()
        return not (lost or short)

    def _forget_bookmarks(self) -> None:
        for name in self._disks:
            bookmark_path(self._root, name).unlink(missing_ok=True)

    def _change(self, **changes: object) -> None:
        self._amend(lambda state: msgspec.structs.replace(state, **changes))

    def _amend(self, change: Callable[[SourceState], SourceState | None]) -> bool:
        """Make of the state as it is now what `change` says; False, and nothing changed, where it says None."""
        with self._state_lock:
            state = change(self._state)
            if state is not None and state is not self._state:
                self._save(state)
            return state is not None

    def _save(self, state: SourceState) -> None:
        save_state(state_path(self._root), state)
        self._state = state
