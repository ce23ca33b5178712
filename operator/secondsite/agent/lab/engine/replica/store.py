"""The receiving half: all disks of one VM as a chain of recovery points, and the cycle that is coming in."""

import contextlib
import shutil
import weakref
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from secondsite.agent.lab.engine.durable import check_id
from secondsite.agent.lab.engine.errors import EngineError, PointInUse, UnknownClone, UnknownPoint
from secondsite.agent.lab.engine.replica.catalogue import Cloned, CloneDropped, Merging, Promoted
from secondsite.agent.lab.engine.replica.clone import Clone, prepare_folder
from secondsite.agent.lab.engine.replica.core import StoreCore
from secondsite.agent.lab.engine.replica.receiver import Receiver
from secondsite.agent.lab.engine.replica.retention import retention
from secondsite.agent.lab.engine.replica.space import Space
from secondsite.agent.lab.engine.replica.stored_points import StoredPoints, ignore
from secondsite.agent.lab.engine.types import CloneInfo, RecoveryPoint, utc_now
from secondsite.wire.peer import PeerStatus


class TargetStore(StoredPoints):
    """The replica of one VM under `root`; opened by one process at a time (StoreLocked), and for that VM only
    (EngineError: its catalogue names the VM).

    Crash rules of this side:
    1. The catalogue is the truth. A file that it does not name is garbage, a torn last line is cut.
    2. Commit: fdatasync parts, rename, fsync folders, one catalogue line for all disks + fdatasync, answer. Died in
       between: the renamed parts of the open cycle are taken back, the sender commits again.
    3. A part keeps its valid prefix; only frames that were made durable are ever acknowledged.
    4. Merge: log `Merging` (the point is offered no more), copy (may be redone), fdatasync, log `Merged`, unlink.

    `on_commit` runs in the receiver's thread once the point is durable and before the sender hears of it; it must not
    raise, and is not repeated after a restart. `on_change` hears, in whatever thread and perhaps under the store's
    lock, that what is damaged or whether there is room has changed: it may only take note. `reserve`: how many bytes of
    the file system no cycle may use (see `space.Space`). `rests`: files are open only while they are needed.
    """

    def __init__(
        self,
        root: Path,
        vm_id: str,
        *,
        clock: Callable[[], datetime] = utc_now,
        on_commit: Callable[[RecoveryPoint], None] | None = None,
        on_change: Callable[[], None] | None = None,
        reserve: int | None = None,
        rests: bool = False,
    ) -> None:
        super().__init__(StoreCore(root, vm_id), on_change or ignore)
        self.vm_id = vm_id
        self._space = Space(root, reserve)
        # What the data server talks to.
        self.receiver = Receiver(self._core, clock, on_commit, self._space, on_change or ignore)
        self._core.rests = rests
        self._core.rest()
        self._open_clones: weakref.WeakValueDictionary[str, Clone] = weakref.WeakValueDictionary()

    @staticmethod
    def exists(root: Path) -> bool:
        """Whether a replica was ever set up under `root`."""
        return (root / "catalog.log").exists()

    def status(self) -> PeerStatus:
        """What the sender would be told."""
        return self.receiver.status()

    @property
    def out_of_space(self) -> str:
        """Why the last cycle was refused for want of space; empty when it was not."""
        return self.receiver.out_of_space

    @property
    def heard_time(self) -> datetime | None:
        """When the sender was last heard of: the freeze of the newest point, or a later refusal for want of space."""
        times = [*(point.freeze_time for point in self.points()[-1:]), self.receiver.refused_time]
        return max((time for time in times if time is not None), default=None)

    @property
    def received_bytes(self) -> int:
        """What is durable of the cycle that is coming in."""
        with self._core.lock:
            if self._core.contents.open is None:
                return 0
            parts = [disk.part for disk in self._core.replicas.values()]
            return sum(part.durable_bytes for part in parts if part is not None)

    # Retention

    def merge(self, point_id: str) -> None:
        """Give up a point: its blocks go into its successor, or into the base when it is the oldest.

        UnknownPoint; NoSpace; PointInUse when it is the newest, a clone stands on it, or it is being read.
        """
        core = self._core
        with self._core.merge_lock:
            if core.contents.merging is not None:
                # An error of the disk stopped it.
                core.finish_merge(core.contents.merging)
            with core.lock:
                position = core.contents.position(point_id)
                self._refuse_merge(point_id)
                into = None if position == 0 else core.contents.points[position + 1].point
                self._space.expect_room_to_merge(core.layers(point_id, into))
                merging = Merging(point=point_id, into=into)
                core.log(merging)
            core.finish_merge(merging)

    def _refuse_merge(self, point_id: str) -> None:
        if point_id == self._core.contents.head:
            raise PointInUse(f"recovery point {point_id} is the newest")
        if point_id in self._core.contents.clones.values():
            raise PointInUse(f"a clone stands on recovery point {point_id}; drop the clone first")
        if self._readers[point_id] > 0:
            raise PointInUse(f"recovery point {point_id} is being read; try again")
        position = self._core.contents.position(point_id)
        successor = self._core.contents.points[position + 1].point if position else None
        if reason := self._core.unreadable(point_id, successor):
            raise PointInUse(
                f"recovery point {point_id} cannot be merged, others may need what is left of it: {reason}"
            )

    def apply_retention(self, now: datetime, keep_every_seconds: float, retention_seconds: float) -> list[str]:
        """Merge what `retention` gives up, oldest first; the ids of the points that are gone."""
        self._merge_stale()
        points = self.points()
        pinned = {point.id for point in points if point.pinned}
        merged = []
        for point_id in retention(points, now, keep_every_seconds, retention_seconds, pinned):
            # Cloned or read since: the next turn finds it again.
            with contextlib.suppress(PointInUse):
                self.merge(point_id)
                merged.append(point_id)
        self._core.rest()
        return merged

    def _merge_stale(self) -> None:
        """An adopted disk is the base of the point that completed it, and nothing by itself."""
        with self._core.lock:
            stale = [entry.point for entry in self._core.contents.points[:-1] if entry.stale]
        for point_id in stale:
            # Gone: a merge that an error had stopped was finished first.
            with contextlib.suppress(PointInUse, UnknownPoint):
                self.merge(point_id)

    # Clones

    def clone(self, point_id: str, clone_id: str) -> Clone:
        """Pin a point and open a writable clone of it; the same pair again opens the clone that there is.

        UnknownPoint; EngineError when the clone stands on another point.
        """
        check_id("clone", clone_id)
        with self._core.lock:
            standing = self._core.contents.clones.get(clone_id)
            if standing is None:
                self._core.contents.offered(point_id)
                prepare_folder(self._core.clone_folder(clone_id), self._core.contents.sizes_at(point_id))
                self._core.log(Cloned(clone=clone_id, point=point_id))
            elif standing != point_id:
                raise EngineError(f"clone {clone_id} stands on point {standing}, not {point_id}; choose another id")
            return self.open_clone(clone_id)

    def open_clone(self, clone_id: str) -> Clone:
        """Open a clone, with what was written to it. Not twice at the same time. UnknownClone, StoreDamaged."""
        with self._core.lock:
            point_id = self._core.contents.clones.get(clone_id)
            if point_id is None:
                raise UnknownClone(f"no clone {clone_id} of VM {self.vm_id}")
            clone = Clone(clone_id, point_id, self._core.clone_folder(clone_id), self._core.views(point_id))
            self._open_clones[clone_id] = clone
            return clone

    def is_open(self, clone_id: str) -> bool:
        """Whether somebody of this process has the clone open."""
        clone = self._open_clones.get(clone_id)
        return clone is not None and not clone.closed

    def clones(self) -> list[CloneInfo]:
        with self._core.lock:
            return [CloneInfo(clone, point) for clone, point in self._core.contents.clones.items()]

    def drop_clone(self, clone_id: str) -> None:
        """Remove a clone and what it wrote, and unpin its point. Close it first. Fine when there is none.

        PointInUse when it is open, or was failed over to.
        """
        with self._core.lock:
            if self.is_open(clone_id):
                raise PointInUse(f"VM {self.vm_id}: clone {clone_id} is open; stop its guest and close it first")
            if self.promoted is not None and self.promoted.clone == clone_id:
                raise PointInUse(f"VM {self.vm_id} was failed over to clone {clone_id}; cancel the failover instead")
            if clone_id in self._core.contents.clones:
                self._core.log(CloneDropped(clone=clone_id))
                shutil.rmtree(self._core.clone_folder(clone_id))

    # Roles: see `failover` and `promotion`

    @property
    def core(self) -> StoreCore:
        """What verbs in modules of their own work on."""
        return self._core

    @property
    def promoted(self) -> Promoted | None:
        """The failover that stands: point, clone and generation."""
        return self._core.contents.promoted

    def close(self) -> None:
        """Let go of the files; parts keep what they have. May be repeated."""
        with self._core.merge_lock:
            self._core.close()

    def discard(self) -> None:
        """Remove the replica, clones included."""
        self.close()
        # First what makes it a replica: half removed must not look like one.
        (self._core.root / "catalog.log").unlink(missing_ok=True)
        shutil.rmtree(self._core.root)
