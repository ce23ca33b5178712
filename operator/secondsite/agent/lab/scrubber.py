"""Reads the site's replicas again and again, slowly, so that damage is found before somebody needs the point."""

from __future__ import annotations

import threading
from collections.abc import Callable

from secondsite.agent.lab.clock import LabClock
from secondsite.agent.lab.engine import TokenBucket
from secondsite.agent.lab.machinery import Runner
from secondsite.agent.lab.replica import ReplicaStore

_BYTES_PER_SECOND = 8 << 20
# A start is busy enough; but an agent that is restarted every day must come to it, too.
_FIRST_PAUSE_SECONDS = 3600.0
_PAUSE_SECONDS = 86400.0


class Scrubber:
    """One thread, one file at a time, whatever the number of replicas. `stores` gives those that there are."""

    def __init__(
        self,
        stores: Callable[[], list[ReplicaStore]],
        clock: LabClock,
        thread: Callable[[str, Callable[[], None]], Runner],
    ) -> None:
        self._stores = stores
        self._clock = clock
        self._budget = TokenBucket(_BYTES_PER_SECOND)
        self._stop = threading.Event()
        self._thread = thread("scrub", self._run)

    def start(self) -> None:
        """The first pass comes after an hour, the next ones a day after the end of the last; both are scaled."""
        self._thread.start()

    def stop(self) -> None:
        """End at once; the next start begins a new pass."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while not self._stop.wait(self._clock.scaled(pause)):
            for store in self._stores():
                if not self._stop.is_set():
                    store.scrub(self._stop, self._budget)
            pause = _PAUSE_SECONDS
