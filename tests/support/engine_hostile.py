"""Frames that no honest sender makes, and whether the good ones are taken all the same."""

import msgspec
import zstandard

from secondsite.agent.lab.engine.blocks import root_of
from secondsite.wire.peer import ENTRY, HEADER_BYTES, CycleCommit, DiskCommit
from support.engine_pair import BLOCK, Pair, pattern
from support.engine_wire import COMMIT, forged, frame, patched, request, talk

MIB = 1 << 20
TABLE_END = HEADER_BYTES + 64 * ENTRY.size


def code_of(answer: bytes) -> str:
    assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 507")), answer[:80]
    return str(msgspec.json.decode(answer.partition(b"\r\n\r\n")[2])["code"])


def bomb(content_bytes: int, claimed: int | None = None) -> bytes:
    """A small zstd frame of many zeros, that names another size of them if wished."""
    packed = bytearray(zstandard.ZstdCompressor(level=19).compress(bytes(content_bytes)))
    if claimed is not None:
        # Frame header: magic, descriptor (4-byte content size, no window byte), content size.
        assert packed[4] >> 6 == 2
        size_at = 5 if packed[4] & 0x20 else 6
        packed[size_at : size_at + 4] = claimed.to_bytes(4, "little")
    return bytes(packed)


RAW = frame(0)
PACKED = frame(0, level=1)
HALF = 32 * BLOCK

BAD_FRAMES = {
    "a bomb that says what it is": forged(PACKED, bomb(256 * MIB), stored_bytes=len(bomb(256 * MIB))),
    "a bomb that claims to be small": forged(
        PACKED, bomb(256 * MIB, 4 * MIB), stored_bytes=len(bomb(256 * MIB, 4 * MIB))
    ),
    "fewer bytes than the table says": forged(PACKED, bomb(HALF), stored_bytes=len(bomb(HALF))),
    "no zstd at all": forged(PACKED, b"x" * 100, stored_bytes=100),
    "zstd with something behind it": forged(
        PACKED, PACKED[TABLE_END:] + b"x", stored_bytes=len(PACKED) - TABLE_END + 1
    ),
    "packed, but said to be raw": forged(PACKED, codec=0),
    "raw, but said to be packed": forged(RAW, codec=1),
    "raw bytes that the table does not have": forged(PACKED, raw_bytes=HALF),
    "raw bytes that are no blocks": forged(RAW, raw_bytes=4 * MIB - 1, stored_bytes=4 * MIB - 1),
    "a packed frame of nothing": forged(RAW, b"", codec=1, raw_bytes=0, stored_bytes=0),
    "a wrong digest": patched(RAW, HEADER_BYTES + 8, b"\x00\x01"),
    "a wrong digest in a packed frame": patched(PACKED, HEADER_BYTES + 8, b"\x00\x01"),
    "a zero block that is none": patched(RAW, HEADER_BYTES + 24, b"\x01"),
    "flags that nobody knows": patched(RAW, HEADER_BYTES + 24, b"\x02"),
    "a block number twice": patched(RAW, HEADER_BYTES + ENTRY.size, bytes(8)),
    "a block beyond the disk": patched(RAW, HEADER_BYTES + 63 * ENTRY.size, (200).to_bytes(8, "little")),
    "a block beyond every disk": patched(RAW, HEADER_BYTES + 63 * ENTRY.size, b"\xff" * 8),
    "a version that is not spoken": patched(RAW, 4, b"\x02\x00"),
    "a codec that is not known": patched(RAW, 6, b"\x09"),
    "another cycle": frame(0, cycle="c2", level=1),
    "another generation": frame(0, generation=2, level=1),
    "a later frame": frame(1, level=1),
    "a frame longer than its chunk": RAW[:-BLOCK],
    "a frame shorter than its chunk": RAW + b"x",
    "a chunk of a header only": RAW[:HEADER_BYTES],
}


def commits(pair: Pair) -> bool:
    """Whether the cycle, once all is there, becomes a point with what was sent."""
    sent = b"".join(pattern(number) for number in range(128))
    message = CycleCommit(disks={"a": DiskCommit(count=128, root=root_of(digests_of_good_frames()))})
    answer = talk(pair.server.port, request("POST", COMMIT, message))
    return answer.startswith(b"HTTP/1.1 200") and pair.target.read_point("c1", "a", 0, len(sent)) == sent


def digests_of_good_frames() -> bytes:
    entries = [raw[HEADER_BYTES + at * ENTRY.size :][8:24] for raw in (RAW, frame(1)) for at in range(64)]
    return b"".join(entries)
