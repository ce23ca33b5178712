"""Health, counters and RPO seconds once more, in the plainest words: what a person would work out from the facts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from secondsite.agent.lab.state import Half
from secondsite.wire.facts import Relation
from support.lab_world.side import Side

_RETRY = 300.0
_WINDOW = timedelta(hours=12)
_STALE = 3600.0
_MISSED_PERCENT = 20.0
_DELIVERING = frozenset({"Replicating", "Suspended", "Error", "WaitingForStartResynchronize"})
_CRITICAL = {
    "Error": "error-fix-and-resume",
    "WaitingForStartResynchronize": "resync-required",
    "UpdateError": "update-failed",
}
_WARNING = {
    "Suspended": "paused",
    "ReadyForInitialReplication": "ir-pending",
    "WaitingForInitialReplication": "ir-pending",
    "PreparedForFailover": "reverse-pending",
    "FailedOverWaitingCompletion": "reverse-pending",
    "FailedOver": "reverse-pending",
}


def health_is_right(side: Side) -> None:
    """Level and reasons are those that state, counters and times ask for."""
    half, fact = side.half, side.relation
    if half is None or fact is None:
        return
    where, reasons = f"{side.name}, {half.side} {half.state}", {str(reason) for reason in fact.health_reasons}
    if half.state in _CRITICAL:
        assert _CRITICAL[half.state] in reasons, f"{where}: {_CRITICAL[half.state]} is not told"
        assert fact.health == "Critical", f"{where}: health is {fact.health}"
    if half.state in _WARNING:
        assert _WARNING[half.state] in reasons, f"{where}: {_WARNING[half.state]} is not told"
        assert fact.health in ("Warning", "Critical"), f"{where}: health is {fact.health}"
    assert (fact.health == "Normal") == (not reasons), f"{where}: {fact.health} for {reasons}"
    if half.side == "Primary" and half.state == "Error":
        assert half.failure, f"{where}: nobody is told why"
    if half.side == "Primary" and half.state == "Replicating" and half.failure:
        assert half.failures, f"{where}: {half.failure!r} is no failure that anybody counted"
    if half.state in _DELIVERING:
        _numbers_are_right(where, side, half, fact, reasons)


def _numbers_are_right(where: str, side: Side, half: Half, fact: Relation, reasons: set[str]) -> None:
    now, last, window = side.site.estate.clock.now(), half.last_replication_time, half.window
    if last is not None:
        behind = (now - last).total_seconds() > _STALE
        assert ("behind-over-one-hour" in reasons) == behind, f"{where}: last cycle {last}, now {now}, told {reasons}"
    if window.start >= _boundary(now):
        due = window.success + window.replication_errors + window.network_errors
        missed = due > 0 and 100 * window.missed / due > _MISSED_PERCENT
        assert ("missed-over-20-percent" in reasons) == missed, f"{where}: missed {window.missed} of {due}: {reasons}"


def step_counts_right(before: Half, after: Half, now: datetime) -> None:
    """One step of a half: what failed is counted and tried again later; a cycle is counted in the present window."""
    where = f"{after.side} {before.state} to {after.state}"
    same = before.window.start == after.window.start
    if after.side == "Primary" and after.failures > before.failures:
        if same:
            lost = after.window.missed - before.window.missed
            assert lost == 1, f"{where}: a failed cycle was counted as {lost} missed ones"
        waits = after.retry_time is not None and (after.retry_time - now).total_seconds() >= _RETRY
        assert waits or after.state == "Error", f"{where}: tried again at {after.retry_time}, now is {now}"
    if after.cycles > before.cycles:
        assert after.window.start >= _boundary(now), f"{where}: counted in the window of {after.window.start} at {now}"


def rpo_is_possible(side: Side, begin: datetime) -> None:
    """No day has more seconds outside the target than it had of this story."""
    fact, now = side.relation, side.site.estate.clock.now()
    for day, seconds in (fact.seconds_outside_rpo or ()) if fact else ():
        first = datetime.fromisoformat(day).replace(tzinfo=UTC)
        most = (min(now, first + timedelta(days=1)) - max(begin, first)).total_seconds()
        assert seconds <= most + 1, f"{side.name}: {seconds} s outside the RPO on {day}, which had {most} s"


def _boundary(now: datetime) -> datetime:
    nine = datetime(2020, 1, 1, 9, tzinfo=UTC)
    return nine + (now - nine) // _WINDOW * _WINDOW
