"""The network plan: every mode and family, overrides, collisions, and that nothing is ever guessed."""

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondsite.plan.network.overrides import match
from secondsite.wire.inventory import Adapter, Network, Subnet
from support import worlds as w
from support.network_plans import V6_SOURCE, V6_TARGET, lan, offset, planned, preserve, target
from support.worlds import MAC, SECOND_MAC, VM_ID


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


@given(st.integers(0, 255), st.integers(8, 28))
def test_an_offset_stays_inside_its_subnet(host: int, prefix: int) -> None:
    source, to = ip_network(f"10.1.0.0/{prefix}", strict=False), ip_network(f"172.16.0.0/{prefix}", strict=False)
    address = source.network_address + min(host, source.num_addresses - 1)
    site = target(networks={"dr": Network("dr", "l", subnets=(Subnet("a", str(to)),))}, pools={})
    found = planned(lan(str(address)), offset(str(source), str(to)), site=site)
    assert all(ip_address(each) in to for each in found.addresses)
    assert len(found.addresses) == 1


def test_a_fixed_address_and_a_drawn_one_in_one_subnet_are_one() -> None:
    """A site gives an adapter one address per subnet."""
    explicit = [{"source": "10.1.0.7", "target": "10.2.0.50"}]
    pairs = [{"source": "10.1.0.0/24", "target": "10.2.0.0/24", "explicit": explicit}]
    found = planned(lan("10.1.0.7", "10.1.0.8"), {"subnets": pairs})
    assert (found.resolution, found.addresses) == ("Mapping", ("10.2.0.50",))


def test_two_overrides_for_one_adapter_are_refused() -> None:
    spec = w.vm_spec(networkAdapters=[{"adapter": {"name": "lan"}}, {"adapter": {"macAddress": MAC}}])
    found, [problem] = match((lan("10.1.0.7"),), spec.network_adapters)
    assert list(found) == [MAC]
    assert problem.reason == "AdapterNameNotUnique"
    assert MAC in problem.message
