"""What a half counts in its monitoring window."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondsite.agent.lab.counters import Kind, Window, current, ended, expected, fact

START = datetime(2026, 3, 1, 9, tzinfo=UTC)
HALF_DAY = 12 * 3600
MINUTE = timedelta(minutes=1)


def test_a_window_counts_what_was_delivered_late_and_lost() -> None:
    window = Window(start=START).delivered(100, 5, 30).delivered(300, 40, 30).failed(Kind.NETWORK)
    assert (window.success, window.missed, window.errors) == (2, 2, 1)
    assert (window.bytes_total, window.bytes_max, window.average_bytes) == (400, 300, 200)
    assert (window.average_latency, window.latency_max) == (22.5, 40)


def test_a_cycle_of_exactly_its_interval_is_not_late() -> None:
    assert Window(start=START).delivered(1, 30, 30).missed == 0
    assert Window(start=START).delivered(1, 30.01, 30).missed == 1


def test_one_long_transfer_misses_one_cycle_and_queues_no_others() -> None:
    assert Window(start=START).delivered(1, 3000, 30).missed == 1


def test_kinds_of_errors_are_counted_apart() -> None:
    window = Window(start=START).failed(Kind.NETWORK).failed(Kind.NETWORK).failed(Kind.REPLICATION).not_quiesced()
    assert (window.network_errors, window.replication_errors, window.quiesce_failures) == (2, 1, 1)
    assert (window.errors, window.missed) == (4, 3), "a point that is only crash-consistent was delivered all the same"


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_the_share_counts_every_cycle_that_was_tried_once(good: int, late: int, lost: int) -> None:
    window = Window(start=START)
    for seconds in [*[1.0] * good, *[31.0] * late]:
        window = window.delivered(1, seconds, 30)
    for _ in range(lost):
        window = window.failed(Kind.REPLICATION)
    tried = good + late + lost
    assert window.missed_percent == (100 * (late + lost) / tried if tried else 0)


def test_a_window_without_cycles_has_no_average() -> None:
    window = Window(start=START)
    assert (window.average_latency, window.average_bytes, window.missed_percent) == (None, None, 0)


def test_the_window_begins_anew_at_nine_and_twenty_one() -> None:
    window = msgspec.structs.replace(Window(start=START), success=7)
    assert current(window, START + timedelta(hours=12) - timedelta(microseconds=1), HALF_DAY) is window
    fresh = current(window, START + timedelta(hours=12), HALF_DAY)
    assert (fresh.success, fresh.start) == (0, START + timedelta(hours=12))
    assert current(window, START + timedelta(hours=40), HALF_DAY).start == START + timedelta(hours=36)


def test_the_first_window_is_short() -> None:
    window = Window(start=START + timedelta(hours=11))
    told = fact(window, 300, START + timedelta(hours=11, minutes=10), HALF_DAY)
    assert (told.start, told.end) == (window.start, START + timedelta(hours=12))
    assert current(window, START + timedelta(hours=12), HALF_DAY).start == START + timedelta(hours=12)


@pytest.mark.parametrize(
    ("seconds", "cycles"), [(-5, 0), (0, 0), (299, 0), (300, 1), (599.9, 1), (600, 2), (HALF_DAY - 1, 143)]
)
def test_cycles_are_expected_by_whole_intervals(seconds: float, cycles: int) -> None:
    assert expected(Window(start=START), 300, START + timedelta(seconds=seconds)) == cycles


def test_a_window_ends_at_its_boundary_and_not_by_a_reset() -> None:
    window = Window(start=START).delivered(1, 1, 30)
    assert ended(window, current(window, START + timedelta(hours=12), HALF_DAY))
    assert not ended(window, current(window, START + timedelta(hours=11), HALF_DAY))
    assert not ended(window, window.delivered(1, 1, 30))
    reset = Window(start=START + MINUTE)
    assert not ended(window, reset)
    fresh = current(window, START + timedelta(hours=12), HALF_DAY)
    assert not ended(fresh, fresh.delivered(1, 1, 30)), "it ends once"
    assert not ended(fresh, Window(start=fresh.start + MINUTE))


def test_the_fact_shows_all_of_it_and_a_fresh_window_after_the_boundary() -> None:
    window = Window(start=START).delivered(100, 5, 30).delivered(300, 40, 30)
    window = window.failed(Kind.NETWORK).failed(Kind.REPLICATION).not_quiesced()
    told = fact(window, 30, START + 2 * MINUTE, HALF_DAY)
    assert (told.expected, told.successful, told.missed) == (4, 2, 3)
    assert (told.replication_errors, told.network_errors, told.vss_errors) == (1, 1, 1)
    assert (told.total_bytes, told.largest_bytes, told.average_bytes) == (400, 300, 200)
    assert (told.average_latency_seconds, told.largest_latency_seconds) == (22.5, 40)
    later = fact(window, 30, START + timedelta(hours=12, minutes=1), HALF_DAY)
    assert (later.start, later.successful, later.expected) == (START + timedelta(hours=12), 0, 2)
