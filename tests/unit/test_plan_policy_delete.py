"""Deleting a ReplicationPolicy: never while it is used, and a silent site is waited for, but not for ever."""

from dataclasses import replace
from datetime import timedelta

from secondsite.plan.actions import Dissociate, RemoveFinalizer
from secondsite.plan.observed import PolicyWorld
from secondsite.plan.policy import judge, plan
from support import worlds as w
from support.policy_plans import FINALIZER, ID, said, settle, user
from support.worlds import NOW, policy_spec, policy_world


def deleting(world: PolicyWorld) -> PolicyWorld:
    return replace(world, policy=replace(world.policy, deletion_timestamp=NOW))


def test_a_policy_in_use_waits_and_names_its_users() -> None:
    world, _ = settle(policy_world(users=(user("web"), user("db"))))
    world = deleting(world)
    assert plan(world).actions == ()
    assert said(world)["Ready"] == ("False", "InUse")
    [ready] = [each for each in judge(world, plan(world), ()).findings if each.type == "Ready"]
    assert "web, db" in ready.message


def test_the_last_user_gone_both_sides_are_given_up() -> None:
    world, _ = settle(policy_world())
    world = deleting(world)
    assert set(plan(world).actions) == {Dissociate("newyork", ID), Dissociate("chicago", ID)}
    empty = {name: replace(view, associations={}) for name, view in world.sites.items()}
    assert plan(replace(world, sites=empty)).actions == (RemoveFinalizer(FINALIZER),)
    shared = replace(world, others=(w.obj("other", policy_spec()),))
    assert plan(shared).actions == (RemoveFinalizer(FINALIZER),)
    gone = replace(world, policy=replace(world.policy, finalizers=()))
    assert plan(gone).actions == ()


def test_a_silent_site_holds_a_deletion_until_its_deadline() -> None:
    world, _ = settle(policy_world())
    quiet = replace(world.sites["chicago"], contact=w.silent(90), synced=False)
    world = deleting(replace(world, sites={"newyork": world.sites["newyork"], "chicago": quiet}))
    assert plan(world).actions == (Dissociate("newyork", ID),)
    assert plan(world).due == NOW + timedelta(hours=1)
    assert plan(replace(world, now=NOW + timedelta(hours=1))).actions == (RemoveFinalizer(FINALIZER),)
