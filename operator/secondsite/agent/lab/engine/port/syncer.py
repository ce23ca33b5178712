"""Making frames durable while more of them arrive: neither disk nor network waits for the other."""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

from secondsite.agent.lab.engine.replica.part import IncomingPart

_SYNC_BYTES = 8 << 20
_SYNC_SECONDS = 0.2
# A disk that is slower than the link must slow it down, not fill the memory.
_MOST_BYTES = 128 << 20


class Syncer:
    """For one PUT of frames; when its block ends, all that came is durable. OSError when the disk failed."""

    def __init__(self, part: IncomingPart) -> None:
        self._part = part
        # Its thread starts with the first use: a short cycle needs none.
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="sync")
        self._running: Future[int] | None = None
        self._waiting_bytes = 0
        self._since = time.monotonic()

    def came(self, count: int) -> None:
        """A frame of `count` bytes was appended."""
        self._waiting_bytes += count
        if self._running is not None and (self._running.done() or self._waiting_bytes >= _MOST_BYTES):
            self._running.result()
            self._running = None
        due = self._waiting_bytes >= _SYNC_BYTES or time.monotonic() - self._since >= _SYNC_SECONDS
        if self._running is None and due:
            self._running = self._pool.submit(self._part.sync)
            self._waiting_bytes, self._since = 0, time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()
        # Rather than that another writer has taken over, which follows from it.
        if self._running is not None:
            self._running.result()
        self._part.sync()
