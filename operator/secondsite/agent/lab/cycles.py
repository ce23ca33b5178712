"""When a primary's next turn is due, and what a cycle's outcome makes of its half: pure functions."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from secondsite.agent.lab import consistency, counters, triggers
from secondsite.agent.lab.clock import LabClock
from secondsite.agent.lab.engine import CycleResult
from secondsite.agent.lab.events import Event
from secondsite.agent.lab.state import Half
from secondsite.wire.facts import State


class Failure(StrEnum):
    """What kind of failure a cycle met; each is counted apart."""

    NETWORK = "network"
    REPLICATION = "replication"
    REFUSED = "refused"
    """By the replica's side, for good: trying again does not help."""
    FAILED_OVER = "failed over"
    OUT_OF_BOUNDS = "out of bounds"


@dataclass(frozen=True)
class Outcome:
    """An event for a half, and what changes in it with the event. No event: nothing but that."""

    event: Event | None
    changes: dict[str, object] = field(default_factory=dict)


_SENDING: frozenset[State] = frozenset(
    {"InitialReplicationInProgress", "WaitingForInitialReplication", "Replicating", "WaitingForUpdateCompletion"}
)
_REPEATING = _SENDING | {"Resynchronizing"}
_FINAL = {
    Failure.REFUSED: Event.CYCLE_REFUSED,
    Failure.FAILED_OVER: Event.PEER_FAILED_OVER,
    Failure.OUT_OF_BOUNDS: Event.OUT_OF_BOUNDS,
}


def interval(half: Half, clock: LabClock) -> float:
    """Seconds of the wall between two cycles."""
    return clock.scaled(half.settings.interval_seconds)


def pause(half: Half, clock: LabClock) -> float | None:
    """Seconds until the next cycle is due; None: none is, before news."""
    now, between = clock.now(), interval(half, clock)
    due = _due(half, now, between)
    if due is None:
        return None
    left, longest = (due - now).total_seconds(), max(between, clock.retry.total_seconds())
    if left > longest and half.state in _REPEATING:
        # The clock was set back: that must not stop replication.
        return 0.0
    return max(0.0, min(left, longest))


def _due(half: Half, now: datetime, between: float) -> datetime | None:
    if half.state in _SENDING:
        return half.retry_time or (half.last_cycle_start + timedelta(seconds=between) if half.last_cycle_start else now)
    if half.state == "Resynchronizing":
        return half.retry_time or now
    if half.state == "WaitingForStartResynchronize":
        untold = half.retry_time or now if half.peer_resynchronizes else None
        return min((time for time in (untold, triggers.start_due(half, now)) if time is not None), default=None)
    return half.initial_start_time if half.state == "ReadyForInitialReplication" else None


def delivered(half: Half, result: CycleResult, started: datetime, clock: LabClock) -> Outcome:
    """The replica has confirmed the cycle."""
    now = clock.now()
    # From the freeze on, by one clock: the peer's may be wrong.
    seconds = max(0.0, (now - result.freeze_time).total_seconds())
    window = counters.current(half.window, now, clock.monitoring_seconds)
    if half.initial_done:
        window = window.delivered(result.bytes, seconds, interval(half, clock))
    if result.quiesce_error is not None:
        window = window.not_quiesced()
    # What was exported to media is more than the cycle that follows its import.
    total = half.initial_total_bytes or result.bytes
    first = {} if half.initial_done else {"initial_done": True, "initial_total_bytes": total}
    changes: dict[str, object] = {
        "window": window,
        "failures": 0,
        "failure": "",
        "retry_time": None,
        "last_cycle_start": started,
        "last_replication_time": now,
        "last_cycle_seconds": seconds,
        "last_cycle_bytes": result.bytes,
        "cycles": half.cycles + 1,
    }
    return Outcome(_delivered(half), changes | consistency.noted(result) | first)


def _delivered(half: Half) -> Event:
    if half.state == "Resynchronizing":
        return Event.RESYNC_DONE
    if half.state == "WaitingForUpdateCompletion":
        return Event.DISKS_CHANGED
    return Event.CYCLE_DONE if half.initial_done else Event.INITIAL_DONE


def failed(half: Half, error: str, failure: Failure, started: datetime, clock: LabClock) -> Outcome:
    """The cycle came to nothing; what it held is still owed."""
    now = clock.now()
    failures = half.failures + 1
    if half.state == "WaitingForStartResynchronize":
        # Why it is needed stays on view; that the peer could not be told is tried again.
        return Outcome(None, {"retry_time": now + clock.retry})
    return Outcome(
        _failed(half, failure, failures, clock),
        {
            "window": counters.current(half.window, now, clock.monitoring_seconds).failed(_kind(failure)),
            "failures": failures,
            "failure": _explained(half, error, failure),
            "retry_time": now + clock.retry,
            "last_cycle_start": started,
        },
    )


def _failed(half: Half, failure: Failure, failures: int, clock: LabClock) -> Event | None:
    """What a failure is to a half; None: nothing but one more failure."""
    final = _FINAL.get(failure)
    match half.state:
        case "Replicating":
            return final or Event.CYCLE_FAILED
        case "Resynchronizing":
            return Event.RESYNC_NEEDED if final else None
        case "WaitingForUpdateCompletion":
            return None if failure is Failure.NETWORK else Event.DISKS_FAILED
        case "InitialReplicationInProgress" if final:
            return Event.CYCLE_REFUSED
        case "InitialReplicationInProgress" if failures > clock.knobs.initial_retries:
            return Event.RETRIES_EXHAUSTED
    return Event.CYCLE_FAILED


def _kind(failure: Failure) -> counters.Kind:
    return counters.Kind.NETWORK if failure is Failure.NETWORK else counters.Kind.REPLICATION


def _explained(half: Half, error: str, failure: Failure) -> str:
    """Who was failed over learns it by this alone, and perhaps both copies run."""
    if failure is not Failure.FAILED_OVER:
        return error
    return (
        f"The replica was failed over at {half.peer_site}: both copies of {half.vm_name} may run. Turn this one off, "
        f"then demote it to a replica, or have the failover cancelled there and resume: {error}"
    )
