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


@pytest.mark.parametrize(
    ("subnets", "wished"),
    [
        (["10.0.0.1/24"], []),
        (["ten"], []),
        ([], ["10.0.0.999"]),
        ([], ["10.0.0.0"]),
        ([], ["10.0.0.255"]),
        ([], ["10.0.0.7", "10.0.0.7"]),
    ],
)
def test_what_is_no_address_to_give_is_no_request(subnets: list[str], wished: list[str]) -> None:
    with pytest.raises(Refusal) as refused:
        choose(NETWORK, subnets, wished, {}, [])
    assert refused.value.code is Code.INVALID_REQUEST
    assert refused.value.remedy


def test_a_subnet_of_two_addresses_has_two_hosts() -> None:
    pair = Subnet(name="p2p", cidr="10.7.0.0/31", pool=PoolRange(start="10.7.0.0", end="10.7.0.1"))
    link = Network(name="Link", logical_network="Corp", subnets=(pair,))
    first = choose(link, ["10.7.0.0/31"], [], {}, [])
    assert first + choose(link, ["10.7.0.0/31"], [], dict.fromkeys(first, "x"), []) == ["10.7.0.0", "10.7.0.1"]


_REQUESTS = st.tuples(
    st.integers(0, 5),
    st.lists(st.sampled_from(["10.0.0.0/24", "2001:db8::/64"]), max_size=2, unique=True),
    st.lists(st.sampled_from(["10.0.0.10", "10.0.0.13", "10.0.0.77", "2001:db8::2"]), max_size=1),
    st.booleans(),
)


@given(st.lists(_REQUESTS, max_size=30))
def test_whatever_is_asked_for_nobody_gets_what_another_holds(
    requests: list[tuple[int, list[str], list[str], bool]],
) -> None:
    held: dict[int, list[str]] = {}
    codes: set[Code] = set()
    for adapter, subnets, wished, releases in requests:
        taken = {a: f"adapter {key}" for key, addresses in held.items() if key != adapter for a in addresses}
        if releases:
            held.pop(adapter, None)
            continue
        try:
            got = choose(NETWORK, subnets, wished, taken, held.get(adapter, []))
        except Refusal as refusal:
            codes.add(refusal.code)
            continue
        assert not set(got) & set(taken)
        assert set(wished) <= set(got)
        assert choose(NETWORK, subnets, wished, taken, got) == got
        held[adapter] = got
    assert codes <= {Code.IN_USE, Code.POOL_EXHAUSTED}
