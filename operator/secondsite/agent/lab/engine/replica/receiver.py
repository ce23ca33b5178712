"""The part of a store that the wire drives: open a cycle, take frames, commit."""

import dataclasses
from collections.abc import Callable
from datetime import datetime

from secondsite.agent.lab.engine.errors import HeadConflict, PeerRefused, StaleGeneration
from secondsite.agent.lab.engine.replica.admission import expect_sane, expect_sizes
from secondsite.agent.lab.engine.replica.catalogue import Committed, Opened
from secondsite.agent.lab.engine.replica.core import StoreCore
from secondsite.agent.lab.engine.replica.damage import wanted
from secondsite.agent.lab.engine.replica.part import IncomingPart
from secondsite.agent.lab.engine.replica.space import Space
from secondsite.agent.lab.engine.replica.unchanged import expect_unchanged, moved
from secondsite.agent.lab.engine.roles.stale import read_stale_page
from secondsite.agent.lab.engine.types import RecoveryPoint
from secondsite.wire.peer import (
    Codec,
    CycleCommit,
    CycleCommitted,
    CycleOpen,
    CycleOpened,
    CycleUnchanged,
    OpenCycle,
    PeerStatus,
)


def describe(entry: Committed, pinned: int = 0, damage: str = "", taken_time: datetime | None = None) -> RecoveryPoint:
    """A committed line as a fact."""
    return RecoveryPoint(
        id=entry.point,
        kind=entry.kind,
        generation=entry.generation,
        freeze_time=entry.freeze_time,
        durable_time=entry.durable_time,
        bytes=entry.bytes,
        pinned=pinned,
        damaged=bool(damage),
        damage=damage,
        consistency=entry.consistency,
        taken_time=taken_time,
    )


class Receiver:
    """Answers the calls of `wire.peer` for one VM. PeerRefused is the problem that the sender gets to see."""

    def __init__(
        self,
        core: StoreCore,
        clock: Callable[[], datetime],
        on_commit: Callable[[RecoveryPoint], None] | None,
        space: Space,
        on_change: Callable[[], None],
    ) -> None:
        self._core = core
        self._space = space
        self._on_change = on_change
        # Why the last cycle was refused for want of space; empty when it was not.
        self.out_of_space = ""
        # When a cycle was last refused for it.
        self.refused_time: datetime | None = None
        self._clock = clock
        self._on_commit = on_commit
        # Whether a point may stand for later times while nothing changes; else each cycle makes one of its own.
        self.takes_unchanged = True

    def status(self) -> PeerStatus:
        """What is held durably."""
        with self._core.lock:
            contents = self._core.contents
            opened = contents.open
            return PeerStatus(
                vm=self._core.vm_id,
                generation=contents.generation,
                head=contents.head,
                open=OpenCycle(cycle=opened.cycle, parent=opened.parent, have=self._have()) if opened else None,
                disks=dict(contents.sizes),
                stale=contents.stale,
                wanted=wanted(contents),
                free_bytes=self._space.free,
            )

    def open_cycle(self, message: CycleOpen) -> CycleOpened:
        """Begin a cycle, or find it open. A new one replaces one that was open and never committed."""
        with self._core.lock:
            self._check_open(message)
            self._expect_room(message)
            opened = self._core.contents.open
            if opened is None or opened.cycle != message.cycle:
                self._begin(message)
            elif opened.disks != message.disks:
                raise PeerRefused(409, "PlanChanged", f"cycle {message.cycle} was opened with another plan")
            return CycleOpened(have=self._have(), codecs=tuple(Codec))

    def _expect_room(self, message: CycleOpen) -> None:
        # Whoever looks meanwhile must see what the last one met: one that sees room waits for no later look.
        before, refused = self.out_of_space, ""
        try:
            self._space.expect_room(message, self._core.replicas)
        except PeerRefused as refusal:
            refused, self.refused_time = refusal.detail, self._clock()
            raise
        finally:
            self.out_of_space = refused
            if bool(before) != bool(refused):
                self._on_change()

    def unchanged(self, message: CycleUnchanged) -> CycleCommitted:
        """Move the newest point's time. PeerRefused where there must be a cycle, or is no room even for a line."""
        core = self._core
        with core.lock:
            if not self.takes_unchanged:
                raise PeerRefused(409, "NotUnchanged", "every cycle is a point of its own here: run one")
            event = moved(expect_unchanged(core.contents, message), message, self._clock())
            self._space.expect_reserve()
            core.log(event)
            point = describe(core.contents.points[-1], taken_time=core.contents.taken[event.point])
            core.rest()
        if self._on_commit is not None:
            # Nothing came.
            self._on_commit(dataclasses.replace(point, bytes=0))
        return CycleCommitted(point=event.point, durable_time=event.durable_time)

    def part(self, cycle: str, disk: str) -> IncomingPart:
        """Where the frames of a disk go."""
        with self._core.lock:
            self._expect_open(cycle)
            replica = self._core.replicas.get(disk)
            if replica is None or replica.part is None:
                raise PeerRefused(404, "UnknownDisk", f"VM {self._core.vm_id} has no disk {disk}")
            return replica.part

    def stale_page(self, disk: str, first: int, count: int) -> bytes:
        """Packed bits of blocks in which the adopted disk at the head differs from what its name says."""
        with self._core.lock:
            if not self._core.contents.stale:
                head = self._core.contents.head
                raise PeerRefused(409, "NotStale", f"the newest point here, {head}, is what its name says")
            return read_stale_page(self._core.root, disk, first, count)

    def commit(self, cycle: str, message: CycleCommit) -> CycleCommitted:
        """Make the open cycle a recovery point, of all disks at once. Repeating it is harmless."""
        with self._core.lock:
            for entry in reversed(self._core.contents.points):
                if entry.point == cycle:
                    return CycleCommitted(point=cycle, durable_time=entry.durable_time)
            committed = self._commit(self._expect_open(cycle), message)
            self._core.rest()
        if self._on_commit is not None:
            self._on_commit(describe(committed))
        return CycleCommitted(point=cycle, durable_time=committed.durable_time)

    def _check_open(self, message: CycleOpen) -> None:
        contents = self._core.contents
        expect_sane(message)
        if message.generation < contents.generation:
            detail = f"generation {message.generation} is over, {contents.generation} is here: roles have changed"
            raise StaleGeneration(contents.generation, detail)
        self._refuse_promoted(message.generation)
        if message.parent != contents.head:
            raise HeadConflict(contents.head, f"the newest point here is {contents.head}, not {message.parent}")
        if any(entry.point == message.cycle for entry in contents.points):
            # Its frames would take the place of that point's layer.
            raise PeerRefused(409, "CycleKnown", f"cycle {message.cycle} is a recovery point here; choose a new id")
        sizes = {name: plan.size for name, plan in message.disks.items()}
        if contents.points and sizes != contents.sizes and not message.changes_disks:
            raise PeerRefused(409, "DiskSetChanged", f"disks {sizes} differ from those replicated, {contents.sizes}")
        if contents.points:
            expect_sizes(sizes, contents.named_sizes)

    def _refuse_promoted(self, generation: int) -> None:
        promoted = self._core.contents.promoted
        if promoted is not None:
            detail = (
                f"VM {self._core.vm_id} was failed over to this side in generation {promoted.generation}: nothing of "
                f"generation {generation} is taken any more; demote that side, or cancel the failover here"
            )
            raise StaleGeneration(promoted.generation, detail)

    def _begin(self, message: CycleOpen) -> None:
        core = self._core
        sizes = {name: plan.size for name, plan in message.disks.items()}
        try:
            core.keep_disks(sizes)
        except OSError as error:
            # As many files, or as large ones, as this host cannot have: nothing of it stays open.
            core.keep_disks(core.contents.kept_sizes)
            raise PeerRefused(507, "NoStorage", f"the files of disks {sizes} cannot be made here: {error}") from error
        opened = Opened(
            cycle=message.cycle,
            parent=message.parent,
            generation=message.generation,
            freeze_time=message.freeze_time,
            kind=message.kind,
            disks=message.disks,
            consistency=message.consistency,
        )
        core.log(opened)
        for name, disk in core.replicas.items():
            disk.forget_all_but([entry.point for entry in core.contents.points])
            disk.drop_part()
            if name in message.disks:
                disk.begin_part(message.cycle, message.generation, message.disks[name])

    def _have(self) -> dict[str, int]:
        replicas = self._core.replicas.items()
        return {name: replica.part.durable_frames for name, replica in replicas if replica.part is not None}

    def _expect_open(self, cycle: str) -> Opened:
        opened = self._core.contents.open
        if opened is None or opened.cycle != cycle:
            raise PeerRefused(409, "UnknownCycle", f"cycle {cycle} is not open here; open it first")
        self._refuse_promoted(opened.generation)
        return opened

    def _commit(self, opened: Opened, message: CycleCommit) -> Committed:
        replicas = self._core.replicas
        if set(message.disks) != set(opened.disks):
            raise PeerRefused(409, "DiskSetChanged", f"commit of {sorted(message.disks)}, open are {sorted(replicas)}")
        parts = {name: self.part(opened.cycle, name) for name in opened.disks}
        for name, part in parts.items():
            part.check_whole(message.disks[name])
        for part in parts.values():
            part.seal()
        for name in parts:
            replicas[name].promote(opened.cycle)
            replicas[name].load(opened.cycle)
        for name in replicas.keys() - parts.keys():
            replicas[name].blank(opened.cycle)
        committed = Committed(
            point=opened.cycle,
            generation=opened.generation,
            kind=opened.kind,
            freeze_time=opened.freeze_time,
            consistency=opened.consistency,
            durable_time=self._clock(),
            parent=opened.parent,
            bytes=sum(replicas[name].layer_bytes(opened.cycle) for name in parts),
            sizes={name: plan.size for name, plan in opened.disks.items()},
        )
        self._core.log(committed)
        for name in parts:
            replicas[name].drop_part()
        self._core.forget_stale_maps()
        return committed
