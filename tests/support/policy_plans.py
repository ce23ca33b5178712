"""A policy brought to rest, site by site, and what is reported of it."""

from dataclasses import replace
from typing import Any

import msgspec

from secondsite.plan.actions import Associate, Trouble
from secondsite.plan.association import association_id
from secondsite.plan.observed import PolicyWorld, VMSummary
from secondsite.plan.policy import judge, plan
from secondsite.wire.inventory import Association
from secondsite.wire.operations import digest
from support.worlds import policy_spec

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


def associate(world: PolicyWorld) -> Associate:
    [action] = plan(world).actions
    assert isinstance(action, Associate)
    return action


def cloud_pair(storage: list[tuple[str, str]]) -> dict[str, Any]:
    return {
        "source": {"siteRef": {"name": "newyork"}, "cloud": "gold"},
        "target": {"siteRef": {"name": "chicago"}, "cloud": "silver"},
        "storage": [{"sourceClassification": a, "targetClassification": b} for a, b in storage],
    }
