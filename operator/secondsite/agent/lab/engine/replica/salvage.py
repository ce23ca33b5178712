"""The index of a layer made again, where its own or its trailer is damaged: only where it is proven what it was."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from secondsite.agent.lab.engine.blocks import root_of, true_digest, xxh3, xxh3_list
from secondsite.agent.lab.engine.durable import read_into, write_all
from secondsite.agent.lab.engine.errors import StoreDamaged
from secondsite.agent.lab.engine.port.frames import ENTRY_TYPE, cycle_digest
from secondsite.agent.lab.engine.replica.correction import single_byte_corrections
from secondsite.agent.lab.engine.replica.layer import (
    INDEX_TYPE,
    TRAILER_BYTES,
    Index,
    empty_index,
    pack_footer,
    unpack_trailer,
    vouches,
)
from secondsite.wire.peer import BLOCK_BYTES, FLAG_ZERO, HEADER_BYTES, FrameHeader, crc_holds

_FEW_BYTES = 8
# Of a longer index more than one change of a byte may fit its checksum by chance.
_LONGEST_CORRECTED = 1 << 20
_MOST_GUESSES = 4096


def rebuild_index(path: Path, point: str) -> Index:
    """Write index and trailer of a layer anew, durably; the index. See `salvage`.

    StoreDamaged, and the file is as it was; FileNotFoundError.
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
    """The index of a layer whose own, or whose trailer, is damaged, and where its content ends. StoreDamaged: no way.

    From the frames of the cycle `point`, where the root in the trailer, or the length of the file, proves that none is
    missing. A merged layer has none: one changed byte of its index is found by the trailer's CRC, and in front of a
    damaged trailer it is told by describing all that stands before it, and by what is left of the trailer.
    """
    for way in (_from_frames, _corrected, _plain):
        found = way(fd, point)
        if found is not None:
            return found
    raise StoreDamaged(
        f"layer {path}: index or trailer are damaged, and neither frames nor checksums say what stood there"
    )


def _from_frames(fd: int, point: str) -> tuple[Index, int] | None:
    parts = list(_frames(fd, cycle_digest(point)))
    index = np.concatenate([part for part, _ in parts]) if parts else empty_index()
    end = parts[-1][1] if parts else 0
    return (index, end) if _whole(fd, index, end) else None


def _corrected(fd: int, _point: str) -> tuple[Index, int] | None:
    size = os.fstat(fd).st_size
    trailer = unpack_trailer(os.pread(fd, TRAILER_BYTES, max(0, size - TRAILER_BYTES)))
    if trailer is None or size - TRAILER_BYTES - trailer.content_end != trailer.entries * INDEX_TYPE.itemsize:
        return None
    body = _read(fd, size - TRAILER_BYTES - trailer.content_end, trailer.content_end)
    if len(body) > _LONGEST_CORRECTED:
        return None
    fixed = [np.frombuffer(text, dtype=INDEX_TYPE) for text in single_byte_corrections(body, trailer.index_crc)]
    before = np.frombuffer(body, dtype=INDEX_TYPE)
    fitting = [
        index
        for index in fixed
        if root_of(index["digest"].tobytes()) == trailer.root.hex()
        and _describes(index, trailer.content_end // BLOCK_BYTES)
        and all(_fits(fd, entry) for entry in index[index != before])
    ]
    return (fitting[0], trailer.content_end) if len(fitting) == 1 else None


def _plain(fd: int, _point: str) -> tuple[Index, int] | None:
    """A merged layer: so many blocks, then an index with an entry for each of them, and some for zero blocks."""
    room = os.fstat(fd).st_size - TRAILER_BYTES
    trailer = _read(fd, TRAILER_BYTES, max(0, room))
    most = room // (BLOCK_BYTES + INDEX_TYPE.itemsize)
    for blocks in range(most, max(0, most - _MOST_GUESSES), -1):
        end = blocks * BLOCK_BYTES
        if (room - end) % INDEX_TYPE.itemsize == 0:
            index = np.frombuffer(_read(fd, room - end, end), dtype=INDEX_TYPE)
            if _describes(index, blocks) and vouches(trailer, index, end):
                return index, end
    return None


def _describes(index: Index, blocks: int) -> bool:
    """Whether an index accounts for each of so many blocks that stand one after the other."""
    data = (index["flags"] & FLAG_ZERO) == 0
    ordered = np.all(index["block"][1:] > index["block"][:-1]) and np.all(index["flags"] <= FLAG_ZERO)
    offsets = np.sort(index["offset"][data])
    padded = b"".join(index["pad"].tolist()).strip(b"\0") == b""
    return bool(ordered and padded) and np.array_equal(offsets, np.arange(blocks, dtype=np.uint64) * BLOCK_BYTES)


def _fits(fd: int, entry: np.void) -> bool:
    """Whether the content of an entry's block has both of its digests."""
    zero = entry["flags"] & FLAG_ZERO
    content = bytes(BLOCK_BYTES) if zero else _read(fd, BLOCK_BYTES, int(entry["offset"]))
    found: tuple[bytes, bytes] = entry["digest"].tobytes(), entry["xxh3"].tobytes()
    return found == (true_digest(content), xxh3(content))


def _read(fd: int, count: int, offset: int) -> bytes:
    content = bytearray(count)
    read_into(fd, memoryview(content), offset)
    return bytes(content)


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
