"""Reading a disk as it was at a recovery point: each block from the newest layer that has it, and verified."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from secondsite.agent.lab.engine.base import BaseImage
from secondsite.agent.lab.engine.blocks import ZERO_DIGEST, block_count, block_span, digest, runs, zero_blocks
from secondsite.agent.lab.engine.durable import read_into
from secondsite.agent.lab.engine.errors import DamagedBlock
from secondsite.agent.lab.engine.layer import Layer
from secondsite.wire.peer import BLOCK_BYTES, FLAG_ZERO

_SCAN_BLOCKS = 64


class DiskView:
    """One disk at one point. Holds its layers open, so merges may go on beneath it as long as the point is pinned."""

    def __init__(self, point: str, disk: str, base: BaseImage, layers: Sequence[Layer]) -> None:
        self.point = point
        self.disk = disk
        self.size = base.size
        self._base = base
        self._newest_first = tuple(reversed(layers))
        self._files = [*(layer.fd for layer in self._newest_first), base.fd]

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
        content, digests = self._fetch(first, count)
        for index, expected in enumerate(digests):
            if not _intact(content, index, expected):
                raise DamagedBlock(self.point, self.disk, first + index)
        return content

    def damaged_blocks(self) -> Iterator[int]:
        """Scrub: every block whose content does not match its digest."""
        for first, count in self._steps():
            content, digests = self._fetch(first, count)
            yield from (first + i for i, expected in enumerate(digests) if not _intact(content, i, expected))

    def data(self) -> Iterator[tuple[int, memoryview]]:
        """All that is not zero, as (offset, whole blocks), verified; the last block may reach over the disk's end."""
        for first, count in self._steps():
            content = self.read_blocks(first, count)
            for _, index, length in runs(np.flatnonzero(~zero_blocks(content))):
                yield (first + index) * BLOCK_BYTES, content[index * BLOCK_BYTES : (index + length) * BLOCK_BYTES]

    def _steps(self) -> Iterator[tuple[int, int]]:
        total = block_count(self.size)
        for first in range(0, total, _SCAN_BLOCKS):
            yield first, min(_SCAN_BLOCKS, total - first)

    def _fetch(self, first: int, count: int) -> tuple[memoryview, list[bytes]]:
        files, offsets, digests = self._locate(first, count)
        content = memoryview(bytearray(count * BLOCK_BYTES))
        starts = np.flatnonzero((np.diff(files, prepend=-2) != 0) | (np.diff(offsets, prepend=-1) != BLOCK_BYTES))
        for start, end in zip(starts.tolist(), [*starts[1:].tolist(), count], strict=True):
            if files[start] >= 0:
                part = content[start * BLOCK_BYTES : end * BLOCK_BYTES]
                read_into(self._files[files[start]], part, int(offsets[start]))
        return content, [entry.tobytes() for entry in digests]

    def _locate(self, first: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.void]]:
        """Per block: which file (-1: none, it is zero), where in it, and the digest that it must have."""
        blocks = np.arange(first, first + count, dtype=np.int64)
        digests = self._base.digests(first, count).copy()
        empty = np.array([entry.tobytes() == ZERO_DIGEST for entry in digests], dtype=bool)
        files = np.where(empty, -1, len(self._newest_first))
        offsets = blocks * BLOCK_BYTES
        missing = np.ones(count, dtype=bool)
        for number, layer in enumerate(self._newest_first):
            position = layer.find(blocks)
            hit = missing & (position >= 0)
            if hit.any():
                entries = layer.index[position[hit]]
                files[hit] = np.where(entries["flags"] & FLAG_ZERO, -1, number)
                offsets[hit] = entries["offset"]
                digests[hit] = entries["digest"]
                missing &= ~hit
        return files, offsets, digests


def _intact(content: memoryview, index: int, expected: bytes) -> bool:
    # A zero block was not read from anywhere.
    return expected == ZERO_DIGEST or digest(content[index * BLOCK_BYTES : (index + 1) * BLOCK_BYTES]) == expected
