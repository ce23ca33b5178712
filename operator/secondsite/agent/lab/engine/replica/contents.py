"""What a store's catalogue amounts to: the chain of points, clones, the open cycle, an unfinished merge."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import msgspec

from secondsite.agent.lab.engine.errors import EngineError, StoreDamaged, UnknownPoint
from secondsite.agent.lab.engine.replica.catalogue import (
    FORMAT_VERSION,
    AnyEvent,
    Cloned,
    CloneDropped,
    Committed,
    Damaged,
    Event,
    Founded,
    Merged,
    Merging,
    Opened,
    Promoted,
    PromotionCancelled,
    Unchanged,
)


@dataclass
class Contents:
    """Folded from events, one by one; the same code serves a restart and the running store."""

    founded: Founded | None = None
    points: list[Committed] = field(default_factory=list)
    clones: dict[str, str] = field(default_factory=dict)
    open: Opened | None = None
    merging: Merging | None = None
    promoted: Promoted | None = None
    # When points were frozen that have stood for later times, too.
    taken: dict[str, datetime] = field(default_factory=dict)
    # By disk and layer, None for the base.
    damage: dict[tuple[str, str | None], Damaged] = field(default_factory=dict)

    @property
    def head(self) -> str | None:
        return self.points[-1].point if self.points else None

    @property
    def stale(self) -> bool:
        """Whether the head is an adopted disk that differs from what its name says."""
        return bool(self.points) and self.points[-1].stale

    @property
    def generation(self) -> int:
        terms = (self.open, self.points[-1] if self.points else None, self.promoted)
        return max(term.generation if term else 0 for term in terms)

    @property
    def sizes(self) -> dict[str, int]:
        """Size per disk; empty before the first cycle."""
        if self.points:
            return self.points[-1].sizes
        return {name: plan.size for name, plan in self.open.disks.items()} if self.open else {}

    @property
    def named_sizes(self) -> dict[str, int]:
        """Size of every disk that a point names."""
        return {name: size for entry in self.points for name, size in entry.sizes.items()}

    @property
    def kept_sizes(self) -> dict[str, int]:
        """Size of every disk that a point or the open cycle names."""
        coming = {name: plan.size for name, plan in self.open.disks.items()} if self.open else {}
        return self.named_sizes | coming

    def sizes_at(self, point: str) -> dict[str, int]:
        """Size per disk of the VM at a point. UnknownPoint."""
        return self.points[self.position(point)].sizes

    def position(self, point: str) -> int:
        """Place in the chain, 0 is the oldest. UnknownPoint also for one that is being merged."""
        for index, entry in enumerate(self.points):
            if entry.point == point and not (self.merging and self.merging.point == point):
                return index
        raise UnknownPoint(f"no recovery point {point}; it was merged away or never committed")

    def offered(self, point: str) -> int:
        """As `position`, of points that people may use. UnknownPoint also for a disk adopted as stale."""
        index = self.position(point)
        if self.points[index].stale:
            raise UnknownPoint(f"{point} is an adopted disk that no cycle has completed yet: no recovery point")
        return index

    def apply(self, event: Event) -> None:
        match event:
            case Founded():
                self._found(event)
            case Opened():
                self.open = event
            case Committed():
                self.points.append(event)
                self.open = None
            case Unchanged():
                self._unchanged(event)
            case Promoted() | PromotionCancelled():
                self.promoted = event if isinstance(event, Promoted) else None
            case Merging():
                self.merging = event
            case Merged():
                self._merged(event)
            case Cloned() | CloneDropped():
                self._cloned(event)
            case Damaged():
                self._damaged(event)

    def _cloned(self, event: Cloned | CloneDropped) -> None:
        if isinstance(event, Cloned):
            self.clones[event.clone] = event.point
        else:
            self.clones.pop(event.clone, None)

    def _unchanged(self, event: Unchanged) -> None:
        if event.point != self.head:
            raise StoreDamaged(f"the catalogue says that {event.point} was confirmed, but {self.head} is the newest")
        entry = self.points[-1]
        self.taken.setdefault(event.point, entry.freeze_time)
        moved = {"freeze_time": event.freeze_time, "durable_time": event.durable_time}
        self.points[-1] = msgspec.structs.replace(entry, **moved)

    def _found(self, event: Founded) -> None:
        if event.version > FORMAT_VERSION:
            raise StoreDamaged(
                f"the catalogue of VM {event.vm} has format {event.version}, known here are those up to "
                f"{FORMAT_VERSION}; use the agent that wrote it"
            )
        self.founded = event

    def expect_vm(self, vm_id: str, root: Path) -> None:
        """EngineError when the store under `root` is another VM's."""
        if self.founded is not None and self.founded.vm != vm_id:
            raise EngineError(
                f"{root} holds the replica of VM {self.founded.vm}, it was opened for VM {vm_id}: give that VM a "
                "folder of its own, or move this one back to where it belongs"
            )

    def _merged(self, event: Merged) -> None:
        merging, self.merging = self.merging, None
        if merging is None or merging.point != event.point:
            raise StoreDamaged(f"the catalogue says that point {event.point} was merged, but not that it began")
        index = self.position(event.point)
        if merging.into is not None:
            # Its blocks are the successor's now.
            self.points[index + 1] = msgspec.structs.replace(self.points[index + 1], bytes=event.bytes)
        del self.points[index]
        self.taken.pop(event.point, None)
        for disk, layer in list(self.damage):
            if layer == event.point:
                del self.damage[disk, layer]
        for damaged in event.damage:
            self._damaged(damaged)

    def _damaged(self, event: Damaged) -> None:
        self.damage.pop((event.disk, event.layer), None)
        if event.blocks or event.unlisted:
            self.damage[event.disk, event.layer] = event

    def events(self) -> list[Event]:
        """The shortest log that says the same."""
        clones = [Cloned(clone=clone, point=point) for clone, point in self.clones.items()]
        return [
            *([self.founded] if self.founded else []),
            *self._points(),
            *clones,
            *self.damage.values(),
            *([self.merging] if self.merging else []),
            *([self.promoted] if self.promoted else []),
            *([self.open] if self.open else []),
        ]

    def _points(self) -> Iterator[Event]:
        for entry in self.points:
            if (taken := self.taken.get(entry.point)) is None:
                yield entry
            else:
                yield msgspec.structs.replace(entry, freeze_time=taken)
                yield Unchanged(point=entry.point, freeze_time=entry.freeze_time, durable_time=entry.durable_time)


def fold(events: Iterable[AnyEvent]) -> Contents:
    contents = Contents()
    for event in events:
        contents.apply(event)
    return contents
