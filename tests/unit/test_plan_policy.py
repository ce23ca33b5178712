"""ReplicationPolicy: both sides prepared in their order, one transport per site, and what is counted."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondsite.api.replicationpolicy_status import PolicyCondition, ReplicationPolicyStatus
from secondsite.api.window import Window
from secondsite.plan.actions import AddFinalizer, Associate, Dissociate, RemoveFinalizer, Trouble
from secondsite.plan.association import association_id, port_of
from secondsite.plan.observed import PolicyWorld, VMSummary
from secondsite.plan.policy import judge, plan
from secondsite.plan.window import opening
from secondsite.wire.inventory import Association
from secondsite.wire.operations import digest
from support import worlds as w
from support.worlds import NOW, policy_spec, policy_world

FINALIZER = "secondsite.dev/in-use"
PAIR = policy_spec().cloud_pairs[0]
ID = association_id(PAIR)


def apply(world: PolicyWorld, action: Associate) -> PolicyWorld:
    """The site does as it is told and says so."""
    wish, view = action.wish, world.sites[action.site]
    fact = Association(
        action.id, wish.role, wish.cloud, wish.peer_site, wish.peer_cloud, wish.authentication, wish.port, digest(wish)
    )
    if wish.role == "Target":
        fact = msgspec.structs.replace(fact, data_host="h", data_address="127.0.20.1", data_port=wish.port)
    changed = replace(view, associations={**view.associations, action.id: fact})
    return replace(world, sites={**world.sites, action.site: changed})


def settle(world: PolicyWorld) -> tuple[PolicyWorld, list[str]]:
    done: list[str] = []
    for _ in range(9):
        actions = plan(world).actions
        if not actions:
            return world, done
        for action in actions:
            assert isinstance(action, Associate)
            done.append(action.site)
            world = apply(world, action)
    raise AssertionError(f"no rest: {done}")


def said(world: PolicyWorld, *troubles: Trouble) -> dict[str, tuple[str, str]]:
    return {each.type: (each.status, each.reason) for each in judge(world, plan(world), troubles).findings}


def with_policy(world: PolicyWorld, **spec: Any) -> PolicyWorld:
    return replace(world, policy=replace(world.policy, spec=policy_spec(**spec)))


def user(name: str, **fields: Any) -> VMSummary:
    return replace(VMSummary(name, "Protected", within_rpo=True, settings_applied=True), **fields)


def test_the_target_is_prepared_first_then_the_source_with_its_endpoint() -> None:
    world, done = settle(policy_world())
    assert done == ["chicago", "newyork"]
    assert plan(world).actions == ()
    assert said(world) == {
        name: ("True", reason)
        for name, reason in (("Ready", "Ready"), ("Associated", "Associated"), ("RolledOut", "RolledOut"))
    }
    first = apply(policy_world(), _associate(policy_world()))
    wish = _associate(first).wish
    assert (wish.role, wish.cloud, wish.peer_site, wish.peer_cloud) == ("Source", "gold", "chicago", "silver")
    assert wish.endpoint is not None
    assert (wish.endpoint.host, wish.endpoint.port) == ("h", 8084)


def _associate(world: PolicyWorld) -> Associate:
    [action] = plan(world).actions
    assert isinstance(action, Associate)
    return action


def test_the_finalizer_comes_before_the_first_action() -> None:
    bare = replace(policy_world(), policy=replace(policy_world().policy, finalizers=()))
    assert plan(bare).actions == (AddFinalizer(FINALIZER),)
    silent = replace(bare, sites={})
    assert plan(silent).actions == ()
    assert plan(replace(silent, users=(user("web"),))).actions == (AddFinalizer(FINALIZER),)


def test_a_changed_transport_is_prepared_again_on_both_sides() -> None:
    world, _ = settle(policy_world())
    changed = with_policy(world, transport={"authentication": "Kerberos"})
    assert said(changed)["Associated"] == ("False", "Associating")
    world, done = settle(changed)
    assert done == ["chicago", "newyork"]
    assert judge(world, plan(world), ()).status["cloudPairs"][0]["port"] == 8083  # type: ignore[index] # a Mapping of objects


@pytest.mark.parametrize(
    ("transport", "port"), [({}, 8084), ({"authentication": "Kerberos"}, 8083), ({"port": 9000}, 9000)]
)
def test_the_port_is_the_usual_one_unless_it_is_said(transport: dict[str, Any], port: int) -> None:
    assert port_of(policy_spec(transport=transport)) == port


def test_two_policies_with_one_pair_ask_for_one_thing() -> None:
    older = w.obj("older", policy_spec(cloudPairs=[_pair(storage=[("fast", "dr-fast")])]), uid="a")
    younger = w.obj("younger", policy_spec(cloudPairs=[_pair(storage=[("slow", "dr-fast"), ("fast", "x")])]), uid="b")
    one = policy_world(policy=replace(older, finalizers=(FINALIZER,)), others=(younger,))
    two = policy_world(policy=replace(younger, finalizers=(FINALIZER,)), others=(older,))
    assert _associate(one) == _associate(two)
    pairs = [(pair.source, pair.target) for pair in _associate(one).wish.storage]
    assert pairs == [("fast", "dr-fast"), ("slow", "dr-fast")]


def _pair(storage: list[tuple[str, str]]) -> dict[str, Any]:
    return {
        "source": {"siteRef": {"name": "newyork"}, "cloud": "gold"},
        "target": {"siteRef": {"name": "chicago"}, "cloud": "silver"},
        "storage": [{"sourceClassification": a, "targetClassification": b} for a, b in storage],
    }


def test_the_younger_of_two_transports_at_one_site_waits() -> None:
    older = w.obj("older", policy_spec(transport={"port": 9000}), uid="a")
    world = policy_world(others=(older,))
    assert plan(world).actions == ()
    assert said(world)["Ready"] == ("False", "TransportConflict")
    assert plan(replace(world, others=(replace(older, creation_timestamp=NOW),))).actions
    assert plan(replace(world, others=(replace(older, deletion_timestamp=NOW),))).actions


def _silent(name: str) -> PolicyWorld:
    world = policy_world()
    view = replace(world.sites[name], contact=w.silent(90), synced=False)
    return replace(world, sites={**world.sites, name: view})


@pytest.mark.parametrize(
    ("world", "expected"),
    [
        (policy_world(site_objects={"newyork": w.site_object("newyork")}), ("False", "SiteNotFound")),
        (_silent("newyork"), ("Unknown", "SiteUnreachable")),
        (_silent("chicago"), ("Unknown", "SiteUnreachable")),
        (policy_world(identity=replace(w.IDENTITY, vault="")), ("False", "SiteNotReady")),
        (
            policy_world(sites={"newyork": w.source_view(suspended=True), "chicago": w.target_view()}),
            ("False", "SiteNotReady"),
        ),
        (
            policy_world(sites={"newyork": w.source_view(), "chicago": w.target_view(site=w.source_view().site)}),
            ("False", "CloudNotFound"),
        ),
        (
            policy_world(
                site_objects={"newyork": w.site_object("newyork", clouds=["iron"]), "chicago": w.site_object("chicago")}
            ),
            ("False", "CloudNotFound"),
        ),
        (policy_world(sites={}), ("Unknown", "SiteUnreachable")),
    ],
    ids=["no site", "source silent", "target silent", "no authority", "suspended", "no cloud", "not used", "new"],
)
def test_what_stands_in_the_way_is_named_and_nothing_is_done(world: PolicyWorld, expected: tuple[str, str]) -> None:
    assert plan(world).actions == ()
    assert said(world)["Associated"] == expected
    assert said(world)["Ready"] == expected


def test_a_missing_storage_classification_is_told_but_stops_nothing() -> None:
    world, _ = settle(with_policy(policy_world(), cloudPairs=[_pair([("fast", "bronze")])]))
    assert ID in world.sites["newyork"].associations
    assert said(world)["Associated"] == ("False", "StorageClassificationNotFound")


def test_a_refusal_is_the_reason() -> None:
    world = policy_world()
    trouble = Trouble(plan(world).actions[0], "SiteRefused", "NotAuthorized", "no", "Mend it.", "chicago")
    assert said(world, trouble)["Associated"] == ("False", "AssociationFailed")


def test_users_are_counted() -> None:
    tested = NOW - timedelta(days=3)
    users = (
        user("a"),
        user("b", within_rpo=False, last_test_time=tested),
        user("c", within_rpo=None),
        user("d", settings_applied=False),
    )
    world, _ = settle(policy_world(users=users))
    status = judge(world, plan(world), ()).status
    assert (status["protectedVMs"], status["withinRPO"], status["rolledOut"]) == (4, 2, 3)
    assert status["lastTestFailoverTime"] == "2026-11-18T12:00:00Z"
    assert status["rpoTargetSeconds"] == 90
    assert status["resynchronizationWindow"] == {"start": "18:30", "end": "06:00", "timeZone": "UTC"}
    assert said(world)["RolledOut"] == ("False", "RollingOut")
    manual = with_policy(world, resynchronization={"mode": "Manual"}, rpo={"targetSeconds": 600})
    status = judge(manual, plan(manual), ()).status
    assert "resynchronizationWindow" not in status
    assert status["rpoTargetSeconds"] == 600


def test_a_method_that_is_not_built_says_so() -> None:
    world, _ = settle(with_policy(policy_world(), initialReplication={"method": "ExistingReplica"}))
    assert said(world)["Ready"] == ("False", "NotImplemented")


# Deletion


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


@given(
    st.sampled_from([{}, {"newyork": w.source_view()}, {"newyork": w.source_view(), "chicago": w.target_view()}]),
    st.sampled_from([(), (user("web"),)]),
    st.sampled_from([None, NOW - timedelta(minutes=1), NOW - timedelta(days=1)]),
    st.sampled_from(["", "v-1"]),
    st.sampled_from([(), (FINALIZER,)]),
    st.sampled_from(["Reachable", "Unreachable", "Unknown"]),
)
def test_there_is_always_an_answer(
    sites: dict[str, Any], users: Any, deleted: datetime | None, vault: str, finalizers: Any, answer: Any
) -> None:
    views = {name: replace(view, contact=replace(view.contact, answer=answer)) for name, view in sites.items()}
    base = policy_world(sites=views, users=users, identity=replace(w.IDENTITY, vault=vault))
    policy = replace(base.policy, deletion_timestamp=deleted, finalizers=finalizers)
    world = replace(base, policy=policy, site_objects={name: w.site_object(name) for name in sites})
    made = plan(world)
    report = judge(world, made, ())
    assert {each.type for each in report.findings} == {str(each) for each in PolicyCondition}
    ReplicationPolicyStatus.model_validate(report.status)
    for action in made.actions:
        if isinstance(action, Associate | Dissociate):
            assert views[action.site].known
            assert FINALIZER in finalizers
        if isinstance(action, Dissociate):
            assert deleted is not None
            assert not users


# Windows


@pytest.mark.parametrize(
    ("window", "now", "opens"),
    [
        (("18:30", "06:00", "UTC"), "2026-11-21T12:00", "2026-11-21T18:30"),
        (("18:30", "06:00", "UTC"), "2026-11-21T18:30", None),
        (("18:30", "06:00", "UTC"), "2026-11-21T05:59", None),
        (("18:30", "06:00", "UTC"), "2026-11-21T06:00", "2026-11-21T18:30"),
        (("09:00", "17:00", "UTC"), "2026-11-21T17:00", "2026-11-22T09:00"),
        (("09:00", "17:00", "UTC"), "2026-11-21T16:59", None),
        (("20:00", "22:00", "America/New_York"), "2026-11-21T12:00", "2026-11-22T01:00"),
        (("20:00", "22:00", "Nowhere/Land"), "2026-11-21T12:00", "2026-11-21T20:00"),
    ],
)
def test_a_window_opens_when_it_says(window: tuple[str, str, str], now: str, opens: str | None) -> None:
    start, end, zone = window
    meant = Window.model_construct(start=start, end=end, time_zone=zone)
    found = opening(meant, datetime.fromisoformat(now).replace(tzinfo=UTC))
    assert found == (datetime.fromisoformat(opens).replace(tzinfo=UTC) if opens else None)


def test_a_target_that_names_no_endpoint_yet_is_waited_for() -> None:
    world = policy_world()
    made = apply(world, _associate(world))
    [fact] = made.sites["chicago"].associations.values()
    mute = msgspec.structs.replace(fact, data_host="")
    view = replace(made.sites["chicago"], associations={ID: mute})
    made = replace(made, sites={**made.sites, "chicago": view})
    assert plan(made).actions == ()
    assert said(made)["Associated"] == ("False", "Associating")
