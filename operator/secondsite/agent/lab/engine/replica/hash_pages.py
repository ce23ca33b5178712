"""The replica's hashes of consecutive blocks: those kept beside them, or the blocks read again."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from secondsite.agent.lab.engine.blocks import DIGEST, PIECE_BLOCKS, ZERO_DIGEST, Digests, digest, xxh3_list
from secondsite.agent.lab.engine.durable import read_into
from secondsite.agent.lab.engine.replica.base import BaseImage
from secondsite.agent.lab.engine.replica.layer import Layer
from secondsite.wire.peer import BLOCK_BYTES, DIGEST_BYTES, FLAG_ZERO

# In place of a hash: no content has it, so the block is sent anew.
DAMAGED = b"\xff" * DIGEST_BYTES
_ZERO = np.void(ZERO_DIGEST)
_NO_FILE = -1


@dataclass(frozen=True, slots=True)
class _Blocks:
    """Per block: its file (or none), where in it, and both digests that came with it."""

    files: NDArray[np.int64]
    offsets: NDArray[np.int64]
    digests: Digests
    kept: Digests


def stored_hashes(base: BaseImage, layers: Sequence[Layer], first: int, count: int) -> Digests:
    """The XXH3-128 kept beside consecutive blocks under `layers`, oldest first. Nothing but lists is read."""
    return _look_up(base, layers, first, count).kept


def read_hashes(base: BaseImage, layers: Sequence[Layer], first: int, count: int) -> Digests:
    """The XXH3-128 of consecutive blocks as they are stored now; all ones for one that is not what came.

    A block that still has the XXH3 kept beside it is what came, unless somebody who can write here took pains to feign
    it; so the slower digest is asked only where they differ. A scrub asks it of every block.
    """
    blocks = _look_up(base, layers, first, count)
    found = blocks.kept.copy()
    buffer = memoryview(bytearray(PIECE_BLOCKS * BLOCK_BYTES))
    for start, end in _stretches(blocks):
        content = buffer[: (end - start) * BLOCK_BYTES]
        file = int(blocks.files[start])
        found[start:end] = _hashes_in(layers[file].fd if file < len(layers) else base.fd, blocks, start, content)
    return found


def _hashes_in(fd: int, blocks: _Blocks, start: int, content: memoryview) -> Digests:
    end = start + len(content) // BLOCK_BYTES
    try:
        done = read_into(fd, content, int(blocks.offsets[start]))
    except OSError:
        # The disk refuses one of them: a few blocks more on the wire are cheaper than asking which.
        return np.full(end - start, DAMAGED, dtype=DIGEST)
    content[done:] = bytes(len(content) - done)
    found = xxh3_list(content).copy()
    for index in np.flatnonzero(found != blocks.kept[start:end]).tolist():
        block = content[index * BLOCK_BYTES : (index + 1) * BLOCK_BYTES]
        if digest(block) != blocks.digests[start + index].tobytes():
            found[index] = DAMAGED
    return found


def _look_up(base: BaseImage, layers: Sequence[Layer], first: int, count: int) -> _Blocks:
    offsets = np.arange(first, first + count, dtype=np.int64) * BLOCK_BYTES
    digests, kept = base.digests(first, count), base.xxh3(first, count)
    files = np.where(digests == _ZERO, _NO_FILE, len(layers))
    # The lists of the base vouch for each other.
    kept[(digests == _ZERO) != (kept == _ZERO)] = DAMAGED
    for number, layer in enumerate(layers):
        if layer.lost:
            kept[:], files[:] = DAMAGED, _NO_FILE
        entries = layer.between(first, first + count)
        at = entries["block"].astype(np.int64) - first
        files[at] = np.where(entries["flags"] & FLAG_ZERO, _NO_FILE, number)
        offsets[at], digests[at], kept[at] = entries["offset"], entries["digest"], entries["xxh3"]
    return _Blocks(files, offsets, digests, kept)


def _stretches(blocks: _Blocks) -> Iterator[tuple[int, int]]:
    """(first, end) of blocks that lie in one file one after the other, in pieces; those without a file left out."""
    files = blocks.files
    breaks = (np.diff(files, prepend=-9) != 0) | (np.diff(blocks.offsets, prepend=-1) != BLOCK_BYTES)
    starts = np.flatnonzero(breaks)
    for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(files)], strict=True):
        if files[start] != _NO_FILE:
            for piece in range(start, end, PIECE_BLOCKS):
                yield piece, min(piece + PIECE_BLOCKS, end)
