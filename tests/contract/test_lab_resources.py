"""The site's own resources: every refusal with its code and remedy, over restarts, and asked for at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from secondsite.wire.agent import NO_FENCE, Settings, Verdict
from secondsite.wire.arguments import StartTestFailover
from secondsite.wire.inventory import Association, Pool, TestNetwork, Tombstone
from secondsite.wire.operations import Verb, digest
from secondsite.wire.problems import Code, Refusal
from secondsite.wire.resources import ReservationWish, StoragePair, TestNetworkWish, TombstoneWish
from support.lab import ASSOCIATION, LabPair, LabSite, free_port, make_pair, running_pair
from support.lab_centres import DB, WEB, target_centre

MAC = "00:15:5D:00:00:01"
SUBNET = "10.2.0.0/24"
SIX = {
    "name": "Six",
    "cidr": "2001:db8:2::/64",
    "gateway": "2001:db8:2::1",
    "pool": {"start": "2001:db8:2::", "end": "2001:db8:2::ffff:ffff:ffff:fffe"},
}


def west_centre() -> dict[str, Any]:
    """The target's, with a subnet of IPv6, and a second classification that its cloud does not offer."""
    made = target_centre()
    made["networks"][0]["subnets"].append(SIX)
    made["storage"].append({"classification": "Tin", "capacity": "1GiB"})
    return made


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[LabPair]:
    """Its target runs; the source only lends its wishes."""
    found = make_pair(tmp_path, target=west_centre())
    await found.target.start()
    yield found
    await found.target.driver.stop()


@pytest.fixture
def west(pair: LabPair) -> LabSite:
    return pair.target


def wish(**fields: Any) -> ReservationWish:
    return ReservationWish(**({"fence": NO_FENCE, "network": "Front-DR", "subnets": [SUBNET]} | fields))


def network(name: str) -> TestNetworkWish:
    return TestNetworkWish(fence=NO_FENCE, name=name)


def rewrite(site: LabSite, change: Callable[[dict[str, Any]], object]) -> None:
    centre = yaml.safe_load(site.file.read_text(encoding="utf-8"))
    change(centre)
    site.file.write_text(yaml.safe_dump(centre), encoding="utf-8")


async def codes(*calls: Any) -> Counter[str]:
    """How calls at the same moment ended."""
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(each, Refusal) for each in ended if isinstance(each, BaseException))
    return Counter(each.code.value if isinstance(each, Refusal) else "Done" for each in ended)


NO_BROKER = [{"name": "cl1", "nodes": ["hv1.west", "hv2.west"]}]
SILENT = [{"name": f"hv{n}.west", "state": "NotResponding"} for n in (1, 2)]
ASSOCIATIONS: dict[str, tuple[dict[str, Any], dict[str, Any], Code]] = {
    "hurry": ({"hurry": 2.0}, {}, Code.INVALID_REQUEST),
    "cloud": ({"cloud": "Nowhere"}, {}, Code.NOT_FOUND),
    "classification": ({"storage": (StoragePair(source="Gold", target="Platinum"),)}, {}, Code.NOT_FOUND),
    "not offered": ({"storage": (StoragePair(source="Gold", target="Tin"),)}, {}, Code.NOT_FOUND),
    "no broker": ({}, {"clusters": NO_BROKER}, Code.UNSUPPORTED),
    "no host": ({}, {"hostGroups": [{"name": "West", "hosts": SILENT}]}, Code.SETTLING),
}


@pytest.mark.parametrize("name", ASSOCIATIONS)
async def test_an_association_that_cannot_be_is_refused_with_a_remedy(pair: LabPair, name: str) -> None:
    fields, centre, code = ASSOCIATIONS[name]
    rewrite(pair.target, lambda made: made.update(centre))
    await pair.target.do(Verb.REFRESH_INVENTORY, "")
    with pytest.raises(Refusal) as refused:
        await pair.target.driver.associate("a1", pair.wish("Target", **fields))
    assert refused.value.code is code
    assert refused.value.remedy
    assert pair.target.sink.all(Association) == []


async def test_a_cluster_takes_data_at_its_broker(pair: LabPair) -> None:
    rewrite(pair.target, lambda made: made.update(clusters=[{**NO_BROKER[0], "broker": "broker.west"}]))
    await pair.target.do(Verb.REFRESH_INVENTORY, "")
    answer = await pair.target.driver.associate("a1", pair.wish("Target"))
    assert answer.data_endpoint is not None
    assert answer.data_endpoint.host == "broker.west"
    fact = pair.target.sink.get(Association, "a1")
    assert fact is not None
    assert fact.data_host == "broker.west"


async def test_a_cluster_without_a_broker_fails_the_preflight_while_it_is_served(pair: LabPair) -> None:
    rewrite(pair.target, lambda made: made.update(clusters=NO_BROKER))
    await pair.target.do(Verb.REFRESH_INVENTORY, "")
    [check] = [each for each in await pair.target.driver.checks() if each.check == "ReplicaBroker"]
    assert (check.verdict, "cl1" in check.message, bool(check.remedy)) == (Verdict.FAILED, True, True)
    rewrite(pair.target, lambda made: made["hostGroups"].append({"name": "Rest", "hosts": ["hv9.west"]}))
    rewrite(pair.target, lambda made: made["clouds"].append({"name": "Rest", "hostGroups": ["Rest"]}))
    await pair.target.do(Verb.REFRESH_INVENTORY, "")
    await pair.target.driver.apply(Settings(fence=NO_FENCE, clouds=("Rest",)))
    [check] = [each for each in await pair.target.driver.checks() if each.check == "ReplicaBroker"]
    assert (check.verdict, check.remedy) == (Verdict.PASSED, "")


async def test_an_association_that_is_put_again_is_no_news_and_a_changed_wish_is(pair: LabPair) -> None:
    west = pair.target
    first = await west.driver.associate("a1", pair.wish("Target"))
    news = len(west.sink.history)
    assert await west.driver.associate("a1", pair.wish("Target")) == first
    assert len(west.sink.history) == news
    port = free_port()
    moved = pair.wish("Target", port=port, storage=())
    answer = await west.driver.associate("a1", moved)
    assert answer.data_endpoint is not None
    assert answer.data_endpoint.port == port
    await west.restart()
    fact = west.sink.get(Association, "a1")
    assert fact is not None
    assert (fact.digest, fact.data_port) == (digest(moved), port)


async def test_of_two_ports_wished_at_once_one_is_refused(pair: LabPair) -> None:
    driver = pair.target.driver
    wishes = [pair.wish("Target", port=free_port(), peer_site=f"site{n}") for n in range(4)]
    ended = await codes(*(driver.associate(f"a{n}", each) for n, each in enumerate(wishes)))
    assert ended == {"Done": 1, "TransportConflict": 3}
    assert len(pair.target.sink.all(Association)) == 1


RESERVATIONS: dict[str, tuple[dict[str, Any], Code]] = {
    "taken": ({"addresses": ("10.2.0.10",)}, Code.IN_USE),
    "gateway": ({"addresses": ("10.2.0.1",)}, Code.IN_USE),
    "wrong subnet": ({"addresses": ("10.3.0.9",)}, Code.NOT_FOUND),
    "no subnet": ({"subnets": ["10.3.0.0/24"]}, Code.NOT_FOUND),
    "no network": ({"network": "Nowhere"}, Code.NOT_FOUND),
    "broadcast": ({"addresses": ("10.2.0.255",)}, Code.INVALID_REQUEST),
    "no address": ({"addresses": ("10.2.0.256",)}, Code.INVALID_REQUEST),
    "host bits": ({"subnets": ["10.2.0.1/24"]}, Code.INVALID_REQUEST),
    "twice": ({"addresses": ("10.2.0.9", "10.2.0.9")}, Code.INVALID_REQUEST),
    "no pool": ({"network": "Test", "subnets": ["10.9.0.0/24"]}, Code.POOL_EXHAUSTED),
}


@pytest.mark.parametrize("name", RESERVATIONS)
async def test_an_address_that_cannot_be_given_is_refused_with_a_remedy(west: LabSite, name: str) -> None:
    fields, code = RESERVATIONS[name]
    await west.driver.reserve(DB, MAC, wish())
    with pytest.raises(Refusal) as refused:
        await west.driver.reserve(WEB, MAC, wish(**fields))
    assert refused.value.code is code
    assert refused.value.remedy
    assert _reserved(west) == [(DB, MAC, "10.2.0.10")]


async def test_an_address_may_be_wished_outside_of_the_pool_and_in_both_families(west: LabSite) -> None:
    both = wish(subnets=[SUBNET, SIX["cidr"]], addresses=("10.2.0.200",))
    assert await west.driver.reserve(WEB, MAC, both) == ["10.2.0.200", "2001:db8:2::"]
    six = west.sink.get(Pool, "Front-DR/Six")
    four = west.sink.get(Pool, "Front-DR/F")
    assert six is not None
    assert four is not None
    assert (four.free, four.reserved) == (3, ((WEB, MAC, "10.2.0.200"),))
    assert six.reserved == ((WEB, MAC, "2001:db8:2::"),)
    assert six.free == 2**53 - 1
    assert await west.driver.reserve(DB, MAC, wish(subnets=[SIX["cidr"]])) == ["2001:db8:2::2"]


async def test_at_once_no_address_is_given_twice(west: LabSite) -> None:
    ended = await codes(*(west.driver.reserve(WEB, f"00:15:5D:00:01:{n:02X}", wish()) for n in range(12)))
    assert ended == {"Done": 3, "PoolExhausted": 9}
    assert sorted(address for _, _, address in _reserved(west)) == ["10.2.0.10", "10.2.0.11", "10.2.0.12"]


async def test_at_once_one_adapter_gets_one_address(west: LabSite) -> None:
    got = await asyncio.gather(*(west.driver.reserve(WEB, MAC, wish()) for _ in range(8)))
    assert got == [["10.2.0.10"]] * 8
    assert len(_reserved(west)) == 1


async def test_what_a_vm_that_is_gone_held_can_be_released_whatever_became_of_its_network(west: LabSite) -> None:
    await west.driver.reserve(WEB, MAC, wish())
    rewrite(west, lambda made: made["networks"].pop(0))
    await west.restart()
    with pytest.raises(Refusal) as refused:
        await west.driver.reserve(WEB, MAC, wish())
    assert refused.value.code is Code.NOT_FOUND
    await west.driver.release(WEB, MAC)
    rewrite(west, lambda made: made.update(networks=west_centre()["networks"]))
    await west.restart()
    assert _reserved(west) == []


async def test_a_released_address_goes_to_the_next(west: LabSite) -> None:
    await west.driver.reserve(WEB, MAC, wish())
    await west.driver.release(WEB, MAC)
    assert await west.driver.reserve(DB, MAC, wish()) == ["10.2.0.10"]
    assert await west.driver.reserve(WEB, MAC, wish()) == ["10.2.0.11"]


async def test_a_test_network_has_a_name_of_its_own(west: LabSite) -> None:
    await west.driver.make_test_network("dr/t1", network("Drill"))
    await west.driver.make_test_network("dr/t1", network("Drill"))
    for id_, name in (("dr/t2", "Drill"), ("dr/t2", "Front-DR"), ("dr/t1", "Front-DR")):
        with pytest.raises(Refusal, match=name) as refused:
            await west.driver.make_test_network(id_, network(name))
        assert refused.value.code is Code.IN_USE
        assert refused.value.remedy
    await west.restart()
    assert west.sink.all(TestNetwork) == [TestNetwork("dr/t1", "Drill")]
    await west.driver.make_test_network("dr/t1", network("Drill-2"))
    assert west.sink.all(TestNetwork) == [TestNetwork("dr/t1", "Drill-2")]
    for _ in range(2):
        await west.driver.remove_test_network("dr/t1")
    assert west.sink.all(TestNetwork) == []


async def test_of_test_networks_with_one_name_made_at_once_one_stays(west: LabSite) -> None:
    ended = await codes(*(west.driver.make_test_network(f"dr/t{n}", network("Drill")) for n in range(6)))
    assert ended == {"Done": 1, "InUse": 5}
    assert len(west.sink.all(TestNetwork)) == 1


async def test_a_tombstone_is_replaced_by_its_id_and_stays_over_restarts(west: LabSite) -> None:
    for steps in (("DisableReplication", "RemoveReplica"), ("RemoveReplica",)):
        body = TombstoneWish(fence=NO_FENCE, vault="v", vm_id=WEB, epoch=3, steps=steps)
        await west.driver.leave_tombstone("t1", body)
    await west.restart()
    assert west.sink.all(Tombstone) == [Tombstone("t1", "v", WEB, 3, ("RemoveReplica",))]


async def test_what_replication_and_tests_hang_on_is_not_taken_away(tmp_path: Path) -> None:
    async with running_pair(tmp_path) as pair:
        west = pair.target.driver
        await pair.protect()
        with pytest.raises(Refusal, match="web") as refused:
            await west.associate(ASSOCIATION, pair.wish("Target", peer_site="north"))
        assert refused.value.code is Code.IN_USE
        assert refused.value.remedy
        await west.associate(ASSOCIATION, pair.wish("Target", storage=()))
        await west.make_test_network("dr/t1", network("Drill"))
        await pair.target.do(Verb.START_TEST_FAILOVER, WEB, StartTestFailover(owner="dr/t1", network="Drill"))
        for call in (
            west.remove_test_network("dr/t1"),
            west.make_test_network("dr/t1", network("Other")),
            west.dissociate(ASSOCIATION),
        ):
            with pytest.raises(Refusal) as refused:
                await call
            assert refused.value.code is Code.IN_USE
            assert refused.value.remedy
        fact = pair.target.sink.get(TestNetwork, "dr/t1")
        assert fact is not None
        assert (fact.name, len(fact.vms)) == ("Drill", 1)


def _reserved(site: LabSite) -> list[tuple[str, str, str]]:
    return [entry for pool in site.sink.all(Pool) for entry in pool.reserved]
