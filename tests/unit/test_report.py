"""Conditions and their times, what counts as a difference, and how fast statuses may be written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from secondsite.controller.conditions import MESSAGES, WORDS, difference, fingerprint, merge, overlay
from secondsite.controller.throttle import Throttle
from secondsite.plan.actions import Finding

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
READY = Finding("Ready", "True", "Protected", "All is well")


def later(minutes: int) -> datetime:
    return NOON + timedelta(minutes=minutes)


def test_a_condition_keeps_its_time_until_its_status_turns() -> None:
    first = merge((), (READY,), 1, NOON)
    again = merge(first, (Finding("Ready", "True", "Suspended", "Other words"),), 2, later(1))
    turned = merge(again, (Finding("Ready", "False", "Error"),), 2, later(2))
    assert [each[0]["lastTransitionTime"] for each in (first, again, turned)] == [
        "2026-11-21T12:00:00Z",
        "2026-11-21T12:00:00Z",
        "2026-11-21T12:02:00Z",
    ]
    assert [each[0]["observedGeneration"] for each in (first, again, turned)] == [1, 2, 2]
    assert again[0]["reason"] == "Suspended"


def test_the_schemas_placeholder_of_a_time_is_none() -> None:
    before = [{"type": "Ready", "status": "Unknown", "lastTransitionTime": "1970-01-01T00:00:00Z"}]
    after = merge(before, (Finding("Ready", "Unknown", "Pending"),), 1, NOON)
    assert after[0]["lastTransitionTime"] == "2026-11-21T12:00:00Z"


def test_a_condition_that_no_finding_names_is_removed_but_not_by_an_overlay() -> None:
    before = merge((), (READY, Finding("WithinRPO", "True", "Fine")), 1, NOON)
    assert [each["type"] for each in merge(before, (READY,), 1, NOON)] == ["Ready"]
    changed = merge(before, (Finding("Ready", "Unknown", "InternalError"),), 1, later(1))
    assert [(each["type"], each["status"]) for each in overlay(before, changed)] == [
        ("Ready", "Unknown"),
        ("WithinRPO", "True"),
    ]


def status(**more: Any) -> dict[str, Any]:
    return {"state": "Protected", "conditions": list(merge((), (READY,), 1, NOON)), **more}


def test_a_difference_names_the_fields_and_tells_words_from_messages() -> None:
    base = fingerprint(status(pendingBytes=1))
    assert difference(base, fingerprint(status(pendingBytes=1))) == frozenset()
    assert difference(base, fingerprint(status(pendingBytes=2))) == {"pendingBytes"}
    assert difference(base, fingerprint(status())) == {"pendingBytes"}
    other_words = list(merge((), (Finding("Ready", "True", "Protected", "Another sentence"),), 1, NOON))
    assert difference(base, fingerprint(status(pendingBytes=1, conditions=other_words))) == {MESSAGES}
    turned = list(merge((), (Finding("Ready", "False", "Error", "All is well"),), 1, NOON))
    assert difference(base, fingerprint(status(pendingBytes=1, conditions=turned))) == {WORDS}


@given(st.lists(st.floats(0, 2), max_size=80), st.floats(0.5, 50), st.floats(1, 50))
def test_a_bucket_never_gives_more_than_its_rate_and_burst(pauses: list[float], rate: float, burst: float) -> None:
    bucket, now, taken = Throttle(rate, burst), 0.0, 0
    for pause in pauses:
        now += pause
        while bucket.take(now):
            taken += 1
        assert taken <= burst + rate * now + 1e-6
        assert not bucket.take(now)
        wait = bucket.wait(now)
        assert 0 < wait <= 1 / rate + 1e-9


def test_a_bucket_gives_again_after_the_wait_that_it_names() -> None:
    bucket = Throttle(5.0, 1.0)
    assert bucket.take(0.0)
    assert not bucket.take(0.1)
    assert bucket.take(0.1 + bucket.wait(0.1) + 1e-9)
