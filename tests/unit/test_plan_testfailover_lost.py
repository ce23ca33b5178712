"""What a test loses on its way: a ProtectedVM, a replica, a test VM, or its own past."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from secondsite.plan.actions import Command, RemoveFinalizer
from secondsite.plan.finalizers import RELEASE
from secondsite.plan.observed import TestWorld
from secondsite.plan.testfailover import identity, judge, plan
from secondsite.wire.facts import TestVM
from secondsite.wire.operations import Verb
from support.tested_site import IDS, NOW, Site, condition, relation, run, site, turns, verbs, without, world


def deleting_without(target: Site, *names: str) -> TestWorld:
    return without(world(target, deletionTimestamp=NOW.isoformat()), *names)


def test_a_vm_that_vanishes_mid_test_fails_it_and_leaves_nothing_behind() -> None:
    target = site("web", "db")
    turns(target, 3)
    seen = without(world(target, NOW + timedelta(minutes=5)), "db")
    assert condition(judge(seen, plan(seen), ()), "Ready") == ("False", "ProtectedVMNotFound")
    later = without(world(target, NOW + timedelta(hours=2)), "db")
    assert stopped(later) == {IDS["web"], IDS["db"]}


def test_a_test_whose_every_vm_vanished_is_cleaned_up_and_fails() -> None:
    target, now = site("web", "db"), NOW + timedelta(hours=2)
    turns(target, 3)
    for _ in range(3):
        seen = without(world(target, now), "web", "db")
        decided = plan(seen)
        assert decided.actions or not target.networks
        for action in decided.actions:
            target.carry_out(action, now)
    after = without(world(target, now), "web", "db")
    assert all(relation.test_vm is None for relation in target.relations.values())
    assert condition(judge(after, plan(after), ()), "Complete") == ("True", "Failed")


def test_test_vms_that_only_their_mark_tells_of_are_cleaned_up() -> None:
    target = site("web", "db")
    turns(target, 3)
    target.operations.clear()
    seen = without(world(target, NOW + timedelta(hours=2)), "web", "db")
    assert stopped(seen) == {IDS["web"], IDS["db"]}
    assert plan(seen).due is not None, "no news of theirs would wake the test"


def test_a_foreign_test_vm_is_no_leftover_of_a_vm_that_vanished() -> None:
    target = site("web", "db")
    turns(target, 3)
    target.relations[IDS["db"]] = relation("db", test_vm=TestVM("t", "db - Test", "host", "somebody/else/1", "Running"))
    assert stopped(deleting_without(target, "web", "db")) == {IDS["web"]}


def test_a_vm_that_vanished_may_be_tested_at_a_site_that_is_silent() -> None:
    target = site("web", "db")
    turns(target, 3)
    target.answers = False
    assert plan(deleting_without(target, "web", "db")).actions == ()
    target.answers = True
    assert stopped(deleting_without(target, "web", "db")) == {IDS["web"], IDS["db"]}


def test_a_test_that_never_began_lets_go_when_its_vm_vanished() -> None:
    assert plan(deleting_without(site("web", "db"), "web", "db")).actions == (RemoveFinalizer(RELEASE),)


def stopped(seen: TestWorld) -> set[str]:
    actions = plan(seen).actions
    assert set(verbs(list(actions))) <= {"StopTestFailover"}
    return {action.vm_id for action in actions if isinstance(action, Command)}


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
