"""Replication health of one half, as Hyper-V computes it over a monitoring window: a pure function.

Thresholds: "Monitor and troubleshoot Hyper-V Replica" (missed over 20 percent, behind by an hour, latency 5 minutes).
"""

from __future__ import annotations

from dataclasses import dataclass

from secondsite.wire.facts import Health, State


@dataclass(frozen=True)
class Sight:
    """What health is judged by. Seconds are as the lab hurries: already divided."""

    primary: bool
    state: State
    since_last_seconds: float | None
    """Since the last cycle was delivered or received; None before the first."""
    missed_percent: float
    latency_seconds: float | None
    failing: bool
    """The last attempt failed, and it was a repeated one."""
    unquiesced: bool = False
    """The last application-consistent cycle that was wanted became a crash-consistent one, within the window."""
    out_of_space: bool = False
    """The replica refused the last cycle for want of space."""
    points_damaged: bool = False
    newest_damaged: bool = False
    unreadable: bool = False
    """The replica's store cannot be opened."""


@dataclass(frozen=True)
class Limits:
    """Where a number becomes a warning."""

    missed_percent: float
    stale_seconds: float
    latency_seconds: float


@dataclass(frozen=True)
class Verdict:
    """Level, stable reason codes, and a sentence for each."""

    health: Health
    reasons: tuple[str, ...]
    message: str


_TEXTS = {
    "error-fix-and-resume": "Replication stopped on an error; mend its cause, then resume it",
    "resync-required": "Change tracking was lost; the VM must be resynchronized, NotImplemented in this version",
    "cannot-deliver": "Changes cannot be delivered at the moment; it is tried again",
    "out-of-space": "The replica's storage has no room for the next cycle; every point is kept, and it is tried again",
    "replica-unreadable": "The replica's files cannot be opened: no recovery point can be used until they are mended",
    "newest-point-damaged": "The newest recovery point cannot be read in full; choose an older one until it is mended",
    "points-damaged": "Some recovery points cannot be read in full; blocks that the source still holds come back",
    "paused": "Replication is suspended",
    "ir-pending": "Initial replication has not finished",
    "behind-over-one-hour": "Nothing was replicated for more than an hour of the monitoring clock",
    "missed-over-20-percent": "More than the allowed share of replication cycles was missed",
    "latency-over-5-minutes": "Cycles take longer than the allowed average latency",
    "app-consistent-failed": "The guest could not be quiesced: the recovery point is only crash-consistent",
}


def judge(sight: Sight, limits: Limits) -> Verdict:
    """Critical wins over Warning; every reason is told."""
    if sight.state == "Disabled":
        return Verdict("NotApplicable", (), "")
    critical, warning = _critical(sight), _warning(sight, limits)
    level: Health = "Critical" if critical else "Warning" if warning else "Normal"
    reasons = (*critical, *warning)
    return Verdict(level, reasons, ". ".join(_TEXTS[reason] for reason in reasons))


def _critical(sight: Sight) -> list[str]:
    found = []
    if sight.state == "Error":
        found.append("error-fix-and-resume")
    if sight.state == "WaitingForStartResynchronize":
        found.append("resync-required")
    if sight.primary and sight.failing and sight.state in ("InitialReplicationInProgress", "Replicating"):
        found.append("cannot-deliver")
    if sight.out_of_space:
        found.append("out-of-space")
    if sight.unreadable:
        found.append("replica-unreadable")
    if sight.newest_damaged:
        found.append("newest-point-damaged")
    return found


def _warning(sight: Sight, limits: Limits) -> list[str]:
    found = []
    if sight.state == "Suspended":
        found.append("paused")
    if sight.state in (
        "ReadyForInitialReplication",
        "InitialReplicationInProgress",
        "WaitingForInitialReplication",
    ):
        found.append("ir-pending")
    elif sight.since_last_seconds is not None and sight.since_last_seconds > limits.stale_seconds:
        found.append("behind-over-one-hour")
    if sight.missed_percent > limits.missed_percent:
        found.append("missed-over-20-percent")
    if sight.latency_seconds is not None and sight.latency_seconds > limits.latency_seconds:
        found.append("latency-over-5-minutes")
    if sight.points_damaged and not sight.newest_damaged:
        found.append("points-damaged")
    if sight.unquiesced:
        found.append("app-consistent-failed")
    return found
