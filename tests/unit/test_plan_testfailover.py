"""The planner of TestFailovers against a small pure model of a target site."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondsite.plan.actions import (
    Action,
    AddFinalizer,
    Command,
    DeleteSelf,
    LeaveTombstone,
    Plan,
    RemoveFinalizer,
    Trouble,
)
from secondsite.plan.finalizers import RELEASE
from secondsite.plan.testfailover import identity, judge, plan
from secondsite.wire.arguments import CheckTestVM, StartTestFailover
from secondsite.wire.facts import AdapterSetting, Operation, OperationState, TestVM
from secondsite.wire.inventory import TestNetwork
from secondsite.wire.operations import Verb
from support.tested_site import IDS, NOW, POINT, Site, condition, relation, run, site, verbs, without, world


def test_a_test_runs_from_network_to_clean_up() -> None:
    target = site("web", "db")
    done, report, _ = run(target)
    assert verbs(done) == [
        "MakeTestNetwork",
        *["StartTestFailover"] * 2,
        *["CheckTestVM"] * 2,
        *["StopTestFailover"] * 2,
        "RemoveTestNetwork",
        "RemoveFinalizer",
    ]
    assert condition(report, "Complete") == ("True", "Succeeded")
    assert condition(report, "ChecksPassed") == ("True", "ChecksPassed")
    assert condition(report, "CleanedUp") == ("True", "CleanedUp")
    assert report.status["state"] == "Succeeded"
    assert report.status["recoveryPointAgeSeconds"] == 40
    vms = cast("list[Any]", report.status["vms"])
    assert [vm["testVM"] for vm in vms] == ["web - Test"] * 2
    assert vms[1]["recoveryPoint"] == {"id": "p1", "sourceTime": "2026-05-04T11:59:20Z", "type": "Regular"}
    assert not target.networks


def test_the_same_planned_world_asks_for_nothing_twice() -> None:
    target = site("web", "db")
    done, _, _ = run(target)
    commands = [action.intent + action.vm_id for action in done if isinstance(action, Command)]
    assert len(commands) == len(set(commands))


def test_a_failed_check_fails_the_test_and_is_cleaned_up_all_the_same() -> None:
    target = site("web", "db")
    target.failing = frozenset({identity.check_intent(world(target).test, "page")})
    _, report, _ = run(target)
    assert condition(report, "ChecksPassed") == ("False", "CheckFailed")
    assert condition(report, "Complete") == ("True", "Failed")
    assert all(relation.test_vm is None for relation in target.relations.values())


def test_a_test_vm_that_cannot_be_made_fails_the_test() -> None:
    target = site("web", "db")
    target.failing = frozenset({identity.start_intent(world(target).test)})
    _, report, _ = run(target)
    assert condition(report, "Complete") == ("True", "Failed")
    assert condition(report, "Ready") == ("False", "TestVMFailed")


def test_manual_clean_up_waits_for_a_person() -> None:
    target = site("web", "db")
    manual: dict[str, Any] = {"spec": {"cleanup": {"mode": "Manual"}}}
    for _ in range(5):
        for action in plan(world(target, **manual)).actions:
            target.carry_out(action, NOW)
    later = world(target, NOW + timedelta(days=13), **manual)
    assert plan(later).actions == ()
    assert condition(judge(later, plan(later), ()), "ChecksPassed") == ("True", "ChecksPassed")
    asked: dict[str, Any] = {"spec": {"cleanup": {"mode": "Manual", "requested": True}}}
    assert verbs(list(plan(world(target, **asked)).actions)) == ["StopTestFailover"] * 2
    forced = world(target, NOW + timedelta(days=14, seconds=1), **manual)
    assert verbs(list(plan(forced).actions)) == ["StopTestFailover"] * 2


def test_no_command_goes_out_before_the_finalizer() -> None:
    seen = world(site("web", "db"))
    bare = replace(seen, test=replace(seen.test, finalizers=()))
    assert plan(bare).actions == (AddFinalizer(RELEASE),)


def test_deleting_is_cleaning_up_and_then_letting_go() -> None:
    target = site("web", "db")
    for _ in range(3):
        for action in plan(world(target)).actions:
            target.carry_out(action, NOW)
    done: list[Action] = []
    for _ in range(4):
        actions = plan(world(target, deletionTimestamp=NOW.isoformat())).actions
        for action in actions:
            target.carry_out(action, NOW)
        done += actions
    assert verbs(done) == ["StopTestFailover", "StopTestFailover", "RemoveTestNetwork"] + ["RemoveFinalizer"] * (
        len(done) - 3
    )


def test_a_silent_target_is_unknown_and_nothing_is_done() -> None:
    target = site("web", "db")
    target.answers = False
    seen = world(target, deletionTimestamp=NOW.isoformat())
    assert plan(seen).actions == ()
    fresh = world(target)
    assert plan(fresh).actions == ()
    assert condition(judge(fresh, plan(fresh), ()), "Ready") == ("Unknown", "SiteUnreachable")


def test_a_test_vm_of_another_owner_is_in_the_way_and_stays() -> None:
    target = site("web", "db")
    foreign = TestVM("t", "web - Test", "host", "somebody/else/1", "Running")
    target.relations[IDS["web"]] = relation("web", test_vm=foreign)
    seen = world(target)
    assert plan(seen).actions == ()
    assert condition(judge(seen, Plan(), ()), "Ready") == ("False", "VMInAnotherTest")
    assert plan(world(target, deletionTimestamp=NOW.isoformat())).actions == (RemoveFinalizer(RELEASE),)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"newest_point": None}, "VMNotProtected"),
        ({"state": "InitialReplicationInProgress"}, "VMNotProtected"),
        ({"state": "Resynchronizing"}, "VMNotProtected"),
        ({"health": "Critical", "health_reasons": ("newest-point-damaged",)}, "RecoveryPointDamaged"),
        ({"newest_point": msgspec.structs.replace(POINT, damaged=True)}, "RecoveryPointDamaged"),
    ],
)
def test_obstacles_are_named(change: dict[str, Any], reason: str) -> None:
    target = site("web", "db")
    target.relations[IDS["db"]] = relation("db", **change)
    seen = world(target)
    assert plan(seen).actions == ()
    assert condition(judge(seen, plan(seen), ()), "Ready") == ("False", reason)


def test_networks_follow_the_choice() -> None:
    target = site("web")
    assert _network_of(target, {"network": {"type": "Existing", "name": "lab"}}) == {"lab"}
    assert _network_of(target, {"network": {"type": "None"}}) == {""}
    target.relations[IDS["web"]] = relation(
        "web", adapters=(AdapterSetting("00:15:5D:00:00:01", "prod", ("10.2.0.7",), "rehearsal"),)
    )
    assert _network_of(target, {}) == {"rehearsal"}


def _network_of(target: Site, spec: dict[str, Any]) -> set[str]:
    seen = world(target, spec={**spec, "protectedVMRefs": [{"name": "web"}], "checks": []})
    only = replace(seen, members={"web": seen.members["web"]})
    commands = [action for action in plan(only).actions if isinstance(action, Command)]
    assert isinstance(commands[0].arguments, StartTestFailover)
    return {adapter.network for adapter in commands[0].arguments.adapters}


def test_an_http_check_gets_the_port_of_its_scheme() -> None:
    target = site("web", "db")
    for _ in range(2):
        for action in plan(world(target)).actions:
            target.carry_out(action, NOW)
    probes = [a.arguments for a in plan(world(target)).actions if isinstance(a, Command)]
    assert {(p.type, p.port) for p in probes if isinstance(p, CheckTestVM)} == {("TCP", 22), ("HTTP", 80)}


def test_a_finished_test_is_deleted_when_its_time_is_over_and_never_runs_again() -> None:
    target = site("web", "db")
    seen = world(target, NOW + timedelta(days=3), {"state": "Succeeded"}, spec={"ttlSecondsAfterFinished": 60})
    ended = replace(seen, test=replace(seen.test, finalizers=()), started=NOW)
    assert plan(ended).actions == (DeleteSelf(),)
    assert plan(replace(ended, now=NOW)).due == NOW + timedelta(seconds=60)


TEST_VMS = st.one_of(
    st.none(),
    st.builds(
        lambda owner: TestVM("t", "web - Test", "host", owner, "Running"),
        st.sampled_from(["x/y/z", identity.owner(world(site("web", "db")).test)]),
    ),
)
STATES = st.sampled_from(["Replicating", "Suspended", "Error", "Resynchronizing", "Unknown"])


@st.composite
def sites(draw: st.DrawFn) -> Site:
    test = world(site("web", "db")).test
    intents = [identity.start_intent(test), identity.stop_intent(test), identity.check_intent(test, "port")]
    found = Site(answers=draw(st.booleans()))
    for name in draw(st.sets(st.sampled_from(["web", "db"]))):
        found.relations[IDS[name]] = relation(
            name, state=draw(STATES), test_vm=draw(TEST_VMS), newest_point=draw(st.sampled_from([None, POINT]))
        )
        states = draw(st.lists(st.tuples(st.sampled_from(intents), st.sampled_from(msgspec_states())), max_size=4))
        found.operations[IDS[name]] = tuple(
            Operation(f"k{i}", "v", intent, 1, state, NOW, IDS[name], None if state == "Running" else NOW)
            for i, (intent, state) in enumerate(states)
        )
    if draw(st.booleans()):
        found.networks[identity.network_id(test)] = TestNetwork("n", "n")
    return found


def msgspec_states() -> list[OperationState]:
    return ["Running", "Succeeded", "Failed", "Interrupted", "Abandoned"]


@settings(deadline=None)
@given(
    sites(),
    st.booleans(),
    st.sampled_from([(), (Trouble(None, "SiteRefused", "Busy", "busy"),)]),
    st.sets(st.sampled_from(["web", "db"])),
    st.sampled_from([timedelta(), timedelta(minutes=59), timedelta(minutes=60), timedelta(days=15)]),
)
def test_every_world_has_an_answer_and_nothing_is_removed_from_ignorance(
    target: Site, deleting: bool, troubles: tuple[Trouble, ...], gone: set[str], later: timedelta
) -> None:
    going: dict[str, Any] = {"deletionTimestamp": NOW.isoformat()} if deleting else {}
    seen = without(world(target, NOW + later, **going), *gone)
    decided = plan(seen)
    report = judge(seen, decided, troubles)
    assert {finding.type for finding in report.findings} == {"Ready", "ChecksPassed", "CleanedUp", "Complete"}
    commands = [action for action in decided.actions if isinstance(action, Command)]
    if not target.answers:
        assert not commands
        assert RemoveFinalizer(RELEASE) not in decided.actions
    if any(isinstance(action, LeaveTombstone) for action in decided.actions):
        assert deleting
        assert later >= timedelta(hours=1)
    for command in commands:
        held = target.relations[command.vm_id].test_vm
        if command.verb is Verb.STOP_TEST_FAILOVER and held is not None:
            assert held.owner == identity.owner(seen.test) or target.view().running(command.vm_id)


def test_a_suspended_target_is_sent_nothing() -> None:
    seen = world(site("web", "db"))
    target = replace(site("web", "db").view(), suspended=True)
    held = {name: replace(vm, target=target) for name, vm in seen.members.items() if vm}
    suspended = replace(seen, members=held)
    assert plan(suspended).actions == ()
    assert condition(judge(suspended, plan(suspended), ()), "Ready") == ("False", "SiteSuspended")
