"""Two sites, each of which may be primary or replica of one VM; their data ports stay, whatever the roles."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

import numpy as np

from secondsite.agent.lab.engine import (
    Clone,
    CycleResult,
    DataServer,
    PeerClient,
    PromotedAway,
    ReplicationSource,
    SourceDisk,
    TargetStore,
    demote,
    demotion_pending,
    fail_over,
    finish_demotion,
    finish_promotion,
    promote,
    promoted_away,
    promotion_pending,
)
from support.engine_pair import BLOCK, pattern

Image = dict[str, bytes]


class Site:
    """`folder/store` and `folder/tracking` hold whatever the role is, `folder/NAME.raw` the disks of a primary."""

    def __init__(self, folder: Path, sizes: Mapping[str, int]) -> None:
        self.folder = folder
        self.sizes = dict(sizes)
        self.store: TargetStore | None = None
        self.source: ReplicationSource | None = None
        self.disks: dict[str, SourceDisk] = {}
        self.clone: Clone | None = None
        folder.mkdir(exist_ok=True)
        self.server = DataServer("127.0.0.1", 0, None, self._answers, lambda *_: "the other")
        self.server.start()
        self.client = PeerClient("127.0.0.1", self.server.port, None, timeout_seconds=10)

    @property
    def store_root(self) -> Path:
        return self.folder / "store"

    @property
    def source_root(self) -> Path:
        return self.folder / "tracking"

    @property
    def paths(self) -> dict[str, Path]:
        return {name: self.folder / f"{name}.raw" for name in self.sizes}

    def _answers(self, vm_id: str) -> TargetStore | PromotedAway | None:
        return self.store if self.store is not None else promoted_away(self.store_root)

    def recover(self) -> None:
        """What an agent does when it starts: first what a kill interrupted, then what there is."""
        if promotion_pending(self.store_root):
            finish_promotion(self.store_root)
        if demotion_pending(self.source_root):
            finish_demotion(self.source_root)
        if ReplicationSource.exists(self.source_root):
            self.open_source()
        elif TargetStore.exists(self.store_root):
            self.open_store()

    def open_store(self) -> TargetStore:
        self.store = TargetStore(self.store_root, "vm")
        return self.store

    def open_source(self, *, boot_id: str | None = None) -> ReplicationSource:
        self.disks = {name: SourceDisk(path, self.sizes[name]) for name, path in self.paths.items()}
        self.source = ReplicationSource(self.source_root, "vm", self.disks, boot_id=boot_id)
        return self.source

    def cycle(self, other: "Site") -> CycleResult:
        assert self.source is not None
        return self.source.run_cycle(other.client)

    def write(self, disk: str, offset: int, data: bytes) -> None:
        """The guest's write, wherever it runs."""
        if self.clone is not None:
            self.clone.write(disk, offset, data)
        else:
            self.disks[disk].write(offset, data)

    def image(self) -> Image:
        """What the guest sees."""
        if self.clone is not None:
            return {name: self.clone.read(name, 0, size) for name, size in self.sizes.items()}
        return {name: disk.read(0, disk.size) for name, disk in self.disks.items()}

    def point_image(self, point: str) -> Image:
        assert self.store is not None
        return {name: self.store.read_point(point, name, 0, size) for name, size in self.sizes.items()}

    def fail_over(self, point: str, generation: int) -> Clone:
        assert self.store is not None
        self.clone = fail_over(self.store, point, f"failover-{generation}", generation)
        return self.clone

    def promote(self) -> None:
        """The guest rests while its clone becomes disks, then it goes on on those."""
        assert self.store is not None
        if self.clone is not None:
            self.clone.close()
        promote(self.store, self.source_root, self.paths)
        self.clone = self.store = None
        self.open_source()

    def demote(self, generation: int) -> None:
        assert self.source is not None
        demote(self.source, self.store_root, generation=generation)
        self.source, self.disks = None, {}
        self.open_store()

    def changed(self) -> dict[str, set[int]]:
        """Per disk the blocks that the source believes the replica to lack."""
        assert self.source is not None
        return {
            name: set(np.flatnonzero(tracker._current | tracker._frozen).tolist())
            for name, tracker in self.source.trackers.items()
        }

    def crash(self) -> None:
        """The process dies: files stay as they are, locks go."""
        if self.source is not None:
            with suppress(OSError):
                self.source._detach(durable=False)
                self.source._unlock()
        if self.store is not None:
            self.store.close()
        for disk in self.disks.values():
            disk.close()
        if self.clone is not None:
            self.clone.close()
        self.source = self.store = self.clone = None
        self.disks = {}

    def close(self) -> None:
        self.server.close()
        if self.clone is not None:
            self.clone.close()
        if self.source is not None:
            self.source.close()
        if self.store is not None:
            self.store.close()
        for disk in self.disks.values():
            disk.close()


class Sites:
    """`a` begins as the primary, `b` as its replica."""

    def __init__(self, folder: Path, sizes: Mapping[str, int]) -> None:
        self.a, self.b = Site(folder / "a", sizes), Site(folder / "b", sizes)
        self.a.open_source()
        self.b.open_store()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.a.close()
        self.b.close()


def blocks_of(offset: int, length: int) -> set[int]:
    """The blocks that a range touches."""
    return set(range(offset // BLOCK, -(-(offset + length) // BLOCK)))


def prepared(sites: Sites) -> tuple[str, str]:
    """Three points; the second to last and the last."""
    for block in range(0, 20, 2):
        sites.a.write("data", block * BLOCK, pattern(block))
    sites.a.cycle(sites.b)
    sites.a.write("data", 3 * BLOCK, pattern(3))
    sites.a.write("system", 0, pattern(4))
    chosen = sites.a.cycle(sites.b).cycle
    sites.a.write("data", 4 * BLOCK, pattern(44))
    sites.a.write("data", 0, bytes(BLOCK))
    return chosen, sites.a.cycle(sites.b).cycle
