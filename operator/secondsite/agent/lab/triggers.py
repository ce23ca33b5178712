"""When a VM has to be resynchronized, and when that may begin by itself: pure functions.

Triggers: "Understanding the resynchronization of virtual machines in Hyper-V Replica" (the log of changes above half of
the disks, a log that was not closed, a disk that was touched while the VM was off, a replica that is another one).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from zoneinfo import ZoneInfo

from secondsite.agent.lab.clock import LabClock
from secondsite.agent.lab.state import Half
from secondsite.wire.facts import Replication

WEEK = timedelta(days=7)
"""How far ahead a start may be set (Set-VMReplication -InitialReplicationStartTime, Resume-VMReplication)."""


class Trigger(StrEnum):
    """Why, in words for people."""

    LOG_FULL = "more was written than the log of changes may hold"
    HOST_CRASHED = "the host stopped without closing the log of changes"
    DISK_TOUCHED = "a disk was changed while the VM was off"


def log_full(half: Half, pending: int, written: int, disks: int, clock: LabClock) -> bool:
    """Whether the log of changes holds more than it may. All in bytes.

    `pending` is all that the replica lacks, `written` what guests wrote since the last freeze, `disks` the sum of their
    virtual sizes. A first copy and what a resynchronization sends are read from the disks: they stand in no log.
    """
    logged = pending if half.initial_done and half.state != "Resynchronizing" else written
    return logged * 100 > disks * clock.knobs.log_limit_percent


def within_a_week(start: datetime, now: datetime) -> bool:
    """Whether a start may be set to that time."""
    return now < start <= now + WEEK


def start_due(half: Half, now: datetime) -> datetime | None:
    """When a resynchronization that is needed begins without a command; None: never."""
    if half.resynchronize_start_time is not None:
        return half.resynchronize_start_time
    if not half.settings.auto_resynchronize:
        return None
    # After a failure not at once again, and not before a person who stopped it would expect it.
    earliest = max(time for time in (now, half.retry_time, half.resynchronize_after) if time is not None)
    return opening(half.settings, earliest)


def opening(settings: Replication, now: datetime) -> datetime:
    """When the window is open next: now, or later. Start and end alike: always."""
    local = now.astimezone(_zone(settings.resynchronize_time_zone))
    start, end = _at(local, settings.resynchronize_start), _at(local, settings.resynchronize_end)
    if _inside(local, start, end):
        return now
    following = start if local < start else _at(local + timedelta(days=1), settings.resynchronize_start)
    return following.astimezone(UTC)


def closing(settings: Replication, now: datetime) -> datetime:
    """When the window that is open now ends; `now` where none is."""
    local = now.astimezone(_zone(settings.resynchronize_time_zone))
    start, end = _at(local, settings.resynchronize_start), _at(local, settings.resynchronize_end)
    if not _inside(local, start, end):
        return now
    ends = end if local < end else _at(local + timedelta(days=1), settings.resynchronize_end)
    return ends.astimezone(UTC)


def _inside(local: datetime, start: datetime, end: datetime) -> bool:
    """A window that crosses midnight is open in the evening of its day and in the morning after."""
    return start <= local < end if start < end else (local >= start or local < end)


def _at(day: datetime, text: str) -> datetime:
    hour, _, minute = text.partition(":")
    return day.replace(hour=int(hour), minute=int(minute), second=0, microsecond=0)


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        # Who set it has checked the name by a newer database than ours.
        return UTC
