"""NetworkMapping: whether both ends are there, who is served, and what the plan of all adapters comes to."""

from dataclasses import replace
from typing import Any

import pytest

from secondsite.api.networkmapping import NetworkMappingStatus
from secondsite.plan.networkmapping import judge, plan
from secondsite.plan.observed import MappingWorld, VMWorld
from secondsite.wire.inventory import Adapter, Network
from support import worlds as w
from support.simulated_sites import settle
from support.worlds import MAC, NOW, SECOND_MAC, VM_ID

PROTECTED = settle(w.world())


def mapping_world(*vms: VMWorld, spec: dict[str, Any] | None = None, **fields: Any) -> MappingWorld:
    mapping = w.obj("lan", w.mapping_spec(**(spec or {})))
    base = MappingWorld(
        now=NOW,
        mapping=mapping,
        source=w.source_view(),
        target=w.target_view(),
        site_objects={"newyork": w.site_object("newyork"), "chicago": w.site_object("chicago")},
        vms=tuple(replace(vm, mappings=(mapping,)) for vm in vms),
    )
    return replace(base, **fields)


def said(world: MappingWorld) -> dict[str, tuple[str, str]]:
    return {each.type: (each.status, each.reason) for each in judge(world, plan(world), ()).findings}


def status(world: MappingWorld) -> dict[str, Any]:
    found = dict(judge(world, plan(world), ()).status)
    NetworkMappingStatus.model_validate(found)
    return found


def test_pools_of_ipv6_hold_more_than_a_status_can_say() -> None:
    pools = {f"dr/{name}": w.pool(free=2**53 - 1) for name in ("dr-a", "dr-b")}
    assert status(mapping_world(PROTECTED, target=w.target_view(pools=pools)))["plan"]["poolFree"] == 2**53 - 1


def test_in_force() -> None:
    world = mapping_world(PROTECTED)
    assert plan(world).actions == ()
    assert said(world) == {
        "Ready": ("True", "Resolved"),
        "TargetAvailable": ("True", "NetworksFound"),
        "PlanComplete": ("True", "Resolved"),
    }
    assert status(world) == {"plan": {"adapters": 1, "resolved": 1, "unresolved": 0, "collisions": 0, "poolFree": 91}}


@pytest.mark.parametrize(
    ("world", "reason"),
    [
        (mapping_world(site_objects={"newyork": w.site_object("newyork")}), ("False", "SiteNotFound")),
        (mapping_world(target=w.target_view(contact=w.silent(5))), ("Unknown", "SiteUnreachable")),
        (mapping_world(source=w.source_view(networks={})), ("False", "SourceNetworkNotFound")),
        (mapping_world(target=w.target_view(networks={})), ("False", "TargetNetworkNotFound")),
        (mapping_world(target=w.target_view(networks={"dr": Network("dr", "l")})), ("False", "TestNetworkNotFound")),
        (
            mapping_world(spec={"testNetwork": None}, target=w.target_view(networks={"dr": Network("dr", "l")})),
            ("False", "TargetSubnetNotFound"),
        ),
        (mapping_world(target=w.target_view(pools={})), ("False", "PoolNotFound")),
        (mapping_world(spec={"subnets": []}, target=w.target_view(pools={})), ("False", "PoolNotFound")),
    ],
    ids=["site", "silent", "source network", "target network", "test network", "subnet", "pool", "no pool at all"],
)
def test_what_is_missing_is_named(world: MappingWorld, reason: tuple[str, str]) -> None:
    assert said(world)["TargetAvailable"] == reason
    assert said(world)["Ready"] == reason


def test_dhcp_needs_no_pool() -> None:
    world = mapping_world(spec={"addressMode": "DHCP"}, target=w.target_view(pools={}))
    assert said(world)["TargetAvailable"][0] == "True"
    assert "poolFree" not in status(world)["plan"]


def test_the_younger_of_two_is_in_conflict() -> None:
    world = mapping_world(others=(w.obj("older", w.mapping_spec(), uid="a"),))
    assert said(world)["Ready"] == ("False", "Conflict")


def test_unresolved_adapters_are_counted_and_named() -> None:
    stray = Adapter("lan", MAC, "prod", "prod-a", ("10.7.0.7",))
    world = mapping_world(w.with_machine(adapters=(stray,))(PROTECTED))
    assert said(world)["PlanComplete"] == ("False", "AdaptersUnresolved")
    found = status(world)
    assert (found["plan"]["adapters"], found["plan"]["unresolved"]) == (1, 1)
    [issue] = found["issues"]
    assert (issue["code"], issue["protectedVM"], issue["adapter"]) == ("TargetSubnetNotFound", "web", MAC)


def test_two_vms_that_would_have_one_address_collide() -> None:
    """Without a pool nobody reserves: only the whole plan shows it."""
    spec = {"addressMode": "Offset"}
    twin = w.machine(id=w.TWIN_ID, name="db", adapters=(Adapter("lan", SECOND_MAC, "prod", "prod-a", ("10.1.0.7",)),))
    other = w.spec(vm={"siteRef": {"name": "newyork"}, "cloud": "gold", "id": w.TWIN_ID})(PROTECTED)
    other = w.source(vms={VM_ID: w.machine(), w.TWIN_ID: twin})(other)
    no_pools = w.target(pools={})
    world = mapping_world(no_pools(PROTECTED), no_pools(other), spec=spec)
    assert said(world)["PlanComplete"] == ("False", "AddressesCollide")
    assert status(world)["plan"]["collisions"] == 2


def test_what_cannot_be_looked_up_makes_the_plan_unknown() -> None:
    world = mapping_world(w.source_silent()(PROTECTED))
    assert said(world)["PlanComplete"] == ("Unknown", "SiteUnreachable")
    assert said(world)["Ready"] == ("Unknown", "SiteUnreachable")


def test_issues_are_bounded_and_all_are_counted() -> None:
    strays = tuple(Adapter("lan", f"00:15:5D:00:02:{n:02X}", "prod", "", ("10.7.0.7",)) for n in range(70))
    world = mapping_world(w.with_machine(adapters=strays)(PROTECTED))
    found = status(world)
    assert len(found["issues"]) == 64
    assert found["plan"]["unresolved"] == 70


def test_an_adapter_of_another_mapping_is_not_counted() -> None:
    other = Adapter("san", SECOND_MAC, "elsewhere", "", ("10.8.0.1",))
    world = mapping_world(w.with_machine(adapters=(other,))(PROTECTED))
    assert status(world)["plan"]["adapters"] == 0
