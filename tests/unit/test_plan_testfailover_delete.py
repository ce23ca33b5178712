"""Deleting a test that cannot be cleaned up: it says what it waits for and until when, and leaves a tombstone then."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from secondsite.api.kind import parse
from secondsite.api.recoveryvault import RECOVERY_VAULT
from secondsite.plan.actions import Command, LeaveTombstone, Plan, RemoveFinalizer, Trouble
from secondsite.plan.finalizers import RELEASE
from secondsite.plan.observed import TestWorld
from secondsite.plan.testfailover import identity, judge, plan
from support.tested_site import IDS, NOW, Site, body, condition, said, site, turns, verbs, without, world

MINUTES = 30
VAULT = parse(RECOVERY_VAULT, body("vault", {"deletionDeadlineMinutes": MINUTES}))
LATE = timedelta(minutes=MINUTES)


def deleting(target: Site, after: timedelta, **changes: Any) -> TestWorld:
    return replace(world(target, NOW + after, deletionTimestamp=NOW.isoformat()), vault=VAULT, **changes)


def rehearsed() -> Site:
    target = site("web", "db")
    turns(target, 3)
    return target


def stones(made: Plan) -> list[LeaveTombstone]:
    return [action for action in made.actions if isinstance(action, LeaveTombstone)]


def test_a_silent_target_holds_a_deletion_only_until_the_deadline() -> None:
    target = rehearsed()
    target.answers = False
    before = plan(deleting(target, LATE - timedelta(seconds=1)))
    assert before == Plan(due=NOW + LATE)
    left = stones(plan(deleting(target, LATE)))
    assert {(stone.site, stone.wish.vm_id, stone.wish.vault) for stone in left} == {
        ("chicago", IDS["web"], "vault"),
        ("chicago", IDS["db"], "vault"),
    }


def test_a_tombstone_names_the_owner_mark_and_the_network() -> None:
    target = rehearsed()
    target.answers = False
    seen = deleting(target, LATE)
    owner, network = identity.owner(seen.test), identity.network_id(seen.test)
    for stone in stones(plan(seen)):
        assert stone.wish.steps == (f"StopTestFailover {owner}", f"RemoveTestNetwork {network}")


def test_the_object_goes_only_when_every_tombstone_is_remembered() -> None:
    target = rehearsed()
    target.answers = False
    ids = [stone.id for stone in stones(plan(deleting(target, LATE)))]
    half = plan(deleting(target, LATE, tombstones=frozenset(ids[:1])))
    assert [action.id for action in stones(half)] == ids[1:]
    assert plan(deleting(target, LATE, tombstones=frozenset(ids))).actions == (RemoveFinalizer(RELEASE),)


def test_a_tombstone_cuts_no_deletion_short_that_still_has_time() -> None:
    target = rehearsed()
    seen = deleting(target, LATE)
    target.answers = False
    ids = frozenset(stone.id for stone in stones(plan(deleting(target, LATE))))
    assert plan(deleting(target, timedelta(), tombstones=ids)).actions == ()
    target.answers = True
    assert verbs(list(plan(replace(seen, now=NOW)).actions)) == ["StopTestFailover"] * 2


def test_what_a_site_refuses_for_ever_is_recorded_too() -> None:
    left = stones(plan(deleting(rehearsed(), LATE)))
    assert {stone.wish.vm_id for stone in left} == set(IDS.values())


def test_a_network_that_stays_is_recorded_without_a_vm() -> None:
    target = rehearsed()
    for action in plan(deleting(target, timedelta())).actions:
        target.carry_out(action, NOW)
    (stone,) = stones(plan(deleting(target, LATE)))
    assert stone.wish.vm_id == ""
    assert [step.split()[0] for step in stone.wish.steps] == ["RemoveTestNetwork"]


def test_a_vanished_vm_and_a_silent_site_are_recorded_by_owner() -> None:
    target = rehearsed()
    target.answers = False
    (stone,) = stones(plan(without(deleting(target, LATE), "web", "db")))
    assert (stone.site, stone.wish.vm_id) == ("chicago", "")
    assert stone.wish.steps[0].startswith("StopTestFailover recovery/drill/")


def test_without_a_vault_the_deadline_is_an_hour() -> None:
    target = rehearsed()
    target.answers = False
    assert plan(replace(deleting(target, LATE), vault=None)).due == NOW + timedelta(hours=1)


def test_blocker_and_deadline_are_shown() -> None:
    target = rehearsed()
    target.answers = False
    seen = deleting(target, timedelta(minutes=1))
    report = judge(seen, plan(seen), ())
    assert condition(report, "CleanedUp") == ("Unknown", "SiteUnreachable")
    text = said(report, "CleanedUp")
    assert "test VM of web at chicago waits: the site cannot be asked" in text
    assert "Until 2026-05-04 12:30 UTC" in text


def test_a_refusal_is_shown_with_the_deadline() -> None:
    seen = deleting(rehearsed(), timedelta(minutes=1))
    report = judge(seen, plan(seen), (Trouble(None, "SiteRefused", "Busy", "The VM is busy"),))
    assert condition(report, "CleanedUp") == ("False", "CleanupFailed")
    assert said(report, "CleanedUp").startswith("The VM is busy Until 2026-05-04 12:30 UTC")


def test_a_suspended_site_is_sent_nothing_and_named() -> None:
    seen = deleting(rehearsed(), timedelta(minutes=1))
    quiet = tuple(replace(view, suspended=True) for view in seen.sites)
    members = {name: replace(vm, target=quiet[0]) for name, vm in seen.members.items() if vm is not None}
    held = replace(seen, sites=quiet, members=members)
    assert [action for action in plan(held).actions if isinstance(action, Command)] == []
    assert "the VMMSite is suspended" in said(judge(held, plan(held), ()), "CleanedUp")


def test_a_clean_up_that_nobody_deleted_has_no_deadline() -> None:
    target = rehearsed()
    target.answers = False
    seen = replace(world(target, NOW + timedelta(days=20)), vault=VAULT)
    assert stones(plan(seen)) == []
