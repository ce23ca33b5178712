"""Frames: up to 64 blocks with their digests, as they go over the wire and as they lie in a layer file."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec
import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from secondsite.agent.lab.engine.blocks import ZERO_DIGEST, Blocks, digest, digests_of, runs, zero_blocks
from secondsite.agent.lab.engine.errors import CorruptFrame
from secondsite.agent.lab.engine.port.codec import compress, decompress_into
from secondsite.wire.peer import (
    BLOCK_BYTES,
    CODEC_BYTES,
    DIGEST_BYTES,
    FLAG_ZERO,
    FRAME_BLOCKS,
    HEADER_BYTES,
    Codec,
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
    """A frame ready to be sent: header with table, then the payload in pieces. `digests` are those of its blocks.

    `raw_bytes` are those of its blocks that are not zero, however small the payload is packed.
    """

    head: bytes
    payload: list[memoryview]
    digests: bytes
    raw_bytes: int

    @property
    def payload_size(self) -> int:
        return sum(len(piece) for piece in self.payload)

    @property
    def size(self) -> int:
        return len(self.head) + self.payload_size


def build_frame(
    blocks: Blocks, content: memoryview, *, sequence: int, generation: int, cycle: bytes, level: int | None = None
) -> BuiltFrame:
    """Make a frame of ascending blocks whose content lies one after the other in `content`, which it keeps using.

    With `level` the payload is compressed where that pays.
    """
    zero = zero_blocks(content)
    digests = b"".join(digests_of(content, zero))
    table = np.zeros(len(blocks), dtype=ENTRY_TYPE)
    table["block"] = blocks
    table["digest"] = np.frombuffer(digests, dtype=f"V{DIGEST_BYTES}")
    table["flags"] = np.where(zero, FLAG_ZERO, 0)
    pieces = [
        content[first * BLOCK_BYTES : (first + count) * BLOCK_BYTES] for _, first, count in runs(np.flatnonzero(~zero))
    ]
    raw_bytes = sum(len(piece) for piece in pieces)
    packed = None if level is None else compress(pieces, level)
    header = FrameHeader(
        sequence=sequence,
        blocks=len(blocks),
        raw_bytes=raw_bytes,
        stored_bytes=raw_bytes if packed is None else len(packed),
        generation=generation,
        cycle=cycle,
        codec=CODEC_BYTES[Codec.Raw if packed is None else Codec.Zstd],
    )
    payload = pieces if packed is None else [memoryview(packed)]
    return BuiltFrame(header.pack(table.tobytes()), payload, digests, raw_bytes)


@dataclass(frozen=True, slots=True)
class ReceivedFrame:
    """A frame that was checked, as it is stored: unpacked. `payload` is only valid until the next one is read."""

    header: FrameHeader
    entries: Entries
    head: bytes
    payload: memoryview

    @property
    def size(self) -> int:
        return len(self.head) + len(self.payload)


class FrameReader:
    """Reads and checks frames from anything that fills a buffer; one payload buffer serves them all.

    `codecs` are those that may come: a file holds raw frames only.
    """

    def __init__(self, read_into: ReadInto, *, codecs: Iterable[Codec] = (Codec.Raw,)) -> None:
        self._read_into = read_into
        self._codecs = frozenset(CODEC_BYTES[codec] for codec in codecs)
        # Not zeroed: who sends little, or nothing, takes no more memory than that.
        self._buffer = np.empty(FRAME_BLOCKS * BLOCK_BYTES, dtype=np.uint8).data

    def read(self, size: int | None = None) -> ReceivedFrame:
        """CorruptFrame when CRC, bounds, table or a digest does not hold, or the frame is not of `size` bytes."""
        head = self._take(HEADER_BYTES)
        header = self._header(head, size)
        table = self._take(header.table_bytes)
        if not crc_holds(head, table):
            raise CorruptFrame(f"frame {header.sequence}: the CRC of header and table does not hold")
        entries: Entries = np.frombuffer(table, dtype=ENTRY_TYPE)
        _check_table(header, entries)
        payload = self._payload(header)
        _check_payload(header, entries, payload)
        if header.codec:
            header = msgspec.structs.replace(header, codec=0, stored_bytes=header.raw_bytes)
        return ReceivedFrame(header, entries, header.pack(table), payload)

    def _header(self, head: bytes, size: int | None) -> FrameHeader:
        try:
            header = FrameHeader.unpack(head)
        except ValueError as error:
            raise CorruptFrame(str(error)) from error
        if header.codec not in self._codecs:
            raise CorruptFrame(f"frame {header.sequence}: codec {header.codec} has no place here")
        found = HEADER_BYTES + header.table_bytes + header.stored_bytes
        if size is not None and found != size:
            raise CorruptFrame(f"frame {header.sequence} has {found} bytes, its chunk {size}")
        return header

    def _payload(self, header: FrameHeader) -> memoryview:
        """What the blocks hold, not yet checked against their digests."""
        content = self._buffer[: header.raw_bytes]
        if header.codec == CODEC_BYTES[Codec.Raw]:
            self._read_into(content)
            return content
        packed = memoryview(bytearray(header.stored_bytes))
        self._read_into(packed)
        decompress_into(packed, content)
        return content

    def _take(self, count: int) -> bytes:
        buffer = bytearray(count)
        self._read_into(memoryview(buffer))
        return bytes(buffer)


def _check_table(header: FrameHeader, entries: Entries) -> None:
    """Before any byte of payload is read: the table says how many there are."""
    blocks = entries["block"]
    if np.any(blocks[1:] <= blocks[:-1]):
        raise CorruptFrame(f"frame {header.sequence}: its blocks are not in order")
    if np.any(entries["flags"] & ~np.uint8(FLAG_ZERO)):
        raise CorruptFrame(f"frame {header.sequence}: its table has flags that are not known here")
    data = int(np.count_nonzero((entries["flags"] & FLAG_ZERO) == 0))
    raw = header.codec == CODEC_BYTES[Codec.Raw]
    if data * BLOCK_BYTES != header.raw_bytes or (raw and header.stored_bytes != header.raw_bytes):
        sizes = f"{header.raw_bytes} bytes of payload, {header.stored_bytes} of them stored,"
        raise CorruptFrame(f"frame {header.sequence}: {sizes} do not fit its table")


def _check_payload(header: FrameHeader, entries: Entries, payload: memoryview) -> None:
    position = 0
    empty = ((entries["flags"] & FLAG_ZERO) != 0).tolist()
    for expected, zero, block in zip(entries["digest"], empty, entries["block"].tolist(), strict=True):
        found = ZERO_DIGEST if zero else digest(payload[position : position + BLOCK_BYTES])
        if found != expected.tobytes():
            raise CorruptFrame(f"frame {header.sequence}: block {block} does not match its digest")
        position += 0 if zero else BLOCK_BYTES
