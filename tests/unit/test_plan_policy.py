"""ReplicationPolicy: both sides prepared in their order, one transport per site, and what is counted."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondsite.api.replicationpolicy_status import PolicyCondition, ReplicationPolicyStatus
from secondsite.plan.actions import AddFinalizer, Associate, Dissociate, Trouble
from secondsite.plan.association import port_of
from secondsite.plan.observed import PolicyWorld
from secondsite.plan.policy import judge, plan
from support import worlds as w
from support.policy_plans import FINALIZER, ID, apply, associate, cloud_pair, said, settle, user, with_policy
from support.worlds import NOW, policy_spec, policy_world


def test_the_target_is_prepared_first_then_the_source_with_its_endpoint() -> None:
    world, done = settle(policy_world())
    assert done == ["chicago", "newyork"]
    assert plan(world).actions == ()
    assert said(world) == {
        name: ("True", reason)
        for name, reason in (("Ready", "Ready"), ("Associated", "Associated"), ("RolledOut", "RolledOut"))
    }
    first = apply(policy_world(), associate(policy_world()))
    wish = associate(first).wish
    assert (wish.role, wish.cloud, wish.peer_site, wish.peer_cloud) == ("Source", "gold", "chicago", "silver")
    assert wish.endpoint is not None
    assert (wish.endpoint.host, wish.endpoint.port) == ("h", 8084)


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
    older = w.obj("older", policy_spec(cloudPairs=[cloud_pair(storage=[("fast", "dr-fast")])]), uid="a")
    younger = w.obj(
        "younger", policy_spec(cloudPairs=[cloud_pair(storage=[("slow", "dr-fast"), ("fast", "x")])]), uid="b"
    )
    one = policy_world(policy=replace(older, finalizers=(FINALIZER,)), others=(younger,))
    two = policy_world(policy=replace(younger, finalizers=(FINALIZER,)), others=(older,))
    assert associate(one) == associate(two)
    pairs = [(pair.source, pair.target) for pair in associate(one).wish.storage]
    assert pairs == [("fast", "dr-fast"), ("slow", "dr-fast")]


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
    world, _ = settle(with_policy(policy_world(), cloudPairs=[cloud_pair([("fast", "bronze")])]))
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


def test_a_target_that_names_no_endpoint_yet_is_waited_for() -> None:
    world = policy_world()
    made = apply(world, associate(world))
    [fact] = made.sites["chicago"].associations.values()
    mute = msgspec.structs.replace(fact, data_host="")
    view = replace(made.sites["chicago"], associations={ID: mute})
    made = replace(made, sites={**made.sites, "chicago": view})
    assert plan(made).actions == ()
    assert said(made)["Associated"] == ("False", "Associating")


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
