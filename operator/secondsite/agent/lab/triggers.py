"""When a VM has to be resynchronized, and when that may begin by itself: pure functions.

Triggers: "Understanding the resynchronization of virtual machines in Hyper-V Replica" (the log of changes above half of
the disks, a log that was not closed, a disk that was touched while the VM was off, a replica that is another one).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from secondsite.agent.lab.clock import LabClock
from secondsite.agent.lab.state import Half
from secondsite.daily import Hours
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
    return _window(settings).opening(now)


def closing(settings: Replication, now: datetime) -> datetime:
    """When the window that is open now ends; `now` where none is."""
    return _window(settings).closing(now)


def _window(settings: Replication) -> Hours:
    return Hours(settings.resynchronize_start, settings.resynchronize_end, settings.resynchronize_time_zone)
