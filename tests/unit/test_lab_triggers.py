"""When a resynchronization is needed, and when one begins by itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from secondsite.agent.lab import triggers
from secondsite.agent.lab.clock import LabClock
from secondsite.agent.lab.counters import Window
from secondsite.agent.lab.datacentre import Knobs
from secondsite.agent.lab.state import Half
from secondsite.wire.facts import Replication, State

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
CLOCK = LabClock(1, Knobs())
SETTINGS = Replication(interval_seconds=300)


def half(state: State = "Replicating", settings: Replication = SETTINGS, **changes: Any) -> Half:
    made = Half("vm", "web", "Primary", state, "west", "a", settings, (), Window(start=NOON), initial_done=True)
    return msgspec.structs.replace(made, **changes)


def window(start: str, end: str, zone: str = "UTC") -> Replication:
    return Replication(300, resynchronize_start=start, resynchronize_end=end, resynchronize_time_zone=zone)


@pytest.mark.parametrize(("pending", "full"), [(0, False), (50, False), (51, True), (100, True)])
@pytest.mark.parametrize("state", ["Replicating", "Suspended", "Error"])
def test_a_log_above_half_of_the_disks_is_full(state: State, pending: int, full: bool) -> None:
    assert triggers.log_full(half(state), pending, 0, 100, CLOCK) is full


@pytest.mark.parametrize("copying", [half("Resynchronizing"), half("InitialReplicationInProgress", initial_done=False)])
def test_what_a_copy_has_left_stands_in_no_log(copying: Half) -> None:
    assert not triggers.log_full(copying, pending=100, written=50, disks=100, clock=CLOCK)
    assert triggers.log_full(copying, pending=100, written=51, disks=100, clock=CLOCK)


def test_the_limit_is_a_knob() -> None:
    assert triggers.log_full(half(), 21, 0, 100, LabClock(1, Knobs(log_limit_percent=20)))


@pytest.mark.parametrize(
    ("start", "end", "zone", "opens", "closes"),
    [
        ("11:00", "13:00", "UTC", "12:00", "13:00"),
        ("12:00", "13:00", "UTC", "12:00", "13:00"),
        ("11:00", "12:00", "UTC", "+11:00", None),
        ("13:00", "14:00", "UTC", "13:00", None),
        ("18:30", "06:00", "UTC", "18:30", None),
        ("18:30", "12:01", "UTC", "12:00", "12:01"),
        ("11:30", "06:00", "UTC", "12:00", "+06:00"),
        ("13:59", "14:30", "Europe/Berlin", "12:00", "12:30"),
        ("14:01", "14:30", "Europe/Berlin", "12:01", None),
        ("00:00", "00:00", "UTC", "12:00", "+00:00"),
        ("11:00", "13:00", "No/Such", "12:00", "13:00"),
    ],
)
def test_a_window_opens_in_its_own_time_zone(start: str, end: str, zone: str, opens: str, closes: str | None) -> None:
    assert triggers.opening(window(start, end, zone), NOON) == at(opens)
    assert triggers.closing(window(start, end, zone), NOON) == (at(closes) if closes else NOON)


def at(text: str) -> datetime:
    day = NOON + timedelta(days=1) if text.startswith("+") else NOON
    hour, minute = text.removeprefix("+").split(":")
    return day.replace(hour=int(hour), minute=int(minute))


def test_it_begins_by_itself_inside_the_window_only() -> None:
    needed = half("WaitingForStartResynchronize", window("11:00", "13:00"))
    assert triggers.start_due(needed, NOON) == NOON
    assert triggers.start_due(needed, NOON + timedelta(hours=2)) == at("+11:00")
    manual = msgspec.structs.replace(needed.settings, auto_resynchronize=False)
    assert triggers.start_due(msgspec.structs.replace(needed, settings=manual), NOON) is None


def test_a_set_time_wins_over_the_window_and_over_manual() -> None:
    manual = msgspec.structs.replace(SETTINGS, auto_resynchronize=False)
    start = NOON + timedelta(days=2)
    needed = half("WaitingForStartResynchronize", manual, resynchronize_start_time=start)
    assert triggers.start_due(needed, NOON) == start


def test_it_waits_after_a_failure_and_after_a_stop() -> None:
    needed = half("WaitingForStartResynchronize", window("11:00", "13:00"))
    failed = msgspec.structs.replace(needed, retry_time=NOON + timedelta(minutes=5))
    assert triggers.start_due(failed, NOON) == NOON + timedelta(minutes=5)
    stopped = msgspec.structs.replace(needed, resynchronize_after=triggers.closing(needed.settings, NOON))
    assert triggers.start_due(stopped, NOON) == at("+11:00")


def test_a_start_lies_ahead_by_a_week_at_the_most() -> None:
    assert triggers.within_a_week(NOON + timedelta(days=7), NOON)
    assert not triggers.within_a_week(NOON + timedelta(days=7, seconds=1), NOON)
    assert not triggers.within_a_week(NOON, NOON)
