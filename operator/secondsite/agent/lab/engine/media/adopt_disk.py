"""One disk file as the base of a replica: copied where it has to be, hashed with both digests, sparse."""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from secondsite.agent.lab.engine.blocks import (
    PIECE_BLOCKS,
    block_count,
    block_span,
    digests_of,
    runs,
    xxh3_list,
    zero_blocks,
)
from secondsite.agent.lab.engine.durable import data_extents, read_into, sync_directory, write_all
from secondsite.wire.peer import BLOCK_BYTES, DIGEST_BYTES

# How often what was hashed is made durable, so that a kill does not cost it.
STEP_BLOCKS = 4096
_THREADS = 2


def make_base(folder: Path, size: int, source: Path | None, hashed: int, note: Callable[[int], None]) -> None:
    """Fill `base.raw` from `source` (None: it is in place) and write the lists of its digests, from block `hashed` on.

    `note` hears how many blocks are durable.
    """
    with _opened(folder / "base.raw", size) as files, contextlib.ExitStack() as stack:
        copied_from = None if source is None else stack.enter_context(_reading(source))
        extents = data_extents(files[0] if copied_from is None else copied_from, size)
        for first in range(hashed, block_count(size), STEP_BLOCKS):
            _hash_step(files, copied_from, _pieces(extents, first, first + STEP_BLOCKS))
            note(first + STEP_BLOCKS)


@contextlib.contextmanager
def _opened(base: Path, size: int) -> Iterator[tuple[int, int, int]]:
    """Descriptors of base.raw, base.hashes and base.xxh3, each as long as it must be."""
    count = block_count(size)
    lengths = {"raw": count * BLOCK_BYTES, "hashes": count * DIGEST_BYTES, "xxh3": count * DIGEST_BYTES}
    files = []
    try:
        for suffix, length in lengths.items():
            fd = os.open(base.with_suffix(f".{suffix}"), os.O_RDWR | os.O_CREAT, 0o600)
            files.append(fd)
            os.ftruncate(fd, length)
        # What is noted as done must not be lost with the file's name.
        sync_directory(base.parent)
        yield files[0], files[1], files[2]
    finally:
        for fd in files:
            os.close(fd)


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


def _hash_step(files: tuple[int, int, int], copied_from: int | None, pieces: Iterable[tuple[int, int]]) -> None:
    """Copy (unless it is in place) and hash some blocks, durably."""
    raw, hashes, quick = files
    source = raw if copied_from is None else copied_from

    def take(piece: tuple[int, int]) -> None:
        first, count = piece
        content = memoryview(bytearray(count * BLOCK_BYTES))
        read_into(source, content, first * BLOCK_BYTES)
        zero = zero_blocks(content)
        if copied_from is not None:
            for _, index, length in runs(np.flatnonzero(~zero)):
                part = content[index * BLOCK_BYTES : (index + length) * BLOCK_BYTES]
                write_all(raw, part, (first + index) * BLOCK_BYTES)
        write_all(hashes, b"".join(digests_of(content, zero)), first * DIGEST_BYTES)
        write_all(quick, xxh3_list(content).tobytes(), first * DIGEST_BYTES)

    with ThreadPoolExecutor(_THREADS, thread_name_prefix="adopt") as pool:
        list(pool.map(take, pieces))
    for fd in files:
        os.fdatasync(fd)


def _pieces(extents: Sequence[tuple[int, int]], first: int, end: int) -> Iterator[tuple[int, int]]:
    """(block, count) of what may hold data; holes are zero blocks, whose digests are zero as well."""
    done = first
    for start, stop in extents:
        position, last = block_span(start, stop - start)
        for piece in range(max(position, done), min(last, end), PIECE_BLOCKS):
            yield piece, min(PIECE_BLOCKS, min(last, end) - piece)
        done = max(done, min(last, end))
