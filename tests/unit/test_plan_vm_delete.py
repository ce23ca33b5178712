"""Giving a VM up: every step in its order, nothing of others, and a record of what a deadline cut off."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from secondsite.plan.actions import Command, LeaveTombstone, Plan, Release, RemoveFinalizer, Trouble
from secondsite.plan.observed import VMWorld
from secondsite.plan.protectedvm.decide import plan
from secondsite.plan.protectedvm.judge import judge
from secondsite.wire.facts import Operation, Owner
from support import worlds as w
from support.simulated_sites import settle, start_test, step
from support.worlds import FINALIZER, NOW, VM_ID, world

GONE = RemoveFinalizer(FINALIZER)
PROTECTED = settle(world())
DELETE = w.policy(replicaOnDisable="Delete")
DEADLINE = timedelta(minutes=60)


def seen(*changes: w.Change) -> VMWorld:
    made = w.at(NOW)(PROTECTED)
    for change in (*changes, w.deleting()):
        made = change(made)
    return made


def run(made: VMWorld, turns: int = 10) -> tuple[VMWorld, list[str]]:
    """Everything that is done until the object goes."""
    done: list[str] = []
    for _ in range(turns):
        made, planned = step(made)
        done += [_label(action) for action in planned.actions]
        if FINALIZER not in made.vm.finalizers:
            return made, done
    return made, done


def _label(action: object) -> str:
    return f"{action.verb}@{action.site}" if isinstance(action, Command) else type(action).__name__


def destructive(made: Plan) -> list[object]:
    return [action for action in made.actions if isinstance(action, Command | Release | LeaveTombstone)]


def deletion(made: VMWorld) -> dict[str, Any]:
    found = judge(made, plan(made), ()).status["deletion"]
    assert isinstance(found, dict)
    return found


def test_everything_is_given_up_in_order_and_the_replica_kept() -> None:
    made, done = run(seen())
    assert done == ["DisableReplication@newyork", "DisableReplication@chicago", "Release", "RemoveFinalizer"]
    assert made.target is not None
    assert VM_ID in made.target.vms


def test_the_replica_is_removed_where_the_policy_says_so() -> None:
    made, done = run(seen(DELETE))
    assert done[-2:] == ["RemoveReplica@chicago", "RemoveFinalizer"]
    assert made.target is not None
    assert VM_ID not in made.target.vms


def test_a_test_vm_goes_first_at_the_target() -> None:
    _, done = run(seen(start_test))
    assert done[:3] == ["StopTestFailover@chicago", "DisableReplication@newyork", "DisableReplication@chicago"]


def test_steps_left_blocker_and_deadline_are_shown() -> None:
    made = seen(w.source_silent(120), DELETE)
    said = deletion(made)
    assert said["remaining"][0] == "DisableReplication at newyork"
    assert said["remaining"][-1] == "RemoveReplica at chicago"
    assert "no answer within 5 s" in said["blockedBy"]
    assert said["deadlineTime"] == "2026-11-21T13:00:00Z"
    assert judge(made, plan(made), ()).status["state"] == "Deleting"


def test_where_nothing_was_enabled_the_object_just_goes() -> None:
    assert plan(world(w.deleting())).actions == (GONE,)
    assert plan(world(w.no_finalizer, w.deleting())).actions == ()
    assert plan(replace(world(w.deleting()), policy=None, target=None)).actions == (GONE,)


def test_what_was_only_prepared_is_released() -> None:
    prepared, _ = step(world())
    _, done = run(w.deleting()(prepared))
    assert done == ["DisableReplication@chicago", "Release", "RemoveFinalizer"]


@pytest.mark.parametrize("quiet", [w.source_silent, w.target_silent])
def test_a_silent_site_blocks_what_comes_after_it(quiet: Any) -> None:
    made, done = run(seen(quiet()))
    assert FINALIZER in made.vm.finalizers
    assert not [each for each in done if each.endswith("chicago")]
    assert plan(made).due == NOW + DEADLINE


def test_past_the_deadline_the_steps_left_are_recorded_then_the_object_goes() -> None:
    made = replace(seen(w.source_silent(), DELETE), now=NOW + DEADLINE)
    stones = plan(made).actions
    assert all(isinstance(stone, LeaveTombstone) for stone in stones)
    wishes = {stone.site: stone.wish for stone in stones if isinstance(stone, LeaveTombstone)}
    assert wishes["newyork"].steps == ("DisableReplication",)
    assert wishes["chicago"].steps == ("DisableReplication", "ReleaseAddresses", "RemoveReplica")
    assert {(wish.vault, wish.vm_id, wish.epoch) for wish in wishes.values()} == {("v-1", VM_ID, 1)}
    made, done = run(made)
    assert done == ["LeaveTombstone", "LeaveTombstone", "RemoveFinalizer"]


def test_a_vm_that_cannot_be_named_leaves_the_id_that_was_reported() -> None:
    made = replace(seen(w.source_silent(), w.target_silent()), now=NOW + DEADLINE)
    assert plan(made).actions == (GONE,)
    stones = plan(replace(made, known_vm_id=VM_ID)).actions
    assert [stone.wish.vm_id for stone in stones if isinstance(stone, LeaveTombstone)] == [VM_ID, VM_ID]


def test_a_silent_source_is_named_by_the_replica() -> None:
    """By name nobody can ask the source; our replica at the target bears the name and the id."""
    made = replace(seen(w.source_silent()), now=NOW + DEADLINE)
    assert {stone.wish.vm_id for stone in plan(made).actions if isinstance(stone, LeaveTombstone)} == {VM_ID}


@pytest.mark.parametrize("owner", [None, Owner("other", "c")])
def test_what_is_not_ours_stays(owner: Owner | None) -> None:
    """Ledger and half of another vault: the object goes, the relation stays."""

    def foreign(made: VMWorld) -> VMWorld:
        assert made.target is not None
        made = w.target_half(owner=owner)(w.source_half(owner=owner)(made))
        none: dict[str, Any] = {"ledgers": {}, "pools": {}}
        return w.target(**none)(w.source(ledgers={})(made))

    made = seen(foreign, DELETE)
    assert plan(made).actions == (GONE,)


def test_a_younger_object_with_the_same_vm_takes_nothing_with_it() -> None:
    assert plan(replace(seen(), rival="web-old")).actions == (GONE,)


def test_without_the_vaults_keys_nothing_is_given_up() -> None:
    made = seen(lambda s: replace(s, identity=replace(s.identity, vault="")))
    assert plan(made).actions == ()


def test_a_twin_of_the_same_name_does_not_make_it_forget_its_vm() -> None:
    twins = {("gold", "web"): (VM_ID, w.TWIN_ID)}
    made = seen(w.source(vms_by_name=twins))
    _, done = run(made)
    assert "DisableReplication@newyork" in done
    running = w.source(vms_by_name=twins)(PROTECTED)
    assert judge(running, plan(running), ()).status["vmID"] == VM_ID
    assert judge(running, plan(running), ()).status["state"] == "Protected"


def test_a_suspended_site_and_a_running_operation_block() -> None:
    assert "suspended" in deletion(seen(w.source(suspended=True)))["blockedBy"]
    busy = Operation("k", "UpdateSettings", "i", 1, "Running", NOW, VM_ID)
    made = seen(w.target(operations={VM_ID: (busy,)}))
    assert destructive(plan(made)) == []
    assert "UpdateSettings" in deletion(made)["blockedBy"]


def test_a_machine_that_is_not_a_replica_is_never_removed() -> None:
    made = seen(DELETE)
    for _ in range(3):
        made, _ = step(made)
    assert made.target is not None
    production = w.machine(cloud="silver", role="Production")
    assert plan(w.target(vms={VM_ID: production})(made)).actions == (GONE,)


def test_without_a_policy_nobody_knows_the_target_until_the_deadline() -> None:
    made = replace(seen(), policy=None, target=None)
    made, done = run(made)
    assert done == ["DisableReplication@newyork"]
    assert plan(replace(made, now=NOW + DEADLINE)).actions == (GONE,)


def test_what_an_earlier_protection_left_is_removed_before_a_new_one_begins() -> None:
    torn, _ = step(seen())  # the source has let go, then the object was lost and made again
    again = replace(torn, vm=world().vm)
    made = settle(again, 60)
    assert made.source.relations[VM_ID].epoch == 2
    assert made.target is not None
    assert [op.verb for op in made.target.operations[VM_ID]].count("DisableReplication") == 1


def test_a_half_is_not_given_up_because_the_other_site_remembers_nothing() -> None:
    made = settle(world(), 60)
    assert made.target is not None
    torn = replace(made, target=replace(made.target, relations={}, ledgers={}))
    blank = w.source_half(epoch=0)(replace(torn, source=replace(torn.source, ledgers={})))
    assert plan(torn).actions == ()
    assert plan(blank).actions == ()


def test_a_refusal_of_the_site_is_what_blocks() -> None:
    made = seen()
    trouble = Trouble(plan(made).actions[0], "SiteRefused", "Busy", "another operation runs", "", "newyork", NOW)
    found = judge(made, plan(made), (trouble,)).status["deletion"]
    assert isinstance(found, dict)
    assert found["blockedBy"] == "another operation runs"


def test_a_foreign_replica_of_the_same_name_does_not_name_the_vm() -> None:
    made = replace(seen(w.target_half(owner=Owner("other", "c")), w.source_silent()), now=NOW + DEADLINE)
    assert plan(made).actions == (GONE,)
    assert "vmID" not in judge(made, plan(made), ()).status
