"""When a primary's next turn is due, and what a cycle's outcome makes of its half: pure functions."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from secondsite.agent.lab import consistency, counters
from secondsite.agent.lab.clock import LabClock
from secondsite.agent.lab.engine import CycleResult
from secondsite.agent.lab.events import Event
from secondsite.agent.lab.state import Half


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
    """An event for a half, and what changes in it with the event."""

    event: Event
    changes: dict[str, object] = field(default_factory=dict)


_SENDING = frozenset({"InitialReplicationInProgress", "Replicating"})
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
    if half.state not in _SENDING:
        return None
    between = interval(half, clock)
    due = half.retry_time or (half.last_cycle_start and half.last_cycle_start + timedelta(seconds=between))
    if due is None:
        return 0
    # A clock that was set back must not stop replication.
    return max(0.0, min((due - clock.now()).total_seconds(), max(between, clock.retry.total_seconds())))


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
    first = {} if half.initial_done else {"initial_done": True, "initial_total_bytes": result.bytes}
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
    event = Event.CYCLE_DONE if half.initial_done else Event.INITIAL_DONE
    return Outcome(event, changes | consistency.noted(result) | first)


def failed(half: Half, error: str, failure: Failure, started: datetime, clock: LabClock) -> Outcome:
    """The cycle came to nothing; what it held is still owed."""
    now = clock.now()
    failures = half.failures + 1
    exhausted = half.state != "Replicating" and failures > clock.knobs.initial_retries
    event = _FINAL.get(failure) or (Event.RETRIES_EXHAUSTED if exhausted else Event.CYCLE_FAILED)
    if half.state != "Replicating" and event in (Event.PEER_FAILED_OVER, Event.OUT_OF_BOUNDS):
        event = Event.CYCLE_REFUSED
    return Outcome(
        event,
        {
            "window": counters.current(half.window, now, clock.monitoring_seconds).failed(_kind(failure)),
            "failures": failures,
            "failure": error,
            "retry_time": now + clock.retry,
            "last_cycle_start": started,
        },
    )


def _kind(failure: Failure) -> counters.Kind:
    return counters.Kind.NETWORK if failure is Failure.NETWORK else counters.Kind.REPLICATION
