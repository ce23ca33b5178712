"""Bandwidth of a VM whose initial replication may stand still."""

from __future__ import annotations

import threading
from collections.abc import Callable

from secondsite.agent.lab.engine import Stopped, TokenBucket

_TICK_SECONDS = 0.2


class StallingBucket(TokenBucket):
    """The site's bucket, but where `stalled` it gives no more than `allowed` bytes until that is over."""

    def __init__(self, bucket: TokenBucket, stalled: Callable[[], object], allowed: int) -> None:
        super().__init__()
        self._bucket = bucket
        self._stalled = stalled
        self._left = allowed

    @property
    def rate(self) -> float | None:
        """As the site's."""
        return self._bucket.rate

    @rate.setter
    def rate(self, rate: float | None) -> None:
        self._bucket.rate = rate

    @property
    def slice_bytes(self) -> int:
        """How much to ask for at a time."""
        return self._bucket.slice_bytes

    def take(self, count: int, stop: threading.Event) -> None:
        """Wait until `count` bytes may be sent. Stopped when `stop` is set meanwhile."""
        while self._left < count and self._stalled():
            if stop.wait(_TICK_SECONDS):
                raise Stopped("stopped while initial replication stood still")
        self._left -= count
        self._bucket.take(count, stop)
