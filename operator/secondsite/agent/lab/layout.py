"""Where a lab guest keeps what on its disks, and what write n puts there: pure functions of seed and number.

0          superblock: the guest's seed and its services, with a checksum (first disk)
64 KiB     ring of records, one per write (first disk)
1088 KiB   journal: see `guest_journal` (first disk)
2 MiB      slots of 4 KiB that the writes fall into
then       content that was there from the beginning, spread over the rest in pieces of 1 MiB
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass

BLOCK = 65536
MEBIBYTE = 1 << 20
MINIMUM_BYTES = 4 * MEBIBYTE

SUPERBLOCK_BYTES = BLOCK
RING_OFFSET = BLOCK
RECORD = struct.Struct("<8sQQIIQ8x")
RECORD_BYTES = 64
RING_RECORDS = MEBIBYTE // RECORD_BYTES
SLOTS_OFFSET = 2 * MEBIBYTE
SLOT_BYTES = 4096
PIECE = MEBIBYTE

_MAGIC = b"2ndsiteR"
_GENESIS = 0


@dataclass(frozen=True)
class Record:
    """One entry of the ring: write `sequence` was made at `time_ns` (Unix, wall clock) into a slot of a disk."""

    sequence: int
    time_ns: int
    disk: int
    slot: int
    chain: int
    """Digest over this record and the chain before it."""

    def to_bytes(self) -> bytes:
        """Exactly RECORD_BYTES long, with its own checksum."""
        body = RECORD.pack(_MAGIC, self.sequence, self.time_ns, self.disk, self.slot, self.chain)
        return body + _digest(body, 16)

    @classmethod
    def from_bytes(cls, data: bytes) -> Record | None:
        """None where there is no whole record."""
        if data[:8] != _MAGIC or _digest(data[: RECORD.size], 16) != data[RECORD.size :]:
            return None
        return cls(*RECORD.unpack(data[: RECORD.size])[1:])


def next_record(before: Record | None, time_ns: int, disk: int, slot: int) -> Record:
    """The record of the write after `before`, into a slot of a disk."""
    sequence = before.sequence + 1 if before else 1
    return Record(sequence, time_ns, disk, slot, chain(before.chain if before else _GENESIS, sequence, time_ns))


def chain(before: int, sequence: int, time_ns: int) -> int:
    """The chain's value at a record: changing, losing or reordering any record before it shows."""
    return int.from_bytes(_digest(struct.pack("<QQQ", before, sequence, time_ns), 8), "little")


def place(seed: int, sequence: int, sizes: Sequence[int]) -> tuple[int, int]:
    """Index of the disk and number of the slot that write `sequence` goes to."""
    disk = sequence % len(sizes)
    # splitmix64: spreads well, costs little, and is easy to write down again anywhere else.
    x = (seed + sequence * 0x9E3779B97F4A7C15) & (2**64 - 1)
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
    return disk, (x ^ (x >> 31)) % slots(sizes[disk])


def content(seed: int, sequence: int) -> bytes:
    """What write `sequence` puts into its slot."""
    return hashlib.shake_128(struct.pack("<QQ", seed, sequence)).digest(SLOT_BYTES)


def slots(size: int) -> int:
    """How many slots a disk of `size` bytes has."""
    return min(2048, (size - SLOTS_OFFSET) // 4 // SLOT_BYTES)


def ring_offset(sequence: int) -> int:
    """Where the record of a write stands on the first disk."""
    return RING_OFFSET + sequence % RING_RECORDS * RECORD_BYTES


def slot_offset(slot: int) -> int:
    """Where a slot begins."""
    return SLOTS_OFFSET + slot * SLOT_BYTES


def pieces(size: int, data: int) -> list[tuple[int, int]]:
    """Offset and length of the parts of the initial content of a disk: spread evenly, so that it is sparse."""
    begin = -(-(SLOTS_OFFSET + slots(size) * SLOT_BYTES) // PIECE) * PIECE
    room = (size - begin) // PIECE
    count = min(-(-data // PIECE), room)
    places = [begin + index * room // count * PIECE for index in range(count)]
    return [(offset, min(PIECE, data - index * PIECE)) for index, offset in enumerate(places)]


def initial(seed: int, offset: int, length: int) -> bytes:
    """The initial content of the piece at `offset`."""
    return hashlib.shake_128(b"initial" + struct.pack("<qQ", seed, offset)).digest(length)


def superblock(seed: int, services: Sequence[dict[str, object]]) -> bytes:
    """The first block of the first disk: JSON, NUL, its checksum, padding."""
    text = json.dumps({"seed": seed, "services": list(services)}, sort_keys=True).encode()
    return (_digest(text, 16) + text + b"\0").ljust(SUPERBLOCK_BYTES, b"\0")


def read_superblock(data: bytes) -> dict[str, object] | None:
    """What stands there, or None where the checksum does not verify."""
    text = data[16:].split(b"\0", 1)[0]
    if _digest(text, 16) != data[:16]:
        return None
    found: dict[str, object] = json.loads(text)
    return found


def _digest(data: bytes, size: int) -> bytes:
    return hashlib.blake2b(data, digest_size=size).digest()
