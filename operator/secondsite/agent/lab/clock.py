"""The lab's clock: wall time is what it is, and the hypervisor's intervals pass `hurry` times faster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from secondsite.agent.lab.datacentre import Knobs


def utc_now() -> datetime:
    """Now, aware, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class LabClock:
    """Intervals as the lab lives them, in seconds of the wall."""

    hurry: float
    knobs: Knobs
    now: Callable[[], datetime] = utc_now

    def scaled(self, seconds: float) -> float:
        """Seconds of Hyper-V in seconds of the wall."""
        return seconds / self.hurry

    @property
    def retry(self) -> timedelta:
        """How long a half waits after a failed cycle (Hyper-V: five minutes, event 32315)."""
        return timedelta(seconds=self.scaled(self.knobs.retry_seconds))

    @property
    def monitoring_seconds(self) -> float:
        """Length of the monitoring window."""
        return self.scaled(self.knobs.monitoring_seconds)

    @property
    def point_spacing_seconds(self) -> float:
        """Least distance between kept recovery points (Hyper-V: an hour)."""
        return self.scaled(self.knobs.point_spacing_seconds)

    def retention_seconds(self, hours: int) -> float:
        """How long a recovery point is kept."""
        return self.scaled(hours * 3600)
