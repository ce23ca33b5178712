"""Replication health of one half, as Hyper-V computes it over a monitoring window: a pure function.

Thresholds: "Monitor and troubleshoot Hyper-V Replica" (missed over 20 percent, behind by an hour, latency 5 minutes).
"""

from __future__ import annotations

from dataclasses import dataclass

from secondsite.wire.facts import Health, State
from secondsite.wire.health import Reason


@dataclass(frozen=True)
class Sight:
    """What health is judged by. Seconds are as the lab hurries: already divided."""

    primary: bool
    state: State
    since_last_seconds: float | None
    """Since the last cycle was delivered or received, before the first since enable; None where nobody knows."""
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
    reasons: tuple[Reason, ...]
    message: str


_TEXTS: dict[Reason, str] = {
    Reason.ERROR: "Replication stopped on an error; mend its cause, then resume it",
    Reason.RESYNC_REQUIRED: "It is not known any more what the replica lacks: the VM must be resynchronized",
    Reason.RESYNCHRONIZING: "The disks of both sides are compared; until that ends no change is delivered",
    Reason.CANNOT_DELIVER: "Changes cannot be delivered at the moment; it is tried again",
    Reason.OUT_OF_SPACE: (
        "The replica's storage has no room for the next cycle; every point is kept, and it is tried again"
    ),
    Reason.REPLICA_UNREADABLE: (
        "The replica's files cannot be opened: no recovery point can be used until they are mended"
    ),
    Reason.NEWEST_POINT_DAMAGED: (
        "The newest recovery point cannot be read in full; choose an older one until it is mended"
    ),
    Reason.UPDATE_FAILED: "The change of the replicated disks failed; change them again",
    Reason.PAUSED: "Replication is suspended",
    Reason.INITIAL_PENDING: "Initial replication has not finished",
    Reason.REVERSE_PENDING: "The VM was failed over, or is prepared for it, and replication is not reversed yet",
    Reason.BEHIND: "Nothing was replicated for more than an hour of the monitoring clock",
    Reason.MISSED: "More than the allowed share of replication cycles was missed",
    Reason.LATENCY: "Cycles take longer than the allowed average latency",
    Reason.POINTS_DAMAGED: "Some recovery points cannot be read in full; blocks that the source still holds come back",
    Reason.APP_CONSISTENT_FAILED: "The guest could not be quiesced: the recovery point is only crash-consistent",
}

_RESYNCHRONIZING: frozenset[State] = frozenset({"Resynchronizing", "ResynchronizeSuspended"})
_SENDING: frozenset[State] = frozenset({"InitialReplicationInProgress", "Replicating", "Resynchronizing"})
_INITIAL: frozenset[State] = frozenset(
    {"ReadyForInitialReplication", "InitialReplicationInProgress", "WaitingForInitialReplication"}
)
_FAILING_OVER: frozenset[State] = frozenset(
    {"PreparedForFailover", "RecoveryInProgress", "FailedOverWaitingCompletion", "FailedOver"}
)


def judge(sight: Sight, limits: Limits) -> Verdict:
    """Critical wins over Warning; every reason is told."""
    if sight.state == "Disabled":
        return Verdict("NotApplicable", (), "")
    critical, warning = _critical(sight), _warning(sight, limits)
    level: Health = "Critical" if critical else "Warning" if warning else "Normal"
    reasons = (*critical, *warning)
    return Verdict(level, reasons, ". ".join(_TEXTS[reason] for reason in reasons))


def _critical(sight: Sight) -> list[Reason]:
    found = {
        Reason.ERROR: sight.state == "Error",
        Reason.RESYNC_REQUIRED: sight.state == "WaitingForStartResynchronize",
        Reason.RESYNCHRONIZING: sight.primary and sight.state in _RESYNCHRONIZING,
        Reason.UPDATE_FAILED: sight.state == "UpdateError",
        Reason.CANNOT_DELIVER: sight.primary and sight.failing and sight.state in _SENDING,
        Reason.OUT_OF_SPACE: sight.out_of_space,
        Reason.REPLICA_UNREADABLE: sight.unreadable,
        Reason.NEWEST_POINT_DAMAGED: sight.newest_damaged,
    }
    return [reason for reason, holds in found.items() if holds]


def _warning(sight: Sight, limits: Limits) -> list[Reason]:
    found = {
        Reason.PAUSED: sight.state == "Suspended",
        # The replica's points stay good until the end of the comparison.
        Reason.RESYNCHRONIZING: not sight.primary and sight.state in _RESYNCHRONIZING,
        Reason.INITIAL_PENDING: sight.state in _INITIAL,
        Reason.REVERSE_PENDING: sight.state in _FAILING_OVER,
        Reason.BEHIND: _over(sight.since_last_seconds, limits.stale_seconds) and _expects_cycles(sight.state),
        Reason.MISSED: sight.missed_percent > limits.missed_percent,
        Reason.LATENCY: _over(sight.latency_seconds, limits.latency_seconds),
        Reason.POINTS_DAMAGED: sight.points_damaged and not sight.newest_damaged,
        Reason.APP_CONSISTENT_FAILED: sight.unquiesced,
    }
    return [reason for reason, holds in found.items() if holds]


def _over(seconds: float | None, limit: float) -> bool:
    return seconds is not None and seconds > limit


def _expects_cycles(state: State) -> bool:
    """A first copy may take days, and nothing follows the last delta before a failover: neither is behind."""
    return state not in _INITIAL and state not in _FAILING_OVER
