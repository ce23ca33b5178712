"""Reading a disk as it was at a recovery point: each block from the newest layer that has it, and verified."""

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from secondsite.agent.lab.engine.blocks import (
    ZERO_DIGEST,
    Digests,
    block_count,
    block_span,
    digest,
    runs,
    zero_blocks,
)
from secondsite.agent.lab.engine.durable import read_into
from secondsite.agent.lab.engine.errors import DamagedBlock
from secondsite.agent.lab.engine.replica.base import BaseImage
from secondsite.agent.lab.engine.replica.layer import Layer
from secondsite.wire.peer import BLOCK_BYTES, FLAG_ZERO

_SCAN_BLOCKS = 64

# In place of the number of a file.
_ZERO: Final = -1
# Whatever the block holds stood in a layer that is lost.
_LOST: Final = -2
# The two lists of the base do not agree on whether the block is zero.
_UNSOUND: Final = -3


@dataclass(frozen=True, slots=True)
class Place:
    """Where a block of a view is stored: `layer` is the point of a layer, None the base; `lost`: the layer is."""

    block: int
    layer: str | None
    lost: bool = False


@dataclass(frozen=True, slots=True)
class _Located:
    """Per block: which file or what instead of one, where in it, and the digest that it must have."""

    files: NDArray[np.int64]
    offsets: NDArray[np.int64]
    digests: Digests
    # Per block the layer that says so, counted from the newest; one more than there are is the base.
    sources: NDArray[np.int64]


class DiskView:
    """One disk at one point. Holds its layers open, so merges may go on beneath it as long as the point is pinned.

    `heal` hears of damaged blocks; it remembers them, mends what it can, and gives the layers, newest first, as they
    stand then.
    """

    def __init__(
        self,
        point: str,
        disk: str,
        base: BaseImage,
        layers: Sequence[Layer],
        heal: "Heal | None" = None,
    ) -> None:
        self.point = point
        self.disk = disk
        self.size = base.size
        self._base = base
        self._heal = heal
        self._newest_first = tuple(reversed(layers))

    @property
    def base(self) -> BaseImage:
        return self._base

    @property
    def layers(self) -> tuple[Layer, ...]:
        """What lies over the base, oldest first."""
        return self._newest_first[::-1]

    def read(self, offset: int, length: int) -> bytes:
        """ValueError outside the disk; DamagedBlock instead of bytes that do not match their digest."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise ValueError(f"{length} bytes at {offset} reach outside disk {self.disk} of {self.size} bytes")
        if length == 0:
            return b""
        first, end = block_span(offset, length)
        content = self.read_blocks(first, end - first)
        start = offset - first * BLOCK_BYTES
        return bytes(content[start : start + length])

    def read_blocks(self, first: int, count: int) -> memoryview:
        """Whole blocks, verified."""
        content, damaged = self.check(first, count)
        if damaged:
            self.renew(damaged)
            content, damaged = self.check(first, count)
        if damaged:
            raise DamagedBlock(self.point, self.disk, damaged[0])
        return content

    def renew(self, damaged: Sequence[int]) -> None:
        """Have damaged blocks mended or remembered, and read on from the files of now."""
        if self._heal is not None:
            self._newest_first = self._heal(self, damaged)

    def check(self, first: int, count: int) -> tuple[memoryview, list[int]]:
        """Whole blocks, and the numbers of those that are not what they must be."""
        located = self._locate(first, count)
        content = memoryview(bytearray(count * BLOCK_BYTES))
        unreadable = self._fetch(located, content)
        damaged = [
            first + index
            for index, (file, expected) in enumerate(
                zip(located.files.tolist(), (entry.tobytes() for entry in located.digests), strict=True)
            )
            if index in unreadable
            or file < _ZERO
            or (file != _ZERO and digest(content[index * BLOCK_BYTES : (index + 1) * BLOCK_BYTES]) != expected)
        ]
        return content, damaged

    @property
    def newest_first(self) -> tuple[Layer, ...]:
        return self._newest_first

    def places(self, blocks: Sequence[int]) -> list[Place]:
        """Where blocks are stored."""
        return [self._place(block, int(self._locate(block, 1).sources[0])) for block in blocks]

    def steps(self) -> Iterator[tuple[int, int]]:
        """The whole disk in pieces: first block and how many."""
        total = block_count(self.size)
        for first in range(0, total, _SCAN_BLOCKS):
            yield first, min(_SCAN_BLOCKS, total - first)

    def data(self) -> Iterator[tuple[int, memoryview]]:
        """All that is not zero, as (offset, whole blocks), verified; the last block may reach over the disk's end."""
        for first, count in self.steps():
            content = self.read_blocks(first, count)
            for _, index, length in runs(np.flatnonzero(~zero_blocks(content))):
                yield (first + index) * BLOCK_BYTES, content[index * BLOCK_BYTES : (index + length) * BLOCK_BYTES]

    def _place(self, block: int, source: int) -> Place:
        if source == len(self._newest_first):
            return Place(block, None)
        layer = self._newest_first[source]
        return Place(block, layer.path.stem, bool(layer.lost))

    def _fetch(self, located: _Located, content: memoryview) -> set[int]:
        """Read every block that stands in a file; the indexes of those that the disk refuses to give."""
        files, offsets = located.files, located.offsets
        starts = np.flatnonzero((np.diff(files, prepend=-9) != 0) | (np.diff(offsets, prepend=-1) != BLOCK_BYTES))
        unreadable: set[int] = set()
        for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(files)], strict=True):
            if files[start] >= 0:
                part = content[start * BLOCK_BYTES : end * BLOCK_BYTES]
                bad = read_blockwise(self._descriptor(int(files[start])), part, int(offsets[start]))
                unreadable |= {start + index for index in bad}
        return unreadable

    def _descriptor(self, file: int) -> int:
        return self._base.fd if file == len(self._newest_first) else self._newest_first[file].fd

    def _locate(self, first: int, count: int) -> _Located:
        blocks = np.arange(first, first + count, dtype=np.int64)
        newest_first = self._newest_first
        files = np.full(count, len(newest_first), dtype=np.int64)
        sources = files.copy()
        offsets, digests = blocks * BLOCK_BYTES, np.zeros(count, dtype=f"V{len(ZERO_DIGEST)}")
        missing = np.ones(count, dtype=bool)
        for number, layer in enumerate(newest_first):
            if not missing.any():
                break
            if layer.lost:
                files[missing], sources[missing] = _LOST, number
                missing[:] = False
                break
            position = layer.find(blocks)
            hit = missing & (position >= 0)
            if hit.any():
                entries = layer.index[position[hit]]
                files[hit] = np.where(entries["flags"] & FLAG_ZERO, _ZERO, number)
                sources[hit] = number
                offsets[hit] = entries["offset"]
                digests[hit] = entries["digest"]
                missing &= ~hit
        self._locate_in_base(first, missing, files, digests)
        return _Located(files, offsets, digests, sources)

    def _locate_in_base(
        self, first: int, missing: NDArray[np.bool_], files: NDArray[np.int64], digests: Digests
    ) -> None:
        if not missing.any():
            return
        found = self._base.digests(first, len(missing))
        digests[missing] = found[missing]
        empty = missing & is_zero(found)
        if empty.any():
            sound = is_zero(self._base.xxh3(first, len(missing)))
            files[empty] = np.where(sound[empty], _ZERO, _UNSOUND)


Heal = Callable[[DiskView, Sequence[int]], tuple[Layer, ...]]


def is_zero(digests: Digests) -> NDArray[np.bool_]:
    """Which digests are those of a zero block."""
    words = np.frombuffer(digests.tobytes(), dtype=np.uint64).reshape(-1, 2)
    return np.asarray(~words.any(axis=1))


def read_blockwise(fd: int, content: memoryview, offset: int) -> list[int]:
    """Fill whole blocks from a file; the indexes of those that the disk cannot read. OSError but EIO is raised."""
    try:
        read_into(fd, content, offset)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
    else:
        return []
    return [
        start // BLOCK_BYTES
        for start in range(0, len(content), BLOCK_BYTES)
        if not _readable(fd, content, start, offset)
    ]


def _readable(fd: int, content: memoryview, start: int, offset: int) -> bool:
    try:
        os.preadv(fd, [content[start : start + BLOCK_BYTES]], offset + start)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return False
    return True
