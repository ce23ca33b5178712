"""Hashing a disk at the speed of its memory: large runs, holes left out, a few threads."""

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from secondsite.agent.lab.engine.blocks import DIGEST, PIECE_BLOCKS, Digests, block_span, xxh3_list
from secondsite.agent.lab.engine.durable import data_extents, read_padded
from secondsite.agent.lab.engine.primary.tracker import DiskTracker
from secondsite.wire.peer import BLOCK_BYTES

# More threads only fight for the cores.
THREADS = 2


class DiskScan:
    """The XXH3-128 of a disk's blocks, in the threads of `pool`; of no meaning once `stop` is set."""

    def __init__(self, tracker: DiskTracker, stop: threading.Event, pool: ThreadPoolExecutor) -> None:
        self._fd = tracker.disk.fd
        self._size = tracker.disk.size
        self._stop = stop
        self._pool = pool
        self._buffers = threading.local()

    def ahead(self, steps: Sequence[tuple[int, int]]) -> Iterator[Digests]:
        """The hashes of each (first block, count), in order; the next step is begun before one is given out.

        Only the end of the pool says that nobody reads from the disk any more.
        """
        waiting: deque[tuple[Digests, list[Future[None]]]] = deque()
        for step in steps:
            waiting.append(self._begin(*step))
            if len(waiting) > 1:
                yield _finished(*waiting.popleft())
        while waiting:
            yield _finished(*waiting.popleft())

    def _begin(self, first: int, count: int) -> tuple[Digests, list[Future[None]]]:
        found = np.zeros(count, dtype=DIGEST)
        # The threads share it: they are done at the same time, however slow one piece is.
        pieces = iter(list(self._pieces(first, first + count)))
        return found, [self._pool.submit(self._hash, found, first, pieces) for _ in range(THREADS)]

    def _hash(self, found: Digests, first: int, pieces: Iterator[tuple[int, int]]) -> None:
        buffer = self._buffer()
        for start, length in pieces:
            if self._stop.is_set():
                return
            content = buffer[: length * BLOCK_BYTES]
            read_padded(self._fd, content, start * BLOCK_BYTES)
            found[start - first : start - first + length] = xxh3_list(content)

    def _buffer(self) -> memoryview:
        found: memoryview | None = getattr(self._buffers, "content", None)
        if found is None:
            found = self._buffers.content = memoryview(bytearray(PIECE_BLOCKS * BLOCK_BYTES))
        return found

    def _pieces(self, first: int, end: int) -> Iterator[tuple[int, int]]:
        """(block, count) of what may hold data. Asked anew each time: guests fill holes."""
        done = first
        for begin, stop in data_extents(self._fd, min(self._size, end * BLOCK_BYTES), first * BLOCK_BYTES):
            low, high = block_span(begin, stop - begin)
            high = min(high, end)
            for start in range(max(low, done), high, PIECE_BLOCKS):
                yield start, min(PIECE_BLOCKS, high - start)
            done = max(done, high)


def _finished(found: Digests, futures: list[Future[None]]) -> Digests:
    for future in futures:
        future.result()
    return found
