"""The network plan: every mode and family, overrides, the way back, and that nothing is ever guessed."""

from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondsite.plan.actions import Release, Reserve
from secondsite.plan.network.adapters import PlannedAdapter, Subject, plan_adapters
from secondsite.plan.network.overrides import match
from secondsite.plan.network.reservations import release, reserve
from secondsite.plan.network.routes import backward, find_route, forward, served_instead
from secondsite.plan.observed import SiteView
from secondsite.wire.inventory import Adapter, Network, Pool, Subnet
from support import worlds as w
from support.worlds import MAC, SECOND_MAC, VM_ID

V6_SOURCE, V6_TARGET = "fd00:1::/64", "fd00:2::/64"


def target(**fields: Any) -> SiteView:
    networks = {
        "dr": Network(
            "dr", "l", subnets=(Subnet("dr-a", "10.2.0.0/24"), Subnet("dr-6", V6_TARGET), Subnet("dr-b", "10.3.0.0/24"))
        ),
        "dr-test": Network("dr-test", "l"),
        "lab": Network("lab", "l"),
        "other": Network("other", "l", subnets=(Subnet("o", "10.9.0.0/24"),)),
    }
    return w.target_view(**{"networks": networks, **fields})


def lan(*addresses: str, **fields: Any) -> Adapter:
    return Adapter("lan", MAC, fields.get("network", "prod"), fields.get("subnet", "prod-a"), addresses)


def planned(
    adapter: Adapter, mapping: dict[str, Any] | None, *overrides: dict[str, Any], site: SiteView | None = None
) -> PlannedAdapter:
    """The plan for one adapter under one mapping."""
    mappings = () if mapping is None else (w.obj("lan", w.mapping_spec(**mapping)),)
    spec = w.vm_spec(networkAdapters=list(overrides))
    subject = Subject(w.machine(adapters=(adapter,)), "newyork", site or target(), mappings, spec.network_adapters)
    [found] = plan_adapters(subject)
    return found


def preserve(subnet: str) -> dict[str, Any]:
    return {"addressMode": "Preserve", "subnets": [{"source": subnet, "target": subnet}]}


def offset(source: str, to: str, **more: Any) -> dict[str, Any]:
    return {"addressMode": "Offset", "subnets": [{"source": source, "target": to, **more}]}


@pytest.mark.parametrize(
    ("mapping", "address", "expected"),
    [
        (preserve("10.2.0.0/24"), "10.2.0.7", "10.2.0.7"),
        ({"addressMode": "Preserve", "subnets": []}, "10.3.0.9", "10.3.0.9"),
        (offset("10.1.0.0/24", "10.2.0.0/24"), "10.1.0.7", "10.2.0.7"),
        (offset(V6_SOURCE, V6_TARGET), "fd00:1::abcd", "fd00:2::abcd"),
        (offset("::/120", "fd00:2::/120"), "::7", "fd00:2::7"),
        (
            offset("10.1.0.0/24", "10.2.0.0/24", explicit=[{"source": "10.1.0.7", "target": "10.2.0.99"}]),
            "10.1.0.7",
            "10.2.0.99",
        ),
    ],
    ids=["preserve", "preserve stretched", "offset", "offset v6", "offset low v6", "explicit"],
)
def test_an_address_follows_its_mode(mapping: dict[str, Any], address: str, expected: str) -> None:
    found = planned(lan(address), mapping)
    assert (found.resolution, found.network, found.addresses) == ("Mapping", "dr", (expected,))


@pytest.mark.parametrize(
    ("mapping", "adapter", "reason"),
    [
        (None, lan("10.1.0.7"), "AdaptersUnresolved"),
        (preserve("10.2.0.0/24"), lan("10.1.0.7"), "TargetSubnetNotFound"),
        (offset("10.1.0.0/24", "10.2.0.0/24"), lan("10.7.0.7"), "TargetSubnetNotFound"),
        ({"subnets": [{"source": "10.1.0.0/24", "target": "10.3.0.0/24"}]}, lan("10.1.0.7"), "PoolNotFound"),
        ({"subnets": []}, lan("10.1.0.7"), "TargetSubnetNotFound"),
        ({"target": {"siteRef": {"name": "chicago"}, "network": "gone"}}, lan("10.1.0.7"), "TargetNetworkNotFound"),
    ],
    ids=["no mapping", "preserve outside", "offset outside", "no pool", "two subnets", "no network"],
)
def test_what_no_rule_resolves_is_disconnected_and_told(
    mapping: dict[str, Any] | None, adapter: Adapter, reason: str
) -> None:
    found = planned(adapter, mapping)
    assert (found.resolution, found.network, found.addresses) == ("Disconnected", "", ())
    assert found.reason == reason
    assert found.message
    assert not found.resolved


def test_disconnecting_is_a_fault_only_where_nobody_chose_it() -> None:
    outside = offset("10.1.0.0/24", "10.2.0.0/24")
    assert not planned(lan("10.7.0.7"), outside).fault
    assert planned(lan("10.7.0.7"), {**outside, "onUnmapped": "Block"}).fault
    assert planned(lan("10.7.0.7"), None).fault


def test_an_adapter_that_is_not_connected_needs_nothing() -> None:
    found = planned(lan(network=""), None)
    assert (found.resolution, found.resolved, found.fault) == ("Disconnected", True, False)


def test_dhcp_and_an_adapter_without_addresses_get_a_network_only() -> None:
    dhcp = {"addressMode": "DHCP", "subnets": [{"source": "10.1.0.0/24", "target": "10.2.0.0/24"}]}
    found = planned(lan("10.1.0.7", "fe80::1"), dhcp)
    assert (found.network, found.subnet, found.addresses, found.wanted) == ("dr", "10.2.0.0/24", (), None)
    silent = planned(lan("fe80::1", "rubbish"), {})
    assert (silent.resolution, silent.network, silent.addresses) == ("Mapping", "dr", ())


def test_a_pool_address_is_reserved_then_planned() -> None:
    waits = planned(lan("10.1.0.7"), {})
    assert (waits.resolution, waits.addresses, waits.network) == ("Pending", (), "dr")
    mine = (VM_ID, MAC, "10.2.0.44")
    found = planned(lan("10.1.0.7"), {}, site=target(pools={"dr/dr-a": w.pool(mine)}))
    assert (found.resolution, found.addresses, found.gateway) == ("Mapping", ("10.2.0.44",), "10.2.0.1")
    assert found.dns_servers == ("10.2.0.2",)
    empty = planned(lan("10.1.0.7"), {}, site=target(pools={"dr/dr-a": w.pool(free=0)}))
    assert (empty.resolution, empty.reason) == ("Disconnected", "PoolExhausted")


def test_gateway_and_dns_of_the_mapping_come_before_the_pools() -> None:
    pairs = [{"source": "10.1.0.0/24", "target": "10.2.0.0/24", "gateway": "10.2.0.254"}]
    found = planned(lan("10.1.0.7"), {"addressMode": "Offset", "subnets": pairs, "dnsServers": ["10.2.0.53"]})
    assert (found.gateway, found.dns_servers) == ("10.2.0.254", ("10.2.0.53",))


def test_without_pairs_a_pool_is_chosen_only_without_doubt() -> None:
    one = {"dr": Network("dr", "l", subnets=(Subnet("dr-a", "10.2.0.0/24"),))}
    assert planned(lan("10.1.0.7"), {"subnets": []}, site=target(networks=one)).resolution == "Pending"
    twin = {"dr": Network("dr", "l", subnets=(Subnet("x", "10.3.0.0/24"), Subnet("dr-a", "10.2.0.0/24")))}
    named = lan("10.1.0.7", subnet="dr-a")
    assert planned(named, {"subnets": []}, site=target(networks=twin)).resolution == "Pending"
    assert planned(lan("10.1.0.7"), {"subnets": []}, site=target(networks=twin)).resolution == "Disconnected"


def test_two_families_are_planned_together_or_not_at_all() -> None:
    pairs = [{"source": "10.1.0.0/24", "target": "10.2.0.0/24"}, {"source": V6_SOURCE, "target": V6_TARGET}]
    both = {"addressMode": "Offset", "subnets": pairs}
    found = planned(lan("fd00:1::7", "10.1.0.7"), both)
    assert found.addresses == ("fd00:2::7", "10.2.0.7")
    assert found.subnet == "10.2.0.0/24"
    assert planned(lan("fd00:9::7", "10.1.0.7"), both).resolution == "Disconnected"


# Collisions


def test_an_address_that_another_holds_is_a_collision() -> None:
    mapping = offset("10.1.0.0/24", "10.2.0.0/24")
    reserved = target(pools={"dr/dr-a": w.pool(("other", "M", "10.2.0.7"))})
    running = target(holders={("dr", "10.2.0.7"): (VM_ID, "other")})
    for site in (reserved, running):
        found = planned(lan("10.1.0.7"), mapping, site=site)
        assert (found.resolution, found.network, found.fault) == ("Collision", "", True)
        assert "other" in found.message
    own = target(pools={"dr/dr-a": w.pool((VM_ID, MAC, "10.2.0.7"))}, holders={("dr", "10.2.0.7"): (VM_ID,)})
    assert planned(lan("10.1.0.7"), mapping, site=own).addresses == ("10.2.0.7",)
    sibling = target(pools={"dr/dr-a": w.pool((VM_ID, SECOND_MAC, "10.2.0.7"))})
    assert planned(lan("10.1.0.7"), mapping, site=sibling).resolution == "Collision"


# Overrides


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ({"addresses": ["10.2.0.50"]}, ("Override", "dr", ("10.2.0.50",), "dr-test")),
        ({"targetNetwork": "other"}, ("Override", "other", (), "")),
        ({"targetNetwork": "other", "addresses": ["10.9.0.5"]}, ("Override", "other", ("10.9.0.5",), "")),
        ({"testNetwork": "lab"}, ("Mapping", "dr", ("10.2.0.7",), "lab")),
        ({"targetSubnet": "10.3.0.0/24"}, ("Override", "dr", ("10.3.0.7",), "dr-test")),
        ({"targetSubnet": "10.3.0.0/24", "addresses": ["10.3.0.9"]}, ("Override", "dr", ("10.3.0.9",), "dr-test")),
    ],
)
def test_an_override_comes_before_the_mapping(override: dict[str, Any], expected: tuple[object, ...]) -> None:
    found = planned(lan("10.1.0.7"), offset("10.1.0.0/24", "10.2.0.0/24"), {"adapter": {"name": "lan"}, **override})
    assert (found.resolution, found.network, found.addresses, found.test_network) == expected


def test_an_override_alone_can_map() -> None:
    override = {"adapter": {"macAddress": MAC}, "targetNetwork": "dr", "targetSubnet": "10.2.0.0/24"}
    assert planned(lan("10.1.0.7"), None, override).resolution == "Pending"
    v6 = {**override, "targetSubnet": V6_TARGET}
    assert planned(lan("fd00:1::7"), None, v6).reason == "PoolNotFound"
    nowhere = {"adapter": {"macAddress": MAC}, "testNetwork": "lab"}
    assert planned(lan("10.1.0.7"), None, nowhere).resolution == "Disconnected"
    outside = {"adapter": {"macAddress": MAC}, "targetNetwork": "dr", "addresses": ["172.16.0.1"]}
    assert planned(lan("10.1.0.7"), None, outside).reason == "TargetSubnetNotFound"


# Directions and conflicts


def test_a_mapping_is_read_backwards_unless_there_is_one_of_that_direction() -> None:
    there = w.obj("lan", w.mapping_spec(**offset("10.1.0.0/24", "10.2.0.0/24", gateway="10.2.0.1")))
    back = find_route((there,), "chicago", "newyork", "dr")
    assert back is not None
    assert (back.network, back.mapping, back.test_network, back.pairs[0].gateway) == ("prod", "lan", "", "")
    own = w.obj(
        "back",
        w.mapping_spec(
            source={"siteRef": {"name": "chicago"}, "network": "dr"},
            target={"siteRef": {"name": "newyork"}, "network": "prod-2"},
        ),
    )
    found = find_route((there, own), "chicago", "newyork", "dr")
    assert found is not None
    assert found.network == "prod-2"
    assert find_route((there,), "newyork", "boston", "prod") is None


def test_of_two_mappings_the_older_is_served() -> None:
    old, young = (w.obj(name, w.mapping_spec()) for name in ("old", "young"))
    young = replace(young, creation_timestamp=w.NOW)
    found = find_route((old, young), "newyork", "chicago", "prod")
    assert found is not None
    assert found.mapping == "old"
    assert served_instead(young, (old,)) == old
    assert served_instead(old, (young,)) is None
    elsewhere = w.obj("e", w.mapping_spec(source={"siteRef": {"name": "newyork"}, "network": "x"}))
    assert served_instead(young, (elsewhere,)) is None


@given(st.integers(1, 254), st.sampled_from(["Offset", "Preserve"]), st.booleans())
def test_failback_inverts_failover_address_by_address(host: int, mode: str, explicit: bool) -> None:
    target_cidr = "10.1.0.0/24" if mode == "Preserve" else "10.2.0.0/24"
    pair: dict[str, Any] = {"source": "10.1.0.0/24", "target": target_cidr}
    if explicit and mode == "Offset":
        # One to one: what takes another's place gives its own.
        pair["explicit"] = [
            {"source": "10.1.0.7", "target": "10.2.0.200"},
            {"source": "10.1.0.200", "target": "10.2.0.7"},
        ]
    mapping = w.obj("lan", w.mapping_spec(addressMode=mode, subnets=[pair]))
    there, back = forward(mapping), backward(mapping)
    assert (there.network, back.network) == ("dr", "prod")
    address = str(ip_address(f"10.1.0.{host}"))
    dr = target(networks={"dr": Network("dr", "l", subnets=(Subnet("a", target_cidr),))}, pools={})
    gone = plan_adapters(Subject(w.machine(adapters=(lan(address),)), "newyork", dr, (mapping,)))[0]
    ny = replace(dr, name="newyork", networks={"prod": Network("prod", "l", subnets=(Subnet("a", "10.1.0.0/24"),))})
    returning = Adapter("lan", MAC, "dr", "a", gone.addresses)
    home = plan_adapters(Subject(w.machine(adapters=(returning,)), "chicago", ny, (mapping,)))[0]
    assert home.addresses == (address,)


@given(st.integers(0, 255), st.integers(8, 28))
def test_an_offset_stays_inside_its_subnet(host: int, prefix: int) -> None:
    source, to = ip_network(f"10.1.0.0/{prefix}", strict=False), ip_network(f"172.16.0.0/{prefix}", strict=False)
    address = source.network_address + min(host, source.num_addresses - 1)
    site = target(networks={"dr": Network("dr", "l", subnets=(Subnet("a", str(to)),))}, pools={})
    found = planned(lan(str(address)), offset(str(source), str(to)), site=site)
    assert all(ip_address(each) in to for each in found.addresses)
    assert len(found.addresses) == 1


# Reservations


def test_reservations_follow_the_plan() -> None:
    site = target()
    waits = planned(lan("10.1.0.7"), {}, site=site)
    [asked] = reserve(VM_ID, site, (waits,))
    assert isinstance(asked, Reserve)
    assert (asked.wish.subnets, asked.wish.addresses) == (["10.2.0.0/24"], ())
    held = target(pools={"dr/dr-a": w.pool((VM_ID, MAC, "10.2.0.44"))})
    assert reserve(VM_ID, held, (planned(lan("10.1.0.7"), {}, site=held),)) == ()
    fixed = {"adapter": {"name": "lan"}, "addresses": ["10.2.0.50"]}
    changed = planned(lan("10.1.0.7"), {}, fixed, site=held)
    assert reserve(VM_ID, held, (changed,)) == (Release("chicago", VM_ID, MAC),)
    [again] = reserve(VM_ID, site, (planned(lan("10.1.0.7"), {}, fixed, site=site),))
    assert isinstance(again, Reserve)
    assert (again.wish.subnets, again.wish.addresses) == ([], ("10.2.0.50",))


def test_what_is_not_resolved_keeps_what_it_has() -> None:
    held = target(pools={"dr/dr-a": w.pool((VM_ID, MAC, "10.2.0.44"))})
    for adapter, mapping in ((lan("10.7.0.7"), {}), (lan("10.1.0.7"), None), (lan(network=""), {})):
        assert reserve(VM_ID, held, (planned(adapter, mapping, site=held),)) == ()


def test_everything_is_given_back() -> None:
    pools = {"a": w.pool((VM_ID, MAC, "10.2.0.44"), ("other", "M", "10.2.0.45")), "b": w.pool((VM_ID, "X", "10.3.0.4"))}
    assert release(VM_ID, target(pools=pools)) == (Release("chicago", VM_ID, MAC), Release("chicago", VM_ID, "X"))


def test_a_fixed_address_and_a_drawn_one_in_one_subnet_are_one() -> None:
    """A site gives an adapter one address per subnet."""
    explicit = [{"source": "10.1.0.7", "target": "10.2.0.50"}]
    pairs = [{"source": "10.1.0.0/24", "target": "10.2.0.0/24", "explicit": explicit}]
    found = planned(lan("10.1.0.7", "10.1.0.8"), {"subnets": pairs})
    assert (found.resolution, found.addresses) == ("Mapping", ("10.2.0.50",))


def test_a_pool_of_another_family_is_used() -> None:
    pool = Pool("dr", "dr-6", V6_TARGET, "fd00:2::10", "fd00:2::ff", free=4, reserved=((VM_ID, MAC, "fd00:2:0::10"),))
    pairs = [{"source": V6_SOURCE, "target": V6_TARGET}]
    found = planned(lan("fd00:1::7"), {"subnets": pairs}, site=target(pools={"dr/dr-6": pool}))
    assert found.resolution == "Mapping"
    assert ip_address(found.addresses[0]) == ip_address("fd00:2::10")


def test_two_overrides_for_one_adapter_are_refused() -> None:
    spec = w.vm_spec(networkAdapters=[{"adapter": {"name": "lan"}}, {"adapter": {"macAddress": MAC}}])
    found, [problem] = match((lan("10.1.0.7"),), spec.network_adapters)
    assert list(found) == [MAC]
    assert problem.reason == "AdapterNameNotUnique"
    assert MAC in problem.message


def test_what_is_held_for_a_network_that_hands_out_its_own_is_given_back() -> None:
    held = target(pools={"dr/dr-a": w.pool((VM_ID, MAC, "10.2.0.44"))})
    dhcp = planned(lan("10.1.0.7"), {"addressMode": "DHCP"}, site=held)
    assert reserve(VM_ID, held, (dhcp,)) == (Release("chicago", VM_ID, MAC),)
