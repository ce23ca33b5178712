"""The flat image under all layers, and the digests of its blocks."""

import os
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from secondsite.agent.lab.engine.blocks import DIGEST, ZERO_DIGEST, Digests, block_count, runs, true_digest, xxh3
from secondsite.agent.lab.engine.durable import read_into, write_all
from secondsite.agent.lab.engine.replica.layer import COPY_BYTES, Layer, copy_blocks, data_runs
from secondsite.wire.peer import BLOCK_BYTES, DIGEST_BYTES, FLAG_ZERO

_PAGE_BLOCKS = 1 << 16


class BaseImage:
    """`base.raw`, sparse; `base.hashes` (BLAKE3) and `base.xxh3`: 16 bytes per block, all zero for a zero block.

    The lists have no checksum: they vouch for each other. Of content and two digests, the two that agree are right.
    `established`: a recovery point stands on it, so its files are not to be made anew.
    """

    def __init__(self, folder: Path, size: int, *, established: bool = False) -> None:
        self.size = size
        count = block_count(size)
        # A list that went missing must not say that all is zero: what it says then fits no block.
        fill = b"\xff" if established else b""
        self._data = _open_sized(folder / "base.raw", count * BLOCK_BYTES)
        self._lists = {
            "digest": _open_sized(folder / "base.hashes", count * DIGEST_BYTES, fill),
            "xxh3": _open_sized(folder / "base.xxh3", count * DIGEST_BYTES, fill),
        }
        for fd in (self._data, *self._lists.values()):
            weakref.finalize(self, os.close, fd)

    @property
    def fd(self) -> int:
        return self._data

    def digests(self, first: int, count: int) -> Digests:
        """The BLAKE3 digests of consecutive blocks."""
        return _read_list(self._lists["digest"], first, count)

    def xxh3(self, first: int, count: int) -> Digests:
        """The XXH3-128 of consecutive blocks, as they were when they came: `digests` says whether they still are."""
        return _read_list(self._lists["xxh3"], first, count)

    def pages(self) -> Iterator[tuple[int, Digests]]:
        """All BLAKE3 digests in pieces, each with the number of its first block."""
        total = block_count(self.size)
        for first in range(0, total, _PAGE_BLOCKS):
            yield first, self.digests(first, min(_PAGE_BLOCKS, total - first))

    def mend(self, block: int, content: memoryview | bytes) -> None:
        """Put a block's true content and its digests in place, durably."""
        write_all(self._lists["digest"], true_digest(content), block * DIGEST_BYTES)
        write_all(self._lists["xxh3"], xxh3(content), block * DIGEST_BYTES)
        write_all(self._data, content, block * BLOCK_BYTES)
        for fd in (self._data, *self._lists.values()):
            os.fdatasync(fd)

    def absorb(self, layer: Layer) -> None:
        """Copy a layer in, durably. May be repeated after a kill: until it is done the layer covers what it writes.

        Content and digests are copied as they are: a block that is damaged in the layer stays known to be damaged.
        """
        buffer = memoryview(bytearray(COPY_BYTES))
        for offset, block, count in data_runs(layer.index):
            copy_blocks(layer.fd, offset, self._data, block * BLOCK_BYTES, count, buffer)
        for block in layer.index["block"][(layer.index["flags"] & FLAG_ZERO) != 0].tolist():
            # Writing zeros where there is nothing would cost the image its holes.
            if self.digests(block, 1)[0].tobytes() != ZERO_DIGEST:
                write_all(self._data, bytes(BLOCK_BYTES), block * BLOCK_BYTES)
        os.fdatasync(self._data)
        for field, fd in self._lists.items():
            _write_list(fd, layer, field)


def _write_list(fd: int, layer: Layer, field: str) -> None:
    values = np.ascontiguousarray(layer.index[field])
    for index, block, count in runs(layer.index["block"].astype(np.int64)):
        write_all(fd, values[index : index + count].tobytes(), block * DIGEST_BYTES)
    os.fdatasync(fd)


def _read_list(fd: int, first: int, count: int) -> Digests:
    buffer = bytearray(count * DIGEST_BYTES)
    read_into(fd, memoryview(buffer), first * DIGEST_BYTES)
    return np.frombuffer(buffer, dtype=DIGEST)


def _open_sized(path: Path, size: int, fill: bytes = b"") -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    found = os.fstat(fd).st_size
    if found != size:
        os.ftruncate(fd, size)
        for offset in range(found, size if fill else 0, COPY_BYTES):
            write_all(fd, fill * min(COPY_BYTES, size - offset), offset)
        os.fdatasync(fd)
    return fd
