"""Seconds outside the RPO target, by UTC day, as the replica's side counts them: pure functions.

Lag at a time is what has passed since the source time of the newest point that the target had then. Between the arrival
of one point and of the next it grows with the clock, so what is outside the target is the end of that span. Seconds are
of the wall, never hurried. Times are compared as the sites stamp them: clocks that differ make the count differ by as
much, and a source's clock that is ahead counts nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, time, timedelta

from secondsite.agent.lab.engine import CycleKind, RecoveryPoint
from secondsite.agent.lab.state import Half

_KEPT_DAYS = 35
_WHOLE = timedelta(minutes=1)

Days = tuple[tuple[str, float], ...]
"""UTC day and seconds, oldest first; days of which nothing is outside are left out."""


def settled(half: Half, now: datetime) -> dict[str, object]:
    """What changes in a half when the open span is counted up to `now`: before its target changes."""
    return _book(half, now, half.rpo_source_time)


def arrived(half: Half, point: RecoveryPoint) -> dict[str, object]:
    """What changes in a half when a point has become durable: the span of the one before it ends."""
    return _book(half, point.durable_time, point.freeze_time)


def caught_up(half: Half, points: Sequence[RecoveryPoint]) -> dict[str, object]:
    """What changes in a half when the newest point became durable just before we died; nothing where it did not."""
    # A former primary's disks are a point perhaps, but none that came.
    if half.side != "Replica" or not points or points[-1].kind is CycleKind.Seed:
        return {}
    return {} if points[-1].freeze_time == half.rpo_source_time else arrived(half, points[-1])


def told(half: Half, now: datetime) -> tuple[tuple[str, int], ...] | None:
    """The days up to `now`, in whole seconds; None where there is no target.

    Of a span that is still open only whole minutes are told, so that a VM that is behind is news once a minute.
    """
    if not half.settings.rpo_target_seconds:
        return None
    breach = _breach(half, now)
    whole = breach + (now - breach) // _WHOLE * _WHOLE if breach else now
    days = _with(half.rpo, _outside(half, whole))
    return tuple((day, round(seconds)) for day, seconds in _kept(days, now) if round(seconds))


def _book(half: Half, now: datetime, source_time: datetime | None) -> dict[str, object]:
    days = _kept(_with(half.rpo, _outside(half, now)), now)
    # A clock that was set back must not count a span twice.
    until = max(now, half.rpo_time) if half.rpo_time else now
    return {"rpo": days, "rpo_time": until, "rpo_source_time": source_time}


def _breach(half: Half, now: datetime) -> datetime | None:
    """Since when, of what is not counted yet, the VM is outside its target; None where it is not."""
    target, source, counted = half.settings.rpo_target_seconds, half.rpo_source_time, half.rpo_time
    if not target or source is None or counted is None:
        return None
    since = max(counted, source + timedelta(seconds=target))
    return since if since < now else None


def _outside(half: Half, until: datetime) -> Iterator[tuple[str, float]]:
    """The part of the open span that is outside, split at the midnights of UTC."""
    since = _breach(half, until)
    while since is not None and since < until:
        day = since.astimezone(UTC).date()
        midnight = datetime.combine(day + timedelta(days=1), time(), UTC)
        yield day.isoformat(), (min(until, midnight) - since).total_seconds()
        since = midnight


def _with(days: Days, more: Iterable[tuple[str, float]]) -> Days:
    found = dict(days)
    for day, seconds in more:
        found[day] = found.get(day, 0.0) + seconds
    return tuple(sorted(found.items()))


def _kept(days: Days, now: datetime) -> Days:
    first = (now.astimezone(UTC).date() - timedelta(days=_KEPT_DAYS - 1)).isoformat()
    return tuple((day, seconds) for day, seconds in days if day >= first)
