"""What everything that goes to one peer shares: how fast the link is, and who may use it now."""

import contextlib
import threading
from collections.abc import Iterator

from secondsite.agent.lab.engine.errors import Stopped
from secondsite.agent.lab.engine.port.codec import LinkSpeed
from secondsite.agent.lab.engine.port.idle import IdleChannels

# With three connections each they stay below what a peer grants one address (`server`).
_CYCLES = 32
_LONGEST_WAIT_SECONDS = 0.2


class Link:
    """One per peer, for as long as the process lives. `keep`: how many connections stay open between cycles."""

    def __init__(self, keep: int = 0) -> None:
        self.speed = LinkSpeed()
        self.idle = IdleChannels(keep)
        self._places = threading.Semaphore(_CYCLES)

    @contextlib.contextmanager
    def turn(self, stop: threading.Event) -> Iterator[None]:
        """Wait until fewer than 32 cycles are under way to this peer. Stopped when `stop` is set meanwhile."""
        while not self._places.acquire(timeout=_LONGEST_WAIT_SECONDS):
            if stop.is_set():
                raise Stopped("stopped while other cycles had the link")
        try:
            yield
        finally:
            self._places.release()
