"""Health and counters of a relation half."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from secondsite.agent.lab.counters import Window, current
from secondsite.agent.lab.health import Limits, Sight, judge
from secondsite.wire.facts import Health, State

LIMITS = Limits(missed_percent=20, stale_seconds=3600, latency_seconds=300)
GOOD = Sight(
    primary=True,
    state="Replicating",
    since_last_seconds=30,
    missed_percent=0,
    latency_seconds=2,
    failing=False,
)
START = datetime(2026, 3, 1, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("changes", "health", "reasons"),
    [
        ({}, "Normal", ()),
        ({"state": "Error"}, "Critical", ("error-fix-and-resume",)),
        ({"state": "WaitingForStartResynchronize"}, "Critical", ("resync-required",)),
        ({"failing": True}, "Critical", ("cannot-deliver",)),
        ({"failing": True, "primary": False}, "Normal", ()),
        ({"state": "Suspended"}, "Warning", ("paused",)),
        ({"primary": False, "out_of_space": True}, "Critical", ("out-of-space",)),
        ({"primary": False, "unreadable": True}, "Critical", ("replica-unreadable",)),
        ({"primary": False, "points_damaged": True}, "Warning", ("points-damaged",)),
        ({"points_damaged": True, "newest_damaged": True}, "Critical", ("newest-point-damaged",)),
        ({"state": "InitialReplicationInProgress", "since_last_seconds": None}, "Warning", ("ir-pending",)),
        ({"since_last_seconds": 3601}, "Warning", ("behind-over-one-hour",)),
        ({"since_last_seconds": 3599}, "Normal", ()),
        ({"missed_percent": 20}, "Normal", ()),
        ({"missed_percent": 20.1}, "Warning", ("missed-over-20-percent",)),
        ({"latency_seconds": 301}, "Warning", ("latency-over-5-minutes",)),
        ({"unquiesced": True}, "Warning", ("app-consistent-failed",)),
        ({"state": "Disabled"}, "NotApplicable", ()),
        (
            {"state": "Error", "missed_percent": 90},
            "Critical",
            ("error-fix-and-resume", "missed-over-20-percent"),
        ),
    ],
)
def test_health_follows_the_table(changes: dict[str, object], health: Health, reasons: tuple[str, ...]) -> None:
    verdict = judge(Sight(**{**_fields(GOOD), **changes}), LIMITS)  # type: ignore[arg-type]  # fields by name
    assert (verdict.health, verdict.reasons) == (health, reasons)
    assert bool(verdict.message) == bool(reasons)


@pytest.mark.parametrize("state", ["Suspended", "Error"])
def test_a_state_that_is_its_own_reason_does_not_hide_an_old_point(state: State) -> None:
    sight = Sight(**{**_fields(GOOD), "state": state, "since_last_seconds": 9999})  # type: ignore[arg-type]  # as above
    assert "behind-over-one-hour" in judge(sight, LIMITS).reasons


def test_a_window_counts_what_was_delivered_late_and_lost() -> None:
    window = Window(start=START).delivered(100, 5, 30).delivered(300, 40, 30).failed()
    assert (window.success, window.missed, window.errors) == (2, 2, 1)
    assert (window.bytes_total, window.bytes_max) == (400, 300)
    assert (window.average_latency, window.latency_max) == (22.5, 40)
    assert window.missed_percent == 50


def test_a_window_without_cycles_has_no_average() -> None:
    assert Window(start=START).average_latency is None
    assert Window(start=START).missed_percent == 0


def test_the_window_begins_anew_at_nine_and_twenty_one() -> None:
    window = msgspec.structs.replace(Window(start=START), success=7)
    half_day = 12 * 3600
    assert current(window, START + timedelta(hours=11, minutes=59), half_day) == window
    fresh = current(window, START + timedelta(hours=12), half_day)
    assert (fresh.success, fresh.start) == (0, START + timedelta(hours=12))


def _fields(sight: Sight) -> dict[str, object]:
    return dict(vars(sight))
