"""How far a cycle has come, and how fast."""

import threading
import time
from collections import deque

_WINDOW_SECONDS = 2.0


class Meter:
    """Counts bytes of blocks and bytes on the wire; the rate is taken over the last two seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._samples: deque[tuple[float, int]] = deque()
        self.sent = 0
        self.wire = 0

    def add(self, blocks_bytes: int, wire_bytes: int) -> None:
        with self._lock:
            self.sent += blocks_bytes
            self.wire += wire_bytes
            self._samples.append((time.monotonic(), blocks_bytes))
            self._forget()

    @property
    def rate(self) -> float:
        """Bytes of blocks per second."""
        with self._lock:
            self._forget()
            return sum(count for _, count in self._samples) / _WINDOW_SECONDS

    def _forget(self) -> None:
        oldest = time.monotonic() - _WINDOW_SECONDS
        while self._samples and self._samples[0][0] < oldest:
            self._samples.popleft()
