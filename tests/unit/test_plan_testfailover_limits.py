"""How long a test waits for its test VMs, and what a test says that was applied a second time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from secondsite.plan.actions import Command
from secondsite.plan.testfailover import identity, judge, plan
from secondsite.plan.testfailover.progress import OFF_FOR
from secondsite.wire.facts import Operation, OperationState, TestVM
from secondsite.wire.operations import Verb
from support.tested_site import (
    IDS,
    NOW,
    POINT,
    Site,
    condition,
    relation,
    run,
    said,
    site,
    turns,
    vars_of,
    verbs,
    world,
)

HOUR = timedelta(hours=1)
STARTED = NOW + timedelta(seconds=3)


def attempts(target: Site, states: list[OperationState]) -> None:
    """So many attempts to make the test VM of web."""
    intent = identity.start_intent(world(target).test)
    target.operations[IDS["web"]] = tuple(
        Operation(f"k{i}", Verb.START_TEST_FAILOVER, intent, i + 1, state, NOW, IDS["web"], NOW, message="too slow")
        for i, state in enumerate(states)
    )


def switch(target: Site, state: Any) -> None:
    """All test VMs are in this state."""
    owner = identity.owner(world(target).test)
    for name in IDS:
        vm = TestVM("t", f"{name} - Test", "host", owner, state, recovery_point=POINT)
        target.relations[IDS[name]] = relation(name, test_vm=vm)


def test_an_attempt_to_make_a_test_vm_has_minutes_not_hours() -> None:
    target = site("web", "db")
    turns(target, 1)
    starts = [action for action in plan(world(target)).actions if isinstance(action, Command)]
    assert {action.deadline_seconds for action in starts} == {900}


@pytest.mark.parametrize("state", ["Abandoned", "Interrupted", "Failed"])
def test_a_start_without_success_is_tried_again_and_given_up_after_five(state: OperationState) -> None:
    target = site("web", "db")
    turns(target, 2)
    target.relations[IDS["web"]] = relation("web")
    code = {"code": "Busy"} if state == "Failed" else {}
    attempts(target, [state] * 4)
    target.operations[IDS["web"]] = tuple(msgspec.structs.replace(op, **code) for op in target.operations[IDS["web"]])
    assert "StartTestFailover" in verbs(list(plan(world(target)).actions))
    attempts(target, [state] * 5)
    seen = world(target)
    assert "StartTestFailover" not in verbs(list(plan(seen).actions))
    report = judge(seen, plan(seen), ())
    assert condition(report, "Ready") == ("False", "TestVMFailed")
    assert "too slow" in said(report, "Ready")


def test_a_test_vm_that_stays_off_fails_the_test() -> None:
    target = site("web", "db")
    turns(target, 2)
    switch(target, "Off")
    early = world(target, STARTED + OFF_FOR - timedelta(seconds=1))
    assert plan(early).due == STARTED + OFF_FOR
    assert condition(judge(early, plan(early), ()), "Ready") == ("False", "ChecksPending")
    late = world(target, STARTED + OFF_FOR)
    report = judge(late, plan(late), ())
    assert condition(report, "Ready") == ("False", "TestVMFailed")
    assert "Off" in said(report, "Ready")
    assert plan(late).due == STARTED + OFF_FOR + HOUR


def test_a_test_vm_that_stayed_off_is_cleaned_up_once_and_stays_the_reason() -> None:
    target = site("web", "db")
    turns(target, 2)
    switch(target, "Off")
    done, report, ended = run(target)
    assert verbs(done) == ["StopTestFailover"] * 2 + ["RemoveTestNetwork", "RemoveFinalizer"]
    assert condition(report, "Complete") == ("True", "Failed")
    assert condition(report, "Ready") == ("False", "TestVMFailed")
    assert condition(report, "ChecksPassed") == ("False", "TestVMFailed")
    assert ended <= STARTED + OFF_FOR + HOUR + timedelta(seconds=1)


def test_a_test_vm_that_is_shut_down_after_its_checks_has_passed_them() -> None:
    target = site("web", "db")
    turns(target, 3)
    switch(target, "Off")
    seen = world(target, NOW + timedelta(minutes=50))
    assert condition(judge(seen, plan(seen), ()), "ChecksPassed") == ("True", "ChecksPassed")


def test_a_test_that_is_cleaned_up_early_has_not_passed() -> None:
    target = site("web", "db")
    turns(target, 2)
    _, report, _ = run(target, spec={"cleanup": {"requested": True}})
    assert condition(report, "Ready") == ("False", "NotStarted")
    assert condition(report, "ChecksPassed") == ("False", "NotStarted")
    assert condition(report, "Complete") == ("True", "Failed")


def test_a_test_that_is_applied_again_says_that_it_did_not_run() -> None:
    target = site("web", "db")
    _, first, _ = run(target)
    assert "already ran" not in said(first, "Complete")
    done, second, _ = run(target, creationTimestamp=(NOW + 3 * HOUR).isoformat())
    assert verbs(done) == ["RemoveFinalizer"]
    assert condition(second, "Complete") == ("True", "Succeeded")
    for name in ("Complete", "Ready"):
        assert "already ran on 2026-05-04 12:00 UTC: give it another name to run it again" in said(second, name)


def test_a_start_that_runs_for_the_new_object_is_no_old_result() -> None:
    target = site("web", "db")
    target.failing = frozenset({identity.start_intent(world(target).test)})
    turns(target, 2)
    target.failing = frozenset()
    old = world(target, creationTimestamp=(NOW + HOUR).isoformat())
    assert "already ran" in said(judge(old, plan(old), ()), "Ready")
    attempts(target, ["Failed", "Running"])
    seen = world(target, creationTimestamp=(NOW - HOUR).isoformat())
    assert [f for f in judge(seen, plan(seen), ()).findings if "already ran" in vars_of(f)["message"]] == []


def test_a_test_that_was_deleted_half_way_and_applied_again_is_over_at_once() -> None:
    target = site("web", "db")
    turns(target, 2)
    for _ in range(2):
        for action in plan(world(target, deletionTimestamp=NOW.isoformat())).actions:
            target.carry_out(action, NOW)
    seen = world(target, NOW + timedelta(minutes=2), creationTimestamp=(NOW + timedelta(minutes=1)).isoformat())
    assert plan(seen).actions == (), "what an earlier clean-up removed is not made again"
    report = judge(seen, plan(seen), ())
    assert condition(report, "Complete") == ("True", "Failed")
    assert "already ran" in said(report, "Ready")
