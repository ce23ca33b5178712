"""A sealed layer: the blocks of one recovery point, then an index, then a trailer.

    content | index: 56 bytes per block, ascending | trailer: 80 bytes

Never changed again, but for a repair: it puts back, to the bit, what stood there. The content of a layer that came over
the wire is its frames, unpacked; that of a merged one is plain blocks.
"""

import os
import struct
import weakref
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from secondsite.agent.lab.engine.blocks import root_of
from secondsite.agent.lab.engine.durable import read_into, write_all
from secondsite.agent.lab.engine.errors import StoreDamaged
from secondsite.wire.peer import BLOCK_BYTES, DIGEST_BYTES, FLAG_ZERO

INDEX_TYPE = np.dtype(
    [
        ("block", "<u8"),
        ("offset", "<u8"),
        ("digest", f"V{DIGEST_BYTES}"),
        ("xxh3", f"V{DIGEST_BYTES}"),
        ("flags", "u1"),
        ("pad", "V7"),
    ]
)
Index = NDArray[np.void]

# magic, index entries, where the content ends, root, CRC of the index, CRC of all before it
_TRAILER = struct.Struct("<8sQQ32sI16xI")
_MAGIC = b"SSlayer2"
TRAILER_BYTES = _TRAILER.size
_INDEX_CRC = slice(56, 60)
_OWN_CRC = slice(-4, None)
COPY_BYTES = 64 * BLOCK_BYTES


def empty_index() -> Index:
    return np.zeros(0, dtype=INDEX_TYPE)


def pack_footer(index: Index, content_end: int) -> bytes:
    """Index and trailer, to be written at `content_end`."""
    body = index.tobytes()
    root = bytes.fromhex(root_of(index["digest"].tobytes()))
    trailer = _TRAILER.pack(_MAGIC, len(index), content_end, root, zlib.crc32(body), 0)[:-4]
    return body + trailer + struct.pack("<I", zlib.crc32(trailer))


class Layer:
    """An open sealed layer. Stays readable after its file was removed or replaced, as long as somebody holds it."""

    lost = ""
    """Why nothing is known of what it held; empty: it is as it should be."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self.fd)
        self.index, self.content_end = read_footer(self.fd, path)
        self._blocks = np.ascontiguousarray(self.index["block"]).astype(np.int64)

    @property
    def bytes(self) -> int:
        """What its file holds."""
        return self.content_end + len(self.index) * INDEX_TYPE.itemsize + TRAILER_BYTES

    def find(self, blocks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Per block its position in the index, -1 where this layer has none of it."""
        if len(self._blocks) == 0:
            return np.full(len(blocks), -1, dtype=np.int64)
        position = np.searchsorted(self._blocks, blocks)
        position[position == len(self._blocks)] = 0
        return np.where(self._blocks[position] == blocks, position, -1)

    def between(self, first: int, end: int) -> Index:
        """The entries of the blocks from `first` on, up to `end`."""
        low, high = np.searchsorted(self._blocks, (first, end))
        return self.index[low:high]


class LostLayer(Layer):
    """In place of a layer whose index is gone: which blocks it held is unknown, so nothing beneath it may show."""

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        self.fd = -1
        self.index, self.content_end = empty_index(), 0
        self._blocks = np.zeros(0, dtype=np.int64)
        self.lost = reason


def data_runs(index: Index) -> Iterator[tuple[int, int, int]]:
    """(offset, block, count) of blocks that follow each other on the disk and in the file; zero blocks are left out."""
    data = index[(index["flags"] & FLAG_ZERO) == 0]
    offsets, blocks = data["offset"].astype(np.int64), data["block"].astype(np.int64)
    breaks = (np.diff(offsets, prepend=-1) != BLOCK_BYTES) | (np.diff(blocks, prepend=-2) != 1)
    starts = np.flatnonzero(breaks)
    counts = np.diff(starts, append=len(data))
    yield from zip(offsets[starts].tolist(), blocks[starts].tolist(), counts.tolist(), strict=True)


def copy_blocks(source: int, offset: int, target: int, target_offset: int, count: int, buffer: memoryview) -> None:
    """Copy blocks from file to file, through a buffer of whole blocks."""
    left = count * BLOCK_BYTES
    while left:
        part = buffer[: min(left, len(buffer))]
        if read_into(source, part, offset) != len(part):
            raise StoreDamaged(f"a layer ends at {offset}, where its index still has blocks")
        write_all(target, part, target_offset)
        offset, target_offset, left = offset + len(part), target_offset + len(part), left - len(part)


def write_merged(older: Layer, newer: Layer, path: Path) -> None:
    """Write the union of two layers, the newer winning, durably. Content and both digests are copied as they are."""
    kept = older.index[newer.find(older.index["block"].astype(np.int64)) < 0]
    buffer = memoryview(bytearray(COPY_BYTES))
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        end = 0
        parts = []
        for layer, index in ((older, kept), (newer, newer.index)):
            moved = index.copy()
            data = (index["flags"] & FLAG_ZERO) == 0
            moved["offset"][data] = end + np.arange(np.count_nonzero(data)) * BLOCK_BYTES
            for offset, _, count in data_runs(index):
                copy_blocks(layer.fd, offset, fd, end, count, buffer)
                end += count * BLOCK_BYTES
            parts.append(moved)
        index = np.concatenate(parts)
        write_all(fd, pack_footer(index[np.argsort(index["block"])], end), end)
        os.fdatasync(fd)
    finally:
        os.close(fd)


class Trailer(NamedTuple):
    """The end of a layer file. `root` is that of the digests in the index."""

    entries: int
    content_end: int
    root: bytes
    index_crc: int


def unpack_trailer(trailer: bytes) -> Trailer | None:
    """None when it is not one, or damaged."""
    if len(trailer) != TRAILER_BYTES:
        return None
    magic, count, content_end, root, index_crc, crc = _TRAILER.unpack(trailer)
    if magic != _MAGIC or crc != zlib.crc32(trailer[:-4]):
        return None
    return Trailer(count, content_end, root, index_crc)


def vouches(damaged: bytes, index: Index, content_end: int) -> bool:
    """Whether a trailer that is damaged still has a checksum that only this index fits: the index's, or its own."""
    due = pack_footer(index, content_end)[-TRAILER_BYTES:]
    return len(damaged) == TRAILER_BYTES and any(damaged[part] == due[part] for part in (_INDEX_CRC, _OWN_CRC))


def read_footer(fd: int, path: Path) -> tuple[Index, int]:
    """The index, and where the content ends. StoreDamaged where either cannot be trusted."""
    size = os.fstat(fd).st_size
    trailer = unpack_trailer(os.pread(fd, TRAILER_BYTES, max(0, size - TRAILER_BYTES)))
    if trailer is None:
        raise StoreDamaged(f"layer {path} of {size} bytes: its trailer is damaged")
    body = bytearray(max(0, size - TRAILER_BYTES - trailer.content_end))
    if len(body) != trailer.entries * INDEX_TYPE.itemsize or read_into(
        fd, memoryview(body), trailer.content_end
    ) != len(body):
        raise StoreDamaged(f"layer {path}: its trailer does not fit its length of {size} bytes")
    if zlib.crc32(body) != trailer.index_crc:
        raise StoreDamaged(f"layer {path}: its index is damaged")
    return np.frombuffer(bytes(body), dtype=INDEX_TYPE), trailer.content_end
