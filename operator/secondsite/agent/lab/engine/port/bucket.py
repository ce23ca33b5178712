"""The bandwidth limit that all streams of a sender share."""

import threading
import time

from secondsite.agent.lab.engine.errors import Stopped

# Small enough that a stop is noticed and that streams take turns, large enough not to cost speed.
SLICE_BYTES = 256 * 1024
_UNLIMITED_SLICE_BYTES = 1024 * 1024
_SMALLEST_SLICE = 4096
_LONGEST_WAIT_SECONDS = 0.2
# What a sender may make up for: it reads, hashes and compresses 4 MiB between two sends.
_BURST_SECONDS = 0.1


class TokenBucket:
    """At most `rate` bytes per second over any longer time, None for no limit; may be changed at any time."""

    def __init__(self, rate: float | None = None) -> None:
        self._condition = threading.Condition()
        self._rate = _checked(rate)
        self._tokens = 0.0
        self._filled = time.monotonic()

    @property
    def rate(self) -> float | None:
        return self._rate

    @rate.setter
    def rate(self, rate: float | None) -> None:
        checked = _checked(rate)
        with self._condition:
            self._fill()
            self._rate = checked
            self._condition.notify_all()

    @property
    def slice_bytes(self) -> int:
        """How much to ask for at a time: a quarter of a second's worth, within bounds."""
        rate = self._rate
        return _UNLIMITED_SLICE_BYTES if rate is None else max(_SMALLEST_SLICE, min(SLICE_BYTES, int(rate / 4)))

    def take(self, count: int, stop: threading.Event) -> None:
        """Wait until `count` bytes may be sent. Stopped when `stop` is set meanwhile."""
        with self._condition:
            while True:
                if stop.is_set():
                    raise Stopped("stopped while waiting for bandwidth")
                self._fill()
                # Credit before payment: one slice may overdraw, so that any slice fits any rate.
                if self._rate is None or self._tokens > 0:
                    self._tokens -= count
                    return
                self._condition.wait(min(_LONGEST_WAIT_SECONDS, (1 - self._tokens) / self._rate))

    def _fill(self) -> None:
        now = time.monotonic()
        passed, self._filled = now - self._filled, now
        if self._rate is None:
            self._tokens = 0.0
            return
        self._tokens = min(_BURST_SECONDS * self._rate, self._tokens + passed * self._rate)


def _checked(rate: float | None) -> float | None:
    # Written so that a NaN fails too.
    if rate is not None and not rate > 0:
        raise ValueError(f"a rate of {rate} bytes/s would never end; use None for no limit")
    return rate
