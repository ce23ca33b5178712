"""What a test loses on its way: a ProtectedVM, a replica, a test VM, or its own past."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import msgspec

from secondsite.plan.actions import Command
from secondsite.plan.observed import TestWorld
from secondsite.plan.testfailover import identity, judge, plan
from secondsite.wire.facts import TestVM
from secondsite.wire.operations import Verb
from unit.test_plan_testfailover import IDS, NOW, Site, condition, relation, run, site, verbs, world


def turns(target: Site, count: int) -> None:
    for _ in range(count):
        for action in plan(world(target)).actions:
            target.carry_out(action, NOW)


def without(name: str, seen: TestWorld) -> TestWorld:
    return replace(seen, members={**seen.members, name: None})


def test_a_vm_that_vanishes_mid_test_fails_it_and_keeps_nobody_from_cleaning_up() -> None:
    target = site("web", "db")
    turns(target, 3)
    seen = without("db", world(target, NOW + timedelta(minutes=5)))
    assert condition(judge(seen, plan(seen), ()), "Ready") == ("False", "ProtectedVMNotFound")
    later = without("db", world(target, NOW + timedelta(hours=2)))
    assert verbs(list(plan(later).actions)) == ["StopTestFailover"]


def test_a_replica_that_vanishes_mid_test_keeps_nobody_from_cleaning_up() -> None:
    target = site("web", "db")
    turns(target, 3)
    del target.relations[IDS["db"]]
    assert verbs(list(plan(world(target, NOW + timedelta(hours=2))).actions)) == ["StopTestFailover"]


def test_a_test_vm_that_is_gone_before_its_checks_is_no_reason_to_wait_for_ever() -> None:
    target = site("web", "db")
    turns(target, 2)
    for name in ("web", "db"):
        target.relations[IDS[name]] = relation(name)
    target.failing = frozenset(identity.check_intent(world(target).test, check) for check in ("port", "page"))
    _, report, ended = run(target)
    assert condition(report, "Complete") == ("True", "Failed")
    assert ended < NOW + timedelta(hours=2)


def test_a_test_vm_that_turns_up_after_the_stop_is_stopped_again() -> None:
    target = site("web", "db")
    owner = identity.owner(world(target).test)
    late = TestVM("t", "web - Test", "host", owner, "Running")
    asked = []
    for changes in (3, 4):
        target.relations[IDS["web"]] = msgspec.structs.replace(relation("web"), test_vm=late, changes=changes)
        actions = plan(world(target, deletionTimestamp=NOW.isoformat())).actions
        asked += [a.intent for a in actions if isinstance(a, Command) and a.verb is Verb.STOP_TEST_FAILOVER]
    assert len(set(asked)) == 2
