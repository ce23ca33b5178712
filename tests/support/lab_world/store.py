"""The receiving half of the engine in memory, by the contract of `TargetStore` and its receiver."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from secondsite.agent.lab.engine import (
    CloneInfo,
    CycleKind,
    EngineError,
    HeadConflict,
    PeerRefused,
    PointInUse,
    RecoveryPoint,
    StaleGeneration,
    UnknownClone,
    UnknownPoint,
)
from secondsite.agent.lab.engine.replica.admission import expect_sane
from secondsite.agent.lab.engine.replica.retention import retention
from secondsite.wire.peer import BLOCK_BYTES, CycleOpen, OpenCycle, PeerStatus
from support.lab_world.clones import MemoryClone
from support.lab_world.files import PointFiles, SiteFiles, StoreFiles, later
from support.lab_world.images import Image, Key
from support.lab_world.life import Life


class MemoryStore:
    """The replica of one VM; its receiver, too."""

    def __init__(
        self,
        files: SiteFiles,
        life: Life,
        root: Path,
        vm_id: str,
        committed: Callable[[RecoveryPoint], None],
        changed: Callable[[], None],
        now: Callable[[], datetime],
    ) -> None:
        if root in files.retired:
            raise EngineError(f"{root}: this replica became the primary; demote that primary, or forget the promotion")
        self.vm_id = vm_id
        self.root = root
        self.out_of_space = ""
        self._files = files
        self._life = life
        self._on_commit = committed
        self._on_change = changed
        self._now = now
        self.commits = 0
        self._refused: datetime | None = None
        self._open_clones: dict[str, MemoryClone] = {}
        if root not in files.stores:
            life.act()
            files.stores[root] = StoreFiles(vm_id)
        self.held = files.stores[root]

    @property
    def receiver(self) -> MemoryStore:
        """What the port talks to."""
        return self

    # What is there

    def points(self) -> list[RecoveryPoint]:
        pins = [point for point, _ in self.held.clones.values()]
        offered = self.held.points[:-1] if self.held.stale else self.held.points
        return [dataclasses.replace(item.fact, pinned=pins.count(item.fact.id)) for item in offered]

    @property
    def head(self) -> str | None:
        return self.held.points[-1].fact.id if self.held.points else None

    @property
    def disks(self) -> dict[str, int]:
        return dict(self.held.sizes)

    @property
    def received_bytes(self) -> int:
        return len(self.held.received) * BLOCK_BYTES

    @property
    def heard_time(self) -> datetime | None:
        return later(*(point.freeze_time for point in self.points()[-1:]), self._refused)

    @property
    def promoted(self) -> tuple[str, str, int] | None:
        return self.held.promoted

    def point(self, point_id: str) -> PointFiles:
        found = next((item for item in self.held.points if item.fact.id == point_id), None)
        if found is None:
            raise UnknownPoint(f"VM {self.vm_id} has no recovery point {point_id}")
        return found

    def status(self) -> PeerStatus:
        opened = self.held.opened
        return PeerStatus(
            vm=self.vm_id,
            generation=self.held.generation,
            head=self.head,
            open=OpenCycle(cycle=opened.cycle, parent=opened.parent, have={}) if opened else None,
            disks=dict(self.held.sizes),
            stale=self.held.stale,
            free_bytes=0 if self._files.full else 1 << 40,
        )

    # What a sender does

    def open_cycle(self, message: CycleOpen) -> int:
        """Begin a cycle, or find it open: how many blocks of it are held."""
        self._check(message)
        self._expect_room()
        opened = self.held.opened
        if opened is None or opened.cycle != message.cycle:
            self._life.act()
            self.held.opened, self.held.received = message, {}
            self.held.generation = max(self.held.generation, message.generation)
        elif opened.disks != message.disks:
            raise PeerRefused(409, "PlanChanged", f"cycle {message.cycle} was opened with another plan")
        return len(self.held.received)

    def unchanged(self, head: str, generation: int, time: datetime) -> datetime:
        """Move the newest point's time. PeerRefused where there must be a cycle."""
        newest = self.held.points[-1] if self.held.points and not self.held.stale else None
        busy = self.held.opened or self.held.promoted or head in {point for point, _ in self.held.clones.values()}
        if newest is None or busy or (head, generation) != (newest.fact.id, self.held.generation):
            raise PeerRefused(409, "NotUnchanged", "the newest point cannot take a later time: run a cycle")
        fact = newest.fact
        if fact.consistency != "CrashConsistent" or fact.kind is CycleKind.Seed or time <= fact.freeze_time:
            raise PeerRefused(409, "NotUnchanged", "the newest point cannot take a later time: run a cycle")
        self._life.act()
        taken = fact.taken_time or fact.freeze_time
        newest.fact = dataclasses.replace(fact, freeze_time=time, durable_time=self._now(), taken_time=taken)
        self.commits += 1
        self._on_commit(dataclasses.replace(newest.fact, bytes=0))
        return newest.fact.durable_time

    def put(self, cycle: str, items: Image, first: int) -> int:
        """Blocks of the open cycle: how many are held durably now."""
        self._expect_open(cycle)
        if first > len(self.held.received):
            raise PeerRefused(409, "FramesMissing", f"{len(self.held.received)} are here, not {first}")
        self._life.act()
        self.held.received.update(items)
        return len(self.held.received)

    def commit(self, cycle: str) -> datetime:
        """Make the open cycle a recovery point: when it became durable."""
        for item in reversed(self.held.points):
            if item.fact.id == cycle:
                return item.fact.durable_time
        opened = self._expect_open(cycle)
        if len(self.held.received) != sum(plan.blocks for plan in opened.disks.values()):
            raise PeerRefused(409, "FramesMissing", f"cycle {cycle} is not whole")
        before = self.held.points[-1].image if self.held.points else {}
        image = {key: value for key, value in (before | self.held.received).items() if value}
        fact = RecoveryPoint(
            id=cycle,
            kind=opened.kind,
            generation=opened.generation,
            freeze_time=opened.freeze_time,
            durable_time=self._now(),
            bytes=len(self.held.received) * BLOCK_BYTES,
            consistency=opened.consistency,
        )
        sizes = {name: plan.size for name, plan in opened.disks.items()}
        self._life.act()
        if self.held.stale:
            # An adopted disk is the base of the point that completed it, and nothing by itself.
            self.held.points.pop()
        self.held.points.append(PointFiles(fact, image, sizes, set(self.held.received), opened.parent))
        self.held.sizes, self.held.opened, self.held.received = sizes, None, {}
        self.held.stale, self.held.stale_keys = False, None
        self.commits += 1
        self._on_commit(fact)
        return fact.durable_time

    def hashes(self) -> Image:
        """What the head holds, block by block."""
        if not self.held.points:
            raise PeerRefused(409, "NoHead", f"VM {self.vm_id} has no recovery point here")
        return dict(self.held.points[-1].image)

    def stale_page(self) -> set[Key] | None:
        """Where an adopted disk differs from its head's name; None: nobody knows."""
        if not self.held.stale:
            raise PeerRefused(409, "NotStale", f"the newest point here, {self.head}, is what its name says")
        return self.held.stale_keys

    def _check(self, message: CycleOpen) -> None:
        expect_sane(message)
        if message.generation < self.held.generation:
            detail = f"generation {message.generation} is over, {self.held.generation} is here: roles have changed"
            raise StaleGeneration(self.held.generation, detail)
        self._refuse_promoted()
        if message.parent != self.head:
            raise HeadConflict(self.head, f"the newest point here is {self.head}, not {message.parent}")
        if any(item.fact.id == message.cycle for item in self.held.points):
            raise PeerRefused(409, "CycleKnown", f"cycle {message.cycle} is a recovery point here; choose a new id")
        sizes = {name: plan.size for name, plan in message.disks.items()}
        if self.held.points and sizes != self.held.sizes:
            raise PeerRefused(409, "DiskSetChanged", f"disks {sizes} differ from those replicated, {self.held.sizes}")

    def _refuse_promoted(self) -> None:
        if self.held.promoted is not None:
            generation = self.held.promoted[2]
            raise StaleGeneration(generation, f"VM {self.vm_id} was failed over to this side: nothing is taken")

    def _expect_open(self, cycle: str) -> CycleOpen:
        if self.held.opened is None or self.held.opened.cycle != cycle:
            raise PeerRefused(409, "UnknownCycle", f"cycle {cycle} is not open here; open it first")
        self._refuse_promoted()
        return self.held.opened

    def _expect_room(self) -> None:
        before, self.out_of_space = self.out_of_space, ""
        try:
            if self._files.full:
                self.out_of_space, self._refused = "no room for another cycle", self._now()
                raise PeerRefused(507, "InsufficientSpace", self.out_of_space)
        finally:
            if bool(before) != bool(self.out_of_space):
                self._on_change()

    # Retention

    def merge(self, point_id: str) -> None:
        """Give up a point."""
        self.point(point_id)
        if point_id == self.head:
            raise PointInUse(f"recovery point {point_id} is the newest")
        if point_id in {point for point, _ in self.held.clones.values()}:
            raise PointInUse(f"a clone stands on recovery point {point_id}; drop the clone first")
        self._life.act()
        place = next(index for index, item in enumerate(self.held.points) if item.fact.id == point_id)
        self.held.points[place + 1].touched |= self.held.points[place].touched
        del self.held.points[place]

    def apply_retention(self, now: datetime, keep_every_seconds: float, retention_seconds: float) -> list[str]:
        """Merge what `retention` gives up."""
        points = self.points()
        pinned = {point.id for point in points if point.pinned}
        gone = retention(points, now, keep_every_seconds, retention_seconds, pinned)
        for point_id in gone:
            self.merge(point_id)
        return gone

    # Clones

    def clone(self, point_id: str, clone_id: str) -> MemoryClone:
        """Pin a point and open a writable clone of it; the same pair again opens the clone that there is."""
        standing = self.held.clones.get(clone_id)
        if standing is None:
            self.point(point_id)
            self._life.act()
            self.held.clones[clone_id] = (point_id, {})
        elif standing[0] != point_id:
            raise EngineError(f"clone {clone_id} stands on point {standing[0]}, not {point_id}; choose another id")
        return self.open_clone(clone_id)

    def open_clone(self, clone_id: str) -> MemoryClone:
        if clone_id not in self.held.clones:
            raise UnknownClone(f"no clone {clone_id} of VM {self.vm_id}")
        point, own = self.held.clones[clone_id]
        clone = MemoryClone(clone_id, point, self.point(point).image, own, dict(self.held.sizes))
        self._open_clones[clone_id] = clone
        return clone

    def is_open(self, clone_id: str) -> bool:
        clone = self._open_clones.get(clone_id)
        return clone is not None and not clone.closed

    def clones(self) -> list[CloneInfo]:
        return [CloneInfo(clone, point) for clone, (point, _) in self.held.clones.items()]

    def drop_clone(self, clone_id: str) -> None:
        """Remove a clone and what it wrote. Fine when there is none."""
        if self.is_open(clone_id):
            raise PointInUse(f"VM {self.vm_id}: clone {clone_id} is open; stop its guest and close it first")
        if self.held.promoted is not None and self.held.promoted[1] == clone_id:
            raise PointInUse(f"VM {self.vm_id} was failed over to clone {clone_id}; cancel the failover instead")
        if clone_id in self.held.clones:
            self._life.act()
            del self.held.clones[clone_id]

    def close(self) -> None:
        """Nothing is open."""

    def discard(self) -> None:
        """Remove the replica, clones included."""
        self._life.act()
        self._files.stores.pop(self.root, None)
