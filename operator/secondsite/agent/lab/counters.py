"""What a half counts, and the monitoring window that its health looks at: pure functions over plain values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

# Hyper-V's default MonitoringStartTime is 09:00 (Get-VMReplicationServer); the lab's clock is UTC.
_ANCHOR = datetime(2020, 1, 1, 9, tzinfo=UTC)


class Window(msgspec.Struct, frozen=True):
    """Counters of Measure-VMReplication since `start`. Latencies in seconds, sizes in bytes."""

    start: datetime
    success: int = 0
    missed: int = 0
    errors: int = 0
    bytes_total: int = 0
    bytes_max: int = 0
    latency_total: float = 0
    latency_max: float = 0
    quiesce_failures: int = 0
    """Cycles that should have been application-consistent and are not."""

    def delivered(self, size: int, seconds: float, interval: float) -> Window:
        """One more cycle; late means that intervals passed without one."""
        return msgspec.structs.replace(
            self,
            success=self.success + 1,
            missed=self.missed + (1 if seconds > interval else 0),
            bytes_total=self.bytes_total + size,
            bytes_max=max(self.bytes_max, size),
            latency_total=self.latency_total + seconds,
            latency_max=max(self.latency_max, seconds),
        )

    def failed(self) -> Window:
        """One attempt that came to nothing: an error, and a missed cycle."""
        return msgspec.structs.replace(self, errors=self.errors + 1, missed=self.missed + 1)

    def not_quiesced(self) -> Window:
        """A cycle was delivered, but its guest could not be quiesced (Hyper-V counts failures of VSS apart)."""
        return msgspec.structs.replace(self, quiesce_failures=self.quiesce_failures + 1)

    @property
    def missed_percent(self) -> float:
        """Share of missed cycles among all that were due."""
        due = self.success + self.missed
        return 100 * self.missed / due if due else 0.0

    @property
    def average_latency(self) -> float | None:
        """Seconds; None before the first success."""
        return self.latency_total / self.success if self.success else None


def current(window: Window, now: datetime, length_seconds: float) -> Window:
    """The window at `now`: a fresh one where a boundary (09:00 + k lengths) has passed since its start."""
    boundary = _boundary(now, length_seconds)
    return window if window.start >= boundary else Window(start=boundary)


def _boundary(now: datetime, length_seconds: float) -> datetime:
    whole = (now - _ANCHOR).total_seconds() // length_seconds
    return _ANCHOR + timedelta(seconds=whole * length_seconds)
