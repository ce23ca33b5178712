"""What a half counts, and the monitoring window that its health looks at: pure functions over plain values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum

import msgspec

from secondsite.wire.facts import Counters

# Hyper-V's default MonitoringStartTime is 09:00 (Get-VMReplicationServer); the lab's clock is UTC.
_ANCHOR = datetime(2020, 1, 1, 9, tzinfo=UTC)


class Kind(StrEnum):
    """Errors are counted apart, as the statistics of Hyper-V's WMI class Msvm_ReplicationStatistics are."""

    NETWORK = "network"
    REPLICATION = "replication"


class Window(msgspec.Struct, frozen=True):
    """Counters of Measure-VMReplication since `start`. Latencies in seconds, sizes in bytes."""

    start: datetime
    success: int = 0
    missed: int = 0
    """Cycles that were not delivered inside their interval: late ones, and attempts that failed."""
    replication_errors: int = 0
    network_errors: int = 0
    bytes_total: int = 0
    bytes_max: int = 0
    latency_total: float = 0
    latency_max: float = 0
    quiesce_failures: int = 0
    """Cycles that should have been application-consistent and are not."""
    followed: bool = False
    """It began where another one ended, not with the relation and not with a reset of the statistics."""

    def delivered(self, size: int, seconds: float, interval: float) -> Window:
        """One more cycle; a late one was delivered and is missed all the same, once: it queues no others."""
        return msgspec.structs.replace(
            self,
            success=self.success + 1,
            missed=self.missed + (1 if seconds > interval else 0),
            bytes_total=self.bytes_total + size,
            bytes_max=max(self.bytes_max, size),
            latency_total=self.latency_total + seconds,
            latency_max=max(self.latency_max, seconds),
        )

    def failed(self, kind: Kind) -> Window:
        """One attempt that came to nothing: an error of its kind, and a missed cycle."""
        return msgspec.structs.replace(
            self,
            missed=self.missed + 1,
            replication_errors=self.replication_errors + (kind is Kind.REPLICATION),
            network_errors=self.network_errors + (kind is Kind.NETWORK),
        )

    def not_quiesced(self) -> Window:
        """A cycle was delivered, but its guest could not be quiesced (Hyper-V counts failures of VSS apart)."""
        return msgspec.structs.replace(self, quiesce_failures=self.quiesce_failures + 1)

    @property
    def errors(self) -> int:
        """ReplicationErrors of Measure-VMReplication: all kinds together."""
        return self.replication_errors + self.network_errors + self.quiesce_failures

    @property
    def missed_percent(self) -> float:
        """Share of missed cycles among all that were tried."""
        tried = self.success + self.replication_errors + self.network_errors
        return 100 * self.missed / tried if tried else 0.0

    @property
    def average_bytes(self) -> float | None:
        """None before the first success."""
        return self.bytes_total / self.success if self.success else None

    @property
    def average_latency(self) -> float | None:
        """Seconds; None before the first success."""
        return self.latency_total / self.success if self.success else None


def current(window: Window, now: datetime, length_seconds: float) -> Window:
    """The window at `now`: a fresh one where a boundary (09:00 + k lengths) has passed since its start."""
    boundary = _boundary(now, length_seconds)
    return window if window.start >= boundary else Window(start=boundary, followed=True)


def turned(window: Window, now: datetime, length_seconds: float) -> dict[str, object]:
    """What changes in a half whose window ended before `now`; nothing while it lasts."""
    fresh = current(window, now, length_seconds)
    return {} if fresh is window else {"window": fresh}


def ended(before: Window, after: Window) -> bool:
    """Whether `after` took the place of `before` at a boundary. A reset of the statistics ends nothing."""
    return after.followed and after.start > before.start


def expected(window: Window, interval_seconds: float, now: datetime) -> int:
    """Cycles that were due since the window's start."""
    return int(max(0.0, (now - window.start).total_seconds()) // interval_seconds)


def fact(window: Window, interval_seconds: float, now: datetime, length_seconds: float) -> Counters:
    """What the contract tells of the window at `now`. Both durations in seconds of the wall."""
    shown = current(window, now, length_seconds)
    return Counters(
        start=shown.start,
        end=_boundary(max(now, shown.start), length_seconds) + timedelta(seconds=length_seconds),
        expected=expected(shown, interval_seconds, now),
        successful=shown.success,
        missed=shown.missed,
        replication_errors=shown.replication_errors,
        network_errors=shown.network_errors,
        vss_errors=shown.quiesce_failures,
        total_bytes=shown.bytes_total,
        largest_bytes=shown.bytes_max,
        average_bytes=shown.average_bytes,
        average_latency_seconds=shown.average_latency,
        largest_latency_seconds=shown.latency_max,
    )


def _boundary(now: datetime, length_seconds: float) -> datetime:
    whole = (now - _ANCHOR).total_seconds() // length_seconds
    return _ANCHOR + timedelta(seconds=whole * length_seconds)
