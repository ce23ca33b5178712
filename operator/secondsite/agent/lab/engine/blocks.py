"""Blocks of 64 KiB: which ones a range touches, their digests, which are zero."""

from typing import Final

import numpy as np
import xxhash
from blake3 import blake3
from numpy.typing import NDArray

from secondsite.wire.peer import BLOCK_BYTES, DIGEST_BYTES

Blocks = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Digests = NDArray[np.void]

DIGEST = np.dtype((np.void, DIGEST_BYTES))
ZERO_DIGEST = bytes(DIGEST_BYTES)
# How many are read and hashed at once: larger pieces fall out of a core's own cache between the two.
PIECE_BLOCKS = 16


def block_count(size: int) -> int:
    """How many blocks a disk of `size` bytes has; the last may be short and counts as padded with zeros."""
    return -(-size // BLOCK_BYTES)


def block_span(offset: int, length: int) -> tuple[int, int]:
    """First block and one past the last that a range of at least one byte touches."""
    return offset // BLOCK_BYTES, -(-(offset + length) // BLOCK_BYTES)


def digest(block: memoryview | bytes) -> bytes:
    """BLAKE3 of one block, 16 bytes; all zero for a zero block, which has no payload anywhere."""
    return blake3(block).digest(length=DIGEST_BYTES)


def true_digest(block: memoryview | bytes) -> bytes:
    """`digest`, of a block that may hold nothing but zeros."""
    return ZERO_DIGEST if bytes(block) == _ZEROS else digest(block)


def xxh3_list(buffer: memoryview) -> Digests:
    """The XXH3-128 of each block of a buffer of whole blocks."""
    hash_of = xxhash.xxh3_128_digest
    words = [hash_of(buffer[start : start + BLOCK_BYTES]) for start in range(0, len(buffer), BLOCK_BYTES)]
    found = np.frombuffer(bytearray(b"".join(words)), dtype=DIGEST)
    found[found == _ZEROS_XXH3_VOID] = ZERO_DIGEST
    return found


_ZEROS: Final = bytes(BLOCK_BYTES)
_ZEROS_XXH3: Final = xxhash.xxh3_128_digest(_ZEROS)
_ZEROS_XXH3_VOID: Final = np.void(_ZEROS_XXH3)


def xxh3(block: memoryview | bytes) -> bytes:
    """XXH3-128 of one block, 16 bytes; all zero for a zero block. Quick, and no defence against anybody: to compare."""
    found = xxhash.xxh3_128_digest(block)
    return ZERO_DIGEST if found == _ZEROS_XXH3 else found


def zero_blocks(buffer: memoryview) -> NDArray[np.bool_]:
    """Which blocks of a buffer of whole blocks hold nothing but zeros."""
    words = np.frombuffer(buffer, dtype=np.uint64).reshape(-1, BLOCK_BYTES // 8)
    return np.asarray(~words.any(axis=1))


def digests_of(buffer: memoryview, zero: NDArray[np.bool_]) -> list[bytes]:
    """The digest of each block of a buffer of whole blocks."""
    return [
        ZERO_DIGEST if empty else digest(buffer[start : start + BLOCK_BYTES])
        for empty, start in zip(zero.tolist(), range(0, len(buffer), BLOCK_BYTES), strict=True)
    ]


def runs(blocks: Blocks) -> list[tuple[int, int, int]]:
    """Ascending blocks as (index of the first, block number, how many follow each other without a gap)."""
    if len(blocks) == 0:
        return []
    starts = np.flatnonzero(np.diff(blocks, prepend=blocks[0] - 2) != 1)
    counts = np.diff(starts, append=len(blocks))
    return list(zip(starts.tolist(), blocks[starts].tolist(), counts.tolist(), strict=True))


def root_of(digests: bytes) -> str:
    """The hex digest over the concatenated digests of a cycle's blocks, in block order."""
    return blake3(digests).hexdigest()
