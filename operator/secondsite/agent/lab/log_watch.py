"""Looks at the log of changes of a primary once per interval, also while its cycle runs or rests."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from secondsite.agent.lab import cycles, triggers
from secondsite.agent.lab.clock import LabClock
from secondsite.agent.lab.engine import ReplicationSource
from secondsite.agent.lab.state import Half
from secondsite.wire.facts import State

_LOGGING: frozenset[State] = frozenset(
    {"InitialReplicationInProgress", "Replicating", "Suspended", "Error", "Resynchronizing"}
)


def full(half: Half, source: ReplicationSource, clock: LabClock) -> bool:
    """Whether the log of changes holds more than it may. Of a map that is not trusted it says nothing."""
    if not source.map_trusted and half.state != "Resynchronizing":
        return False
    pending = source.progress().pending_bytes
    return triggers.log_full(half, pending, source.written_bytes, sum(source.sizes.values()), clock)


class LogWatch:
    """A work of its own beside the primary's: a cycle that does not get through is what makes a log grow."""

    group = ""

    def __init__(self, half: Callable[[], Half | None], look: Callable[[], None], clock: LabClock) -> None:
        self._half = half
        self._look = look
        self._clock = clock
        self._looked: datetime | None = None

    def pause(self) -> float | None:
        """Seconds until the next look; None where nothing is logged."""
        half = self._half()
        if half is None or half.state not in _LOGGING:
            return None
        every = cycles.interval(half, self._clock)
        if self._looked is None:
            return every
        return max(0.0, min(every, every - (self._clock.now() - self._looked).total_seconds()))

    def turn(self) -> None:
        """One look."""
        self._looked = self._clock.now()
        half = self._half()
        if half is not None and half.state in _LOGGING:
            self._look()
