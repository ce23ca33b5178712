"""Addresses from static pools: a pure choice."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondsite.agent.lab.addresses import choose, free_count
from secondsite.agent.lab.datacentre import Network, PoolRange, Subnet
from secondsite.wire.problems import Code, Refusal

V4 = Subnet(name="a", cidr="10.0.0.0/24", gateway="10.0.0.11", pool=PoolRange(start="10.0.0.10", end="10.0.0.13"))
V6 = Subnet(name="b", cidr="2001:db8::/64", pool=PoolRange(start="2001:db8::1", end="2001:db8::2"))
LOW = Subnet(name="c", cidr="::/112", pool=PoolRange(start="::7", end="::9"))
BARE = Subnet(name="d", cidr="10.5.0.0/24")
NETWORK = Network(name="Front", logical_network="Corp", subnets=(V4, V6, LOW, BARE))


def test_the_first_free_address_but_never_the_gateway() -> None:
    assert choose(NETWORK, ["10.0.0.0/24"], [], {"10.0.0.10": "VM x"}, []) == ["10.0.0.12"]


def test_what_an_adapter_holds_it_keeps() -> None:
    assert choose(NETWORK, ["10.0.0.0/24"], [], {}, ["10.0.0.13"]) == ["10.0.0.13"]


def test_one_address_per_subnet_of_either_family() -> None:
    assert choose(NETWORK, ["10.0.0.0/24", "2001:db8::/64", "::/112"], [], {}, []) == [
        "10.0.0.10",
        "2001:db8::1",
        "::7",
    ]


def test_a_wish_takes_the_place_of_a_choice_and_may_lie_outside_the_pool() -> None:
    assert choose(NETWORK, ["10.0.0.0/24"], ["10.0.0.200"], {}, []) == ["10.0.0.200"]
    assert choose(NETWORK, [], ["10.5.0.9"], {}, []) == ["10.5.0.9"]


@pytest.mark.parametrize(
    ("subnets", "wished", "taken", "code"),
    [
        (["10.0.0.0/24"], [], ["10.0.0.10", "10.0.0.12", "10.0.0.13"], Code.POOL_EXHAUSTED),
        (["10.5.0.0/24"], [], [], Code.POOL_EXHAUSTED),
        (["10.9.0.0/24"], [], [], Code.NOT_FOUND),
        ([], ["10.0.0.10"], ["10.0.0.10"], Code.IN_USE),
        ([], ["192.0.2.1"], [], Code.NOT_FOUND),
    ],
)
def test_what_cannot_be_given_is_refused(subnets: list[str], wished: list[str], taken: list[str], code: Code) -> None:
    with pytest.raises(Refusal) as refused:
        choose(NETWORK, subnets, wished, dict.fromkeys(taken, "VM x"), [])
    assert refused.value.code is code


@given(st.sets(st.integers(0, 3)))
def test_free_counts_what_nobody_holds(held: set[int]) -> None:
    assert V4.pool is not None
    taken = [str(ipaddress.ip_address("10.0.0.10") + number) for number in held]
    assert free_count(V4.pool, [*taken, "10.0.0.99", "2001:db8::1"]) == 4 - len(held)
