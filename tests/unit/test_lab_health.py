"""Health of a relation half, state by state and at the very limits."""

from __future__ import annotations

from typing import get_args

import pytest

from secondsite.agent.lab.health import _TEXTS, Limits, Sight, judge
from secondsite.wire.facts import Health, State
from secondsite.wire.health import Reason

LIMITS = Limits(missed_percent=20, stale_seconds=3600, latency_seconds=300)
GOOD = Sight(
    primary=True,
    state="Replicating",
    since_last_seconds=30,
    missed_percent=0,
    latency_seconds=2,
    failing=False,
)
STATES: tuple[State, ...] = get_args(State)

OF_THE_STATE: dict[tuple[bool, State], tuple[Health, Reason | None]] = {
    (True, "Disabled"): ("NotApplicable", None),
    (True, "ReadyForInitialReplication"): ("Warning", Reason.INITIAL_PENDING),
    (True, "InitialReplicationInProgress"): ("Warning", Reason.INITIAL_PENDING),
    (True, "WaitingForInitialReplication"): ("Warning", Reason.INITIAL_PENDING),
    (True, "Replicating"): ("Normal", None),
    (True, "PreparedForFailover"): ("Warning", Reason.REVERSE_PENDING),
    (True, "FailedOverWaitingCompletion"): ("Warning", Reason.REVERSE_PENDING),
    (True, "FailedOver"): ("Warning", Reason.REVERSE_PENDING),
    (True, "Suspended"): ("Warning", Reason.PAUSED),
    (True, "Error"): ("Critical", Reason.ERROR),
    (True, "WaitingForStartResynchronize"): ("Critical", Reason.RESYNC_REQUIRED),
    (True, "Resynchronizing"): ("Critical", Reason.RESYNCHRONIZING),
    (True, "ResynchronizeSuspended"): ("Critical", Reason.RESYNCHRONIZING),
    (True, "RecoveryInProgress"): ("Warning", Reason.REVERSE_PENDING),
    (True, "WaitingForUpdateCompletion"): ("Normal", None),
    (True, "UpdateError"): ("Critical", Reason.UPDATE_FAILED),
    (True, "Unknown"): ("Normal", None),
    (False, "Resynchronizing"): ("Warning", Reason.RESYNCHRONIZING),
    (False, "ResynchronizeSuspended"): ("Warning", Reason.RESYNCHRONIZING),
}
BEHIND_IS_NO_NEWS = {
    "Disabled",
    "ReadyForInitialReplication",
    "InitialReplicationInProgress",
    "WaitingForInitialReplication",
    "PreparedForFailover",
    "RecoveryInProgress",
    "FailedOverWaitingCompletion",
    "FailedOver",
}


def sight(**changes: object) -> Sight:
    return Sight(**{**vars(GOOD), **changes})


@pytest.mark.parametrize("primary", [True, False])
@pytest.mark.parametrize("state", STATES)
def test_each_state_has_its_level_and_its_reason(state: State, primary: bool) -> None:
    health, reason = OF_THE_STATE.get((primary, state), OF_THE_STATE[True, state])
    verdict = judge(sight(state=state, primary=primary), LIMITS)
    assert (verdict.health, verdict.reasons) == (health, (reason,) if reason else ())


@pytest.mark.parametrize("state", STATES)
def test_an_old_point_is_told_wherever_cycles_are_owed(state: State) -> None:
    """A state that is its own reason does not hide it; a first copy and a failover owe none."""
    reasons = judge(sight(state=state, since_last_seconds=3600.01), LIMITS).reasons
    assert (Reason.BEHIND in reasons) == (state not in BEHIND_IS_NO_NEWS)


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
        ({"since_last_seconds": 3600}, "Normal", ()),
        ({"since_last_seconds": 3600.01}, "Warning", ("behind-over-one-hour",)),
        ({"since_last_seconds": None}, "Normal", ()),
        ({"missed_percent": 20}, "Normal", ()),
        ({"missed_percent": 20.01}, "Warning", ("missed-over-20-percent",)),
        ({"latency_seconds": 300}, "Normal", ()),
        ({"latency_seconds": 300.01}, "Warning", ("latency-over-5-minutes",)),
        ({"latency_seconds": None}, "Normal", ()),
        ({"state": "Resynchronizing", "failing": True}, "Critical", ("resynchronizing", "cannot-deliver")),
        ({"state": "Suspended", "failing": True}, "Warning", ("paused",)),
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
    verdict = judge(sight(**changes), LIMITS)
    assert (verdict.health, verdict.reasons) == (health, reasons)
    assert bool(verdict.message) == bool(reasons)


def test_every_reason_can_be_told_and_says_something() -> None:
    told = {reason for state in STATES for reason in judge(sight(state=state), LIMITS).reasons}
    worst = sight(since_last_seconds=9999, missed_percent=99, latency_seconds=9999, failing=True, unquiesced=True)
    told |= set(judge(worst, LIMITS).reasons)
    told |= set(judge(sight(out_of_space=True, unreadable=True, newest_damaged=True), LIMITS).reasons)
    told |= set(judge(sight(points_damaged=True), LIMITS).reasons)
    assert told == set(Reason) == set(_TEXTS)
    assert len(set(_TEXTS.values())) == len(Reason)


def test_critical_wins_and_warnings_are_told_behind_it() -> None:
    verdict = judge(sight(state="Error", missed_percent=90, unquiesced=True), LIMITS)
    assert verdict.health == "Critical"
    assert verdict.reasons == (Reason.ERROR, Reason.MISSED, Reason.APP_CONSISTENT_FAILED)
    assert all(_TEXTS[reason] in verdict.message for reason in verdict.reasons)
