"""Which mapping is served, in which direction, and that the way back leads to the address one came from."""

from dataclasses import replace
from ipaddress import ip_address
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from secondsite.plan.network.adapters import Subject, plan_adapters
from secondsite.plan.network.routes import backward, find_route, forward, served_instead
from secondsite.wire.inventory import Adapter, Network, Subnet
from support import worlds as w
from support.network_plans import lan, offset, target
from support.worlds import MAC

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
