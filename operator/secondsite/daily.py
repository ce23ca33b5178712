"""Daily hours: when a span of the day is open, opens and closes, in its own time zone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo


@dataclass(frozen=True)
class Hours:
    """From `start` to `end`, HH:MM each; over midnight where `end` is the earlier; alike: always."""

    start: str
    end: str
    time_zone: str

    def is_open(self, now: datetime) -> bool:
        """Whether they are open at `now`."""
        local, start, end = self._today(now)
        # Hours that cross midnight are open in the evening of their day and in the morning after.
        return start <= local < end if start < end else (local >= start or local < end)

    def opening(self, now: datetime) -> datetime:
        """When they are open next (UTC): `now` where they are."""
        if self.is_open(now):
            return now
        local, start, _ = self._today(now)
        return (start if local < start else _at(local + timedelta(days=1), self.start)).astimezone(UTC)

    def closing(self, now: datetime) -> datetime:
        """When those that are open now end (UTC); `now` where they are closed."""
        if not self.is_open(now):
            return now
        local, _, end = self._today(now)
        return (end if local < end else _at(local + timedelta(days=1), self.end)).astimezone(UTC)

    def _today(self, now: datetime) -> tuple[datetime, datetime, datetime]:
        """`now`, the start and the end of its day, in the zone."""
        local = now.astimezone(_zone(self.time_zone))
        return local, _at(local, self.start), _at(local, self.end)


def _at(day: datetime, text: str) -> datetime:
    hour, _, minute = text.partition(":")
    return day.replace(hour=int(hour), minute=int(minute), second=0, microsecond=0)


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        # Who set it, the API server first of all, has checked the name by a newer database than ours.
        return UTC
