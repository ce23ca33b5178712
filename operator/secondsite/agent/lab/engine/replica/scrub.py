"""Reading every stored file of a store once and comparing it with its digests: slowly, beside everything else."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from secondsite.agent.lab.engine.blocks import block_count
from secondsite.agent.lab.engine.port.bucket import TokenBucket
from secondsite.agent.lab.engine.replica.core import StoreCore
from secondsite.agent.lab.engine.replica.framing import damaged_heads
from secondsite.agent.lab.engine.replica.healing import Healer
from secondsite.agent.lab.engine.replica.layer import Layer
from secondsite.agent.lab.engine.replica.repair import intact, mend_footer, overwrite
from secondsite.agent.lab.engine.replica.stored import damaged_in, stored_blocks
from secondsite.wire.peer import BLOCK_BYTES

_STEP_BLOCKS = 16


@dataclass(frozen=True, slots=True)
class ScrubProgress:
    """How far a scrub has come: files done of those there were, and bytes read so far."""

    file: str
    files: int
    files_total: int
    bytes: int


@dataclass(frozen=True, slots=True)
class ScrubResult:
    """Of a whole scrub: `damaged` blocks of 64 KiB are left, `mended` were damaged and are not any more."""

    files: int
    bytes: int
    damaged: int
    mended: int


class Scrub:
    """One pass over the files of a store. `budget` bounds how many bytes it reads per second."""

    def __init__(self, core: StoreCore, healer: Healer, stop: threading.Event, budget: TokenBucket) -> None:
        self._core = core
        self._healer = healer
        self._stop = stop
        self._budget = budget
        self._bytes = 0
        self._mended = 0

    def run(self, progress: Callable[[ScrubProgress], None]) -> ScrubResult:
        """Stopped when `stop` was set; what was found until then is remembered."""
        with self._core.in_use():
            return self._run(progress)

    def _run(self, progress: Callable[[ScrubProgress], None]) -> ScrubResult:
        with self._core.lock:
            layers = [None, *(entry.point for entry in self._core.contents.points)]
            files = [(name, layer) for name in self._core.replicas for layer in layers]
        for number, (disk, layer) in enumerate(files):
            progress(ScrubProgress(f"{disk}/{layer or 'base'}", number, len(files), self._bytes))
            if layer is None:
                self._settle(disk, None, self._damaged_in_base(disk))
            else:
                self._scrub_layer(disk, layer)
        with self._core.lock:
            left = sum(len(event.blocks) + event.unlisted for event in self._core.contents.damage.values())
        return ScrubResult(len(files), self._bytes, left, self._mended)

    def _scrub_layer(self, disk: str, point: str) -> None:
        with self._core.lock:
            layer = self._present(disk, point)
        if layer is None or layer.lost:
            return
        damaged = set(self._damaged_in(layer))
        with self._core.merge_lock:
            with self._core.lock:
                if self._present(disk, point) is layer:
                    self._mend_frame(point, layer)
            self._settle(disk, point, damaged, layer)

    def _settle(self, disk: str, point: str | None, damaged: set[int], layer: Layer | None = None) -> None:
        """Mend and remember, unless the file was merged meanwhile: then its next scrub will tell."""
        with self._core.merge_lock:
            with self._core.lock:
                if disk not in self._core.replicas or (point and self._present(disk, point) is not layer):
                    return
                news = self._healer.settle(disk, point, damaged, mend=True, whole=None)
                left = self._core.contents.damage.get((disk, point))
                self._mended += len(damaged) - (len(set(left.blocks) & damaged) if left else 0)
            self._healer.tell(news)

    def _present(self, disk: str, point: str) -> Layer | None:
        replica = self._core.replicas.get(disk)
        return replica.layer(point) if replica is not None and point in replica.points() else None

    def _damaged_in(self, layer: Layer) -> Iterator[int]:
        return damaged_in(layer, self._account)

    def _account(self, count: int) -> None:
        """Wait until the budget allows for so many bytes."""
        self._budget.take(count, self._stop)
        self._bytes += count

    def _damaged_in_base(self, disk: str) -> set[int]:
        with self._core.lock:
            replica = self._core.replicas.get(disk)
        found: set[int] = set()
        total = block_count(replica.size) if replica else 0
        for first in range(0, total, _STEP_BLOCKS):
            count = min(_STEP_BLOCKS, total - first)
            expected = len(self._stored(disk, first, count)) * BLOCK_BYTES
            self._budget.take(max(1, expected), self._stop)
            # In pieces: a merge may wait for one to be read, not for a terabyte, nor for the budget.
            with self._core.merge_lock:
                found |= self._damaged_in_piece(disk, first, count)
        return found

    def _damaged_in_piece(self, disk: str, first: int, count: int) -> set[int]:
        with self._core.lock:
            replica = self._core.replicas.get(disk)
        # A merge may have put more there since it was counted.
        blocks = self._stored(disk, first, count)
        self._bytes += len(blocks) * BLOCK_BYTES
        return {block for block in blocks if replica is not None and not intact(replica, None, block)}

    def _stored(self, disk: str, first: int, count: int) -> list[int]:
        """Blocks of the base that are not zero."""
        with self._core.lock:
            replica = self._core.replicas.get(disk)
        if replica is None:
            return []
        return stored_blocks(replica.base, first, count)

    def _mend_frame(self, point: str, layer: Layer) -> None:
        """What surrounds the blocks follows from the index that is in memory: put it right in the file."""
        self._mended += mend_footer(layer)
        generation = next((entry.generation for entry in self._core.contents.points if entry.point == point), 0)
        for offset, head in damaged_heads(layer, point, generation):
            overwrite(layer, offset, head)
            self._mended += 1
