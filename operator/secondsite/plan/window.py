"""Daily windows of time: the ones that a policy means, and when one opens next."""

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from secondsite.api.replicationpolicy import ReplicationPolicySpec
from secondsite.api.window import Window

# The default of the service that this one replaces: resynchronization runs outside of office hours.
OUTSIDE_OFFICE_HOURS: Final = Window(start="18:30", end="06:00", time_zone="UTC")


def resynchronization_window(policy: ReplicationPolicySpec) -> Window | None:
    """When resynchronization may start; None where only a person starts it."""
    if policy.resynchronization.mode == "Manual":
        return None
    return policy.resynchronization.window or OUTSIDE_OFFICE_HOURS


def opening(window: Window | None, now: datetime) -> datetime | None:
    """When the window opens next; None while it is open, or where there is none."""
    if window is None:
        return None
    local = now.astimezone(_zone(window.time_zone))
    start, end = _at(local, window.start), _at(local, window.end)
    # A window that crosses midnight is open in the evening of its day and in the morning after.
    inside = start <= local < end if start < end else (local >= start or local < end)
    if inside:
        return None
    following = start if local < start else _at(local + timedelta(days=1), window.start)
    return following.astimezone(UTC)


def _at(day: datetime, text: str) -> datetime:
    hour, _, minute = text.partition(":")
    return day.replace(hour=int(hour), minute=int(minute), second=0, microsecond=0)


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        # The API server has checked the name by a newer database than ours.
        return UTC
