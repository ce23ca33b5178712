"""The index of a layer made again from its frames, where its own is damaged: a layer that was merged has none."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from secondsite.agent.lab.engine.blocks import root_of, xxh3_list
from secondsite.agent.lab.engine.durable import read_into, write_all
from secondsite.agent.lab.engine.errors import StoreDamaged
from secondsite.agent.lab.engine.frames import ENTRY_TYPE, cycle_digest
from secondsite.agent.lab.engine.layer import (
    INDEX_TYPE,
    TRAILER_BYTES,
    Index,
    empty_index,
    pack_footer,
    unpack_trailer,
)
from secondsite.wire.peer import BLOCK_BYTES, FLAG_ZERO, HEADER_BYTES, FrameHeader, crc_holds

_FEW_BYTES = 8


def rebuild_index(path: Path, point: str) -> Index:
    """Write index and trailer of a layer anew, durably, from the frames of the cycle `point`; the index.

    Only where it is proven that no frame is missing: by the root in the trailer, or by the length of the file.
    StoreDamaged otherwise, and the file is as it was; FileNotFoundError.
    """
    fd = os.open(path, os.O_RDWR)
    try:
        index, end = salvage(fd, path, point)
        write_all(fd, pack_footer(index, end), end)
        os.fdatasync(fd)
    finally:
        os.close(fd)
    return index


def salvage(fd: int, path: Path, point: str) -> tuple[Index, int]:
    """What the frames say: the index, and where they end. StoreDamaged when they may not be all."""
    parts = list(_frames(fd, cycle_digest(point)))
    index = np.concatenate([part for part, _ in parts]) if parts else empty_index()
    end = parts[-1][1] if parts else 0
    if not _whole(fd, index, end):
        raise StoreDamaged(
            f"layer {path}: index or trailer are damaged, and its frames up to byte {end} are not provably all; "
            "a merged layer keeps no frames"
        )
    return index, end


def _whole(fd: int, index: Index, end: int) -> bool:
    size = os.fstat(fd).st_size
    trailer = unpack_trailer(os.pread(fd, TRAILER_BYTES, max(0, size - TRAILER_BYTES)))
    if trailer is not None:
        fits = (trailer.entries, trailer.content_end) == (len(index), end)
        return fits and trailer.root == bytes.fromhex(root_of(index["digest"].tobytes()))
    if len(index):
        return size == end + len(index) * INDEX_TYPE.itemsize + TRAILER_BYTES
    # An empty layer proves nothing by its length: what is left must still look like its end.
    there, due = os.pread(fd, size, 0), pack_footer(index, end)
    return size == len(due) and sum(a != b for a, b in zip(there, due, strict=True)) <= _FEW_BYTES


def _frames(fd: int, cycle: bytes) -> Iterator[tuple[Index, int]]:
    """Index and end of each frame in turn, up to the first that is not whole; payloads are not judged here."""
    position, last = 0, -1
    for sequence in range(1 << 40):
        head = os.pread(fd, HEADER_BYTES, position)
        try:
            header = FrameHeader.unpack(head) if len(head) == HEADER_BYTES else None
        except ValueError:
            return
        if header is None or (header.sequence, header.cycle, header.codec) != (sequence, cycle, 0):
            return
        table = os.pread(fd, header.table_bytes, position + HEADER_BYTES)
        if not crc_holds(head, table):
            return
        start = position + HEADER_BYTES + len(table)
        index = _index(fd, np.frombuffer(table, dtype=ENTRY_TYPE), start)
        if int(index["block"][0]) <= last:
            return
        position, last = start + header.stored_bytes, int(index["block"][-1])
        yield index, position


def _index(fd: int, entries: np.ndarray[tuple[int], np.dtype[np.void]], start: int) -> Index:
    index = np.zeros(len(entries), dtype=INDEX_TYPE)
    for field in ("block", "digest", "flags"):
        index[field] = entries[field]
    data = (entries["flags"] & FLAG_ZERO) == 0
    lengths = np.where(data, BLOCK_BYTES, 0)
    index["offset"] = start + np.cumsum(lengths) - lengths
    payload = memoryview(bytearray(int(lengths.sum())))
    read_into(fd, payload, start)
    index["xxh3"][data] = xxh3_list(payload)
    return index
