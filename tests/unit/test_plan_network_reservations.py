"""Addresses of pools: reserved before they are planned, kept while they are meant, and given back."""

from ipaddress import ip_address

from secondsite.plan.actions import Release, Reserve
from secondsite.plan.network.reservations import release, reserve
from secondsite.wire.inventory import Pool
from support import worlds as w
from support.network_plans import V6_SOURCE, V6_TARGET, lan, planned, target
from support.worlds import MAC, VM_ID


def test_a_pool_address_is_reserved_then_planned() -> None:
    waits = planned(lan("10.1.0.7"), {})
    assert (waits.resolution, waits.addresses, waits.network) == ("Pending", (), "dr")
    mine = (VM_ID, MAC, "10.2.0.44")
    found = planned(lan("10.1.0.7"), {}, site=target(pools={"dr/dr-a": w.pool(mine)}))
    assert (found.resolution, found.addresses, found.gateway) == ("Mapping", ("10.2.0.44",), "10.2.0.1")
    assert found.dns_servers == ("10.2.0.2",)
    empty = planned(lan("10.1.0.7"), {}, site=target(pools={"dr/dr-a": w.pool(free=0)}))
    assert (empty.resolution, empty.reason) == ("Disconnected", "PoolExhausted")


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


def test_a_pool_of_another_family_is_used() -> None:
    pool = Pool("dr", "dr-6", V6_TARGET, "fd00:2::10", "fd00:2::ff", free=4, reserved=((VM_ID, MAC, "fd00:2:0::10"),))
    pairs = [{"source": V6_SOURCE, "target": V6_TARGET}]
    found = planned(lan("fd00:1::7"), {"subnets": pairs}, site=target(pools={"dr/dr-6": pool}))
    assert found.resolution == "Mapping"
    assert ip_address(found.addresses[0]) == ip_address("fd00:2::10")


def test_what_is_held_for_a_network_that_hands_out_its_own_is_given_back() -> None:
    held = target(pools={"dr/dr-a": w.pool((VM_ID, MAC, "10.2.0.44"))})
    dhcp = planned(lan("10.1.0.7"), {"addressMode": "DHCP"}, site=held)
    assert reserve(VM_ID, held, (dhcp,)) == (Release("chicago", VM_ID, MAC),)
