"""Frames: up to 64 blocks with their digests, as they go over the wire and as they lie in a layer file."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from secondsite.agent.lab.engine.blocks import ZERO_DIGEST, Blocks, digest, digests_of, runs, zero_blocks
from secondsite.agent.lab.engine.errors import CorruptFrame
from secondsite.wire.peer import (
    BLOCK_BYTES,
    DIGEST_BYTES,
    FLAG_ZERO,
    FRAME_BLOCKS,
    HEADER_BYTES,
    FrameHeader,
    crc_holds,
)

# The layout of wire.peer.ENTRY.
ENTRY_TYPE = np.dtype([("block", "<u8"), ("digest", f"V{DIGEST_BYTES}"), ("flags", "u1"), ("pad", "V7")])
Entries = NDArray[np.void]

ReadInto = Callable[[memoryview], None]


def cycle_digest(cycle: str) -> bytes:
    """What a frame's header says of the cycle that it belongs to."""
    return blake3(cycle.encode()).digest(length=16)


@dataclass(frozen=True, slots=True)
class BuiltFrame:
    """A frame ready to be sent: header with table, then the payload in pieces. `digests` are those of its blocks."""

    head: bytes
    payload: list[memoryview]
    digests: bytes

    @property
    def payload_size(self) -> int:
        return sum(len(piece) for piece in self.payload)

    @property
    def size(self) -> int:
        return len(self.head) + self.payload_size


def build_frame(blocks: Blocks, content: memoryview, *, sequence: int, generation: int, cycle: bytes) -> BuiltFrame:
    """Make a frame of ascending blocks whose content lies one after the other in `content`, which it keeps using."""
    zero = zero_blocks(content)
    digests = b"".join(digests_of(content, zero))
    table = np.zeros(len(blocks), dtype=ENTRY_TYPE)
    table["block"] = blocks
    table["digest"] = np.frombuffer(digests, dtype=f"V{DIGEST_BYTES}")
    table["flags"] = np.where(zero, FLAG_ZERO, 0)
    pieces = [
        content[first * BLOCK_BYTES : (first + count) * BLOCK_BYTES] for _, first, count in runs(np.flatnonzero(~zero))
    ]
    size = sum(len(piece) for piece in pieces)
    header = FrameHeader(
        sequence=sequence,
        blocks=len(blocks),
        raw_bytes=size,
        stored_bytes=size,
        generation=generation,
        cycle=cycle,
    )
    return BuiltFrame(header.pack(table.tobytes()), pieces, digests)


@dataclass(frozen=True, slots=True)
class ReceivedFrame:
    """A frame that was checked. `payload` is only valid until the next one is read."""

    header: FrameHeader
    entries: Entries
    head: bytes
    payload: memoryview

    @property
    def size(self) -> int:
        return len(self.head) + len(self.payload)


class FrameReader:
    """Reads and checks frames from anything that fills a buffer; one payload buffer serves them all."""

    def __init__(self, read_into: ReadInto) -> None:
        self._read_into = read_into
        self._buffer = memoryview(bytearray(FRAME_BLOCKS * BLOCK_BYTES))

    def read(self) -> ReceivedFrame:
        """CorruptFrame when CRC, bounds, table or a digest does not hold."""
        head = self._take(HEADER_BYTES)
        try:
            header = FrameHeader.unpack(head)
        except ValueError as error:
            raise CorruptFrame(str(error)) from error
        table = self._take(header.table_bytes)
        if not crc_holds(head, table):
            raise CorruptFrame(f"frame {header.sequence}: the CRC of header and table does not hold")
        entries: Entries = np.frombuffer(table, dtype=ENTRY_TYPE)
        payload = self._buffer[: header.stored_bytes]
        self._read_into(payload)
        _check_payload(header, entries, payload)
        return ReceivedFrame(header, entries, head + table, payload)

    def _take(self, count: int) -> bytes:
        buffer = bytearray(count)
        self._read_into(memoryview(buffer))
        return bytes(buffer)


def _check_payload(header: FrameHeader, entries: Entries, payload: memoryview) -> None:
    blocks = entries["block"]
    if np.any(blocks[1:] <= blocks[:-1]):
        raise CorruptFrame(f"frame {header.sequence}: its blocks are not in order")
    zero = (entries["flags"] & FLAG_ZERO) != 0
    if int(np.count_nonzero(~zero)) * BLOCK_BYTES != len(payload):
        raise CorruptFrame(f"frame {header.sequence}: {len(payload)} bytes of payload do not fit its table")
    position = 0
    for expected, empty, block in zip(entries["digest"], zero.tolist(), blocks.tolist(), strict=True):
        found = ZERO_DIGEST if empty else digest(payload[position : position + BLOCK_BYTES])
        if found != expected.tobytes():
            raise CorruptFrame(f"frame {header.sequence}: block {block} does not match its digest")
        position += 0 if empty else BLOCK_BYTES
