"""The planner of TestFailovers against a small pure model of a target site."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondsite.api.kind import Object, parse
from secondsite.api.protectedvm import PROTECTED_VM
from secondsite.api.testfailover import TEST_FAILOVER
from secondsite.plan.actions import (
    Action,
    AddFinalizer,
    Command,
    DeleteSelf,
    MakeTestNetwork,
    Plan,
    RemoveFinalizer,
    RemoveTestNetwork,
    Report,
    Trouble,
)
from secondsite.plan.observed import Contact, Identity, SiteView, TestWorld, VMWorld
from secondsite.plan.testfailover import identity, judge, plan
from secondsite.plan.testfailover.planner import RELEASE
from secondsite.wire.arguments import CheckTestVM, StartTestFailover
from secondsite.wire.facts import AdapterSetting, Operation, OperationState, Point, Relation, TestVM
from secondsite.wire.inventory import Network, TestNetwork
from secondsite.wire.operations import Verb

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
IDS = {"web": "11111111-1111-1111-1111-111111111111", "db": "22222222-2222-2222-2222-222222222222"}
CHECKS = [{"name": "port", "type": "TCP", "port": 22, "vm": "web"}, {"name": "page", "type": "HTTP", "vm": "db"}]


def body(name: str, spec: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    given = {"namespace": "recovery", "name": name, "uid": f"uid-{name}", "creationTimestamp": NOW.isoformat()}
    return {"metadata": {**given, "generation": 1, **metadata}, "spec": spec}


def vm_object(name: str) -> Object[Any]:
    spec = {"vm": {"siteRef": {"name": "newyork"}, "cloud": "c", "name": name}, "policyRef": {"name": "gold"}}
    return parse(PROTECTED_VM, body(name, spec))


@dataclass
class Site:
    """The target as a model: what the commands do to its facts."""

    relations: dict[str, Relation] = field(default_factory=dict)
    operations: dict[str, tuple[Operation, ...]] = field(default_factory=dict)
    networks: dict[str, TestNetwork] = field(default_factory=dict)
    answers: bool = True
    failing: frozenset[str] = frozenset()
    """Intents that end as Failed."""

    def view(self) -> SiteView:
        contact = Contact("Reachable" if self.answers else "Unreachable", NOW)
        return SiteView(
            name="chicago",
            contact=contact,
            synced=True,
            relations=dict(self.relations),
            operations=dict(self.operations),
            networks={"lab": Network("lab", "lab")},
            test_networks=dict(self.networks),
        )

    def carry_out(self, action: Action, now: datetime) -> None:
        match action:
            case MakeTestNetwork(id=id_, wish=wish):
                self.networks[id_] = TestNetwork(id_, wish.name)
            case RemoveTestNetwork(id=id_):
                assert all(relation.test_vm is None for relation in self.relations.values()), "a test VM is on it"
                del self.networks[id_]
            case Command():
                self._command(action, now)

    def _command(self, command: Command, now: datetime) -> None:
        state: OperationState = "Failed" if command.intent in self.failing else "Succeeded"
        done = Operation(
            key=f"{command.intent}-{len(self.operations.get(command.vm_id, ()))}",
            verb=command.verb,
            intent=command.intent,
            attempt=1,
            state=state,
            start_time=now,
            end_time=now + timedelta(seconds=3),
            vm_id=command.vm_id,
            code="Unsupported" if state == "Failed" else "",
            result=MADE if command.verb is Verb.START_TEST_FAILOVER and state == "Succeeded" else {},
        )
        self.operations[command.vm_id] = (*self.operations.get(command.vm_id, ()), done)
        relation = self.relations[command.vm_id]
        if state == "Failed":
            return
        if isinstance(command.arguments, StartTestFailover):
            test = TestVM("t", "web - Test", "host", command.arguments.owner, "Running", recovery_point=POINT)
            self.relations[command.vm_id] = msgspec.structs.replace(relation, test_vm=test)
        if command.verb is Verb.STOP_TEST_FAILOVER:
            self.relations[command.vm_id] = msgspec.structs.replace(relation, test_vm=None)


POINT = Point("p1", NOW - timedelta(seconds=40))
MADE = {
    "testVM": "web - Test",
    "host": "host",
    "recoveryPoint": "p1",
    "recoveryPointTime": POINT.source_time.isoformat(),
    "recoveryPointType": "CrashConsistent",
}


def relation(name: str, **changes: Any) -> Relation:
    facts = Relation(
        vm_id=IDS[name],
        vm_name=name,
        mode="Replica",
        state="Replicating",
        health="Normal",
        peer_site="newyork",
        time=NOW,
        epoch=1,
        adapters=(AdapterSetting("00:15:5D:00:00:01", "prod", ("10.2.0.7",)),),
        newest_point=POINT,
        point_count=1,
    )
    return msgspec.structs.replace(facts, **changes)


def site(*names: str) -> Site:
    return Site(relations={IDS[name]: relation(name) for name in names})


def world(target: Site, now: datetime = NOW, status: dict[str, Any] | None = None, **test: Any) -> TestWorld:
    spec = {"protectedVMRefs": [{"name": "web"}, {"name": "db"}], "checks": CHECKS, **test.pop("spec", {})}
    obj = parse(TEST_FAILOVER, body("drill", spec, finalizers=[RELEASE], **test))
    view, who = target.view(), Identity("vault", "cluster")
    members = {
        name: VMWorld(now, vm_object(name), who, None, None, None, None, SiteView("newyork"), view)
        for name in ("web", "db")
    }
    return TestWorld(now, obj, who, None, members, status=status or {})


def run(target: Site, **test: Any) -> tuple[list[Action], Report, datetime]:
    """Turn after turn until nothing is left to do, the clock running from due time to due time."""
    done: list[Action] = []
    now = NOW
    status: dict[str, Any] = {}
    for _ in range(30):
        seen = world(target, now, status, **test)
        decided = plan(seen)
        for action in decided.actions:
            target.carry_out(action, now)
        done += decided.actions
        after = world(target, now, status, **test)
        report = judge(after, plan(after), ())
        status = {**report.status, "conditions": [vars_of(f) for f in report.findings]}
        if any(isinstance(action, RemoveFinalizer) for action in decided.actions):
            return done, report, now
        if not decided.actions and decided.due is not None:
            now = decided.due
    raise AssertionError("did not come to an end")


def vars_of(finding: Any) -> dict[str, str]:
    return {name: getattr(finding, name) for name in ("type", "status", "reason", "message")}


def condition(report: Report, name: str) -> tuple[str, str]:
    found = next(finding for finding in report.findings if finding.type == name)
    return found.status, found.reason


def verbs(actions: list[Action]) -> list[str]:
    return [a.verb.value if isinstance(a, Command) else type(a).__name__ for a in actions]


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


@given(sites(), st.booleans(), st.sampled_from([(), (Trouble(None, "SiteRefused", "Busy", "busy"),)]))
def test_every_world_has_an_answer_and_nothing_is_removed_from_ignorance(
    target: Site, deleting: bool, troubles: tuple[Trouble, ...]
) -> None:
    going: dict[str, Any] = {"deletionTimestamp": NOW.isoformat()} if deleting else {}
    seen = world(target, **going)
    decided = plan(seen)
    report = judge(seen, decided, troubles)
    assert {finding.type for finding in report.findings} == {"Ready", "ChecksPassed", "CleanedUp", "Complete"}
    commands = [action for action in decided.actions if isinstance(action, Command)]
    if not target.answers:
        assert not commands
    for command in commands:
        held = target.relations[command.vm_id].test_vm
        if command.verb is Verb.STOP_TEST_FAILOVER and held is not None:
            assert held.owner == identity.owner(seen.test) or target.view().running(command.vm_id)
