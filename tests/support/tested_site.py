"""A small pure model of the target site of a TestFailover: what commands do to its facts, and the turns of one test."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from secondsite.api.kind import Object, parse
from secondsite.api.protectedvm import PROTECTED_VM
from secondsite.api.testfailover import TEST_FAILOVER
from secondsite.plan.actions import Action, Command, MakeTestNetwork, RemoveFinalizer, RemoveTestNetwork, Report
from secondsite.plan.finalizers import RELEASE
from secondsite.plan.observed import Contact, Identity, SiteView, TestWorld, VMWorld
from secondsite.plan.testfailover import judge, plan
from secondsite.wire.arguments import StartTestFailover
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
    """What is seen of the test at a moment; `spec` and metadata of the test may be given."""
    spec = {"protectedVMRefs": [{"name": "web"}, {"name": "db"}], "checks": CHECKS, **test.pop("spec", {})}
    obj = parse(TEST_FAILOVER, body("drill", spec, finalizers=[RELEASE], **test))
    view, who = target.view(), Identity("vault", "cluster")
    members = {
        name: VMWorld(now, vm_object(name), who, None, None, None, None, SiteView("newyork"), view)
        for name in ("web", "db")
    }
    return TestWorld(now, obj, who, None, members, status=status or {}, sites=(view,))


def turns(target: Site, count: int, now: datetime = NOW) -> None:
    """So many turns at one moment."""
    for _ in range(count):
        for action in plan(world(target, now)).actions:
            target.carry_out(action, now)


def without(seen: TestWorld, *names: str) -> TestWorld:
    """The same, but these ProtectedVMs are gone."""
    return replace(seen, members={**seen.members, **dict.fromkeys(names)})


def said(report: Report, name: str) -> str:
    """The message of a condition."""
    return next(finding for finding in report.findings if finding.type == name).message


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
