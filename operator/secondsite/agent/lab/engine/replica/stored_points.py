"""Reading the recovery points of a store, and looking whether they can be read."""

import contextlib
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from secondsite.agent.lab.engine.blocks import block_count
from secondsite.agent.lab.engine.durable import write_all
from secondsite.agent.lab.engine.errors import UnknownPoint
from secondsite.agent.lab.engine.port.bucket import TokenBucket
from secondsite.agent.lab.engine.replica.core import StoreCore
from secondsite.agent.lab.engine.replica.hash_pages import read_hashes, stored_hashes
from secondsite.agent.lab.engine.replica.healing import Healer
from secondsite.agent.lab.engine.replica.receiver import describe
from secondsite.agent.lab.engine.replica.scrub import Scrub, ScrubProgress, ScrubResult
from secondsite.agent.lab.engine.replica.view import DiskView
from secondsite.agent.lab.engine.types import BlockRef, RecoveryPoint
from secondsite.wire.peer import HashBasis


class StoredPoints:
    """The points of one VM. Every byte that is read is verified; damage that is met is mended or remembered."""

    def __init__(self, core: StoreCore, on_change: Callable[[], None]) -> None:
        self._core = core
        self._healer = Healer(core, on_change)
        core.heal = self._healer.heal
        self._readers: Counter[str] = Counter()

    def points(self) -> list[RecoveryPoint]:
        """Oldest first; the last is the latest. One that is being merged is not among them."""
        with self._core.lock:
            pins = Counter(self._core.contents.clones.values())
            merging = self._core.contents.merging.point if self._core.contents.merging else None
            offered = [entry for entry in self._core.contents.points if entry.point != merging and not entry.stale]
            damaged = self._core.damaged_points()
            taken = self._core.contents.taken
            return [
                describe(entry, pins[entry.point], damaged.get(entry.point, ""), taken.get(entry.point))
                for entry in offered
            ]

    @property
    def head(self) -> str | None:
        """The newest recovery point."""
        return self._core.contents.head

    @property
    def disks(self) -> dict[str, int]:
        """Name and size in bytes; empty before the first cycle."""
        with self._core.lock:
            return dict(self._core.contents.sizes)

    def disks_at(self, point_id: str) -> dict[str, int]:
        """Name and size in bytes of the VM's disks at a point. UnknownPoint."""
        with self._core.lock:
            return dict(self._core.contents.sizes_at(point_id))

    def read_point(self, point_id: str, disk: str, offset: int, length: int) -> bytes:
        """Verified bytes of a point. UnknownPoint, KeyError for the disk, ValueError outside of it, DamagedBlock."""
        with self._reading(point_id) as views:
            return views[disk].read(offset, length)

    def scrub(self, point_id: str) -> list[BlockRef]:
        """Read a whole point: the blocks that do not match their digests and were not mended; they are remembered."""
        with self._reading(point_id) as views:
            return [BlockRef(name, block) for name, view in views.items() for block in self._scrub(view)]

    def _scrub(self, view: DiskView) -> Iterator[int]:
        self._healer.look_again(view.disk)
        for first, count in view.steps():
            _, damaged = view.check(first, count)
            if damaged:
                view.renew(damaged)
                yield from view.check(first, count)[1]

    def scrub_files(
        self,
        stop: threading.Event,
        budget: TokenBucket,
        progress: Callable[[ScrubProgress], None] | None = None,
    ) -> ScrubResult:
        """Read every stored file once, `budget` bytes per second; mend what the store itself can, remember the rest.

        Stopped when `stop` is set meanwhile. Merges, cycles and reads go on beside it.
        """
        return Scrub(self._core, self._healer, stop, budget).run(progress or ignore)

    @property
    def damage(self) -> list[BlockRef]:
        """Every stored block that is known to be damaged, in whichever file; beyond 4,096 per file they are counted."""
        with self._core.lock:
            found = {
                BlockRef(event.disk, block) for event in self._core.contents.damage.values() for block in event.blocks
            }
        return sorted(found, key=lambda ref: (ref.disk, ref.block))

    def repair(self, disk: str, blocks: Iterable[tuple[int, memoryview | bytes]]) -> int:
        """Take blocks that a peer still holds: whichever has the digest of a damaged one takes its place. How many."""
        return self._healer.accept(disk, blocks)

    def materialise(self, point_id: str, disk: str, path: Path) -> None:
        """Write a disk of a point as a sparse raw file, durably. DamagedBlock leaves the file incomplete."""
        with self._reading(point_id) as views:
            view = views[disk]
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                for offset, content in view.data():
                    write_all(fd, content, offset)
                os.ftruncate(fd, view.size)
                os.fdatasync(fd)
            finally:
                os.close(fd)

    def hash_page(self, disk: str, first: int, count: int, basis: HashBasis) -> bytes:
        """The XXH3-128 of blocks at the head, stale or not, 16 bytes each.

        KeyError for the disk, ValueError outside of it, UnknownPoint when there is no head.
        """
        with self._reading(None) as views:
            view = views[disk]
            if count < 1 or first + count > block_count(view.size):
                raise ValueError(f"{count} blocks from {first}: disk {disk} has {block_count(view.size)}")
            hashes = stored_hashes if basis is HashBasis.Stored else read_hashes
            return hashes(view.base, view.layers, first, count).tobytes()

    @contextlib.contextmanager
    def _reading(self, point_id: str | None) -> Iterator[dict[str, DiskView]]:
        """Views of a point that no merge can take away meanwhile; None: of the head, which may be an adopted disk."""
        with self._core.lock:
            if point_id is not None:
                self._core.contents.offered(point_id)
            elif (point_id := self._core.contents.head) is None:
                raise UnknownPoint(f"VM {self._core.vm_id} has no recovery point here")
            views = self._core.views(point_id)
            self._readers[point_id] += 1
        try:
            yield views
        finally:
            with self._core.lock:
                self._readers[point_id] -= 1


def ignore(*_: object) -> None:
    """Nobody listens."""
