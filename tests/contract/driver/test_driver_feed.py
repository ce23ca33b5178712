"""What a site tells by itself: points, counters, checks, settings, and a feed in which what is gone is gone."""

from __future__ import annotations

import itertools

from secondsite.wire.agent import Settings, Verdict
from secondsite.wire.facts import Operation, Point, Relation
from secondsite.wire.feed import Changes
from secondsite.wire.inventory import VM, Association, Network, Pool, Site, Tombstone
from secondsite.wire.operations import Verb, digest
from secondsite.wire.problems import Code
from secondsite.wire.resources import TombstoneWish
from support.driver_rig import Rig
from support.driver_rig_site import FENCE, RigSite, codes, until
from support.driver_rig_vm import QUICK, Member


async def test_points_are_told_in_order_and_keep_their_names(vm: Member) -> None:
    vm.settings = QUICK
    await vm.protect()
    seen: dict[str, Point] = {}

    async def four_looks_with_news() -> bool:
        points = (await vm.rig.target.detail(vm.id)).points
        times = [point.source_time for point in points]
        assert times == sorted(times)
        assert len({point.id for point in points}) == len(points)
        for point in points:
            assert seen.setdefault(point.id, point).source_time == point.source_time
        newest = (await vm.half(vm.rig.target)).newest_point
        assert newest is not None
        assert newest.source_time >= max(times)
        return len(seen) >= 4

    await until(four_looks_with_news, vm.rig.patience, "four points")
    assert (await vm.rig.source.detail(vm.id)).points == ()


async def test_what_is_received_is_never_older_than_what_was_told_before(vm: Member) -> None:
    vm.settings = QUICK
    await vm.protect()
    told: list[Relation] = []
    cursor = (await vm.rig.target.changes()).cursor
    while len(told) < 6:
        page = await vm.rig.target.changes(cursor, 5)
        cursor = page.cursor
        told += [entry.facts for entry in page.entries if isinstance(entry.facts, Relation) and entry.id == vm.id]
    for earlier, later in itertools.pairwise(told):
        assert earlier.cycles <= later.cycles
        assert earlier.time <= later.time
        assert earlier.newest_point is not None
        assert later.newest_point is not None
        assert earlier.newest_point.source_time <= later.newest_point.source_time


async def test_counters_count_what_was_delivered(vm: Member) -> None:
    vm.settings = QUICK
    await vm.protect()
    for site in vm.rig.sites:
        await _counts(vm, site)


async def _counts(vm: Member, site: RigSite) -> None:
    async def some() -> bool:
        counters = (await site.detail(vm.id)).counters
        return counters is not None and counters.successful >= 2

    await until(some, vm.rig.patience, f"two cycles counted at {site.place.site}")
    counters = (await site.detail(vm.id)).counters
    assert counters is not None
    assert counters.start < counters.end
    assert counters.total_bytes >= counters.largest_bytes >= 0
    assert counters.average_latency_seconds is not None
    assert counters.largest_latency_seconds >= counters.average_latency_seconds


async def test_checks_have_a_verdict_and_what_fails_a_remedy(rig: Rig) -> None:
    for site in rig.sites:
        checks = await site.checks()
        assert len({check.check for check in checks}) == len(checks) > 4
        assert all(check.message for check in checks)
        assert [check for check in checks if check.verdict is Verdict.FAILED and not check.remedy] == []


async def test_who_a_site_is(rig: Rig) -> None:
    for site in rig.sites:
        info = await site.info()
        assert (info.site, info.registered) == (site.place.site, True)
        assert 1 in info.contract
        assert info.driver
        assert set(info.capabilities) >= rig.expected
        assert info.fence == FENCE


async def test_the_inventory_names_what_the_calls_use(rig: Rig) -> None:
    for site in rig.sites:
        fact = (await site.facts(Site))["site"]
        assert fact.state == "Ready"
        assert fact.vmm_name
        clouds = {cloud.name: cloud for cloud in fact.clouds}
        assert site.place.storage in clouds[site.place.cloud].storage
        stores = {store.classification: store for store in fact.storage}
        assert 0 < stores[site.place.storage].free_bytes <= stores[site.place.storage].capacity_bytes
        networks = await site.facts(Network)
        assert site.place.subnet in {subnet.cidr for subnet in networks[site.place.network].subnets}
        assert [pool for pool in (await site.facts(Pool)).values() if pool.cidr == site.place.subnet and pool.free]


async def test_settings_are_taken_over_and_told(rig: Rig) -> None:
    site = rig.source
    limited = Settings(fence=FENCE, clouds=(site.place.cloud,), bandwidth_limit_bytes_per_second=10_000_000)
    await site.set("/v1/settings", limited)
    assert (await site.facts(Site))["site"].settings_digest == digest(limited)
    wrong = Settings(fence=FENCE, clouds=("Nowhere",))
    assert await codes([site.set("/v1/settings", wrong)]) == [Code.NOT_FOUND]
    assert (await site.facts(Site))["site"].settings_digest == digest(limited)
    await site.set("/v1/settings", Settings(fence=FENCE))


class Mirror:
    """What an operator knows of a site: the pages put one upon the other."""

    def __init__(self) -> None:
        self.known: dict[tuple[type, str], object] = {}
        self.cursor = ""

    def take(self, page: Changes) -> None:
        if page.begins:
            self.known = {}
        for entry in page.entries:
            self.known.pop((type(entry), entry.id), None)
            if entry.facts is not None:
                self.known[type(entry), entry.id] = entry.facts
        self.cursor = page.cursor

    async def follow(self, site: RigSite) -> None:
        """Until there is no more news."""
        while True:
            page = await site.changes(self.cursor)
            self.take(page)
            if not page.more and not page.entries:
                return


async def test_what_was_withdrawn_is_gone(vm: Member) -> None:
    target, mirror = vm.rig.target, Mirror()
    await mirror.follow(target)
    await vm.protect()
    await vm.do(target, Verb.START_TEST_FAILOVER)
    path = f"/v1/tombstones/suite-{vm.fact.name}"
    wish = TombstoneWish(fence=FENCE, vault="v", vm_id=vm.id, epoch=vm.epoch, steps=("DisableReplication",))
    await target.set(path, wish)
    await mirror.follow(target)
    test = (await vm.half(target)).test_vm
    assert test is not None
    mine = {vm.id, test.id, f"suite-{vm.fact.name}"}
    assert {kind for kind, id_ in mirror.known if id_ in mine} >= {*map(_entry, (Relation, VM, Tombstone))}
    for _ in range(2):
        await target.drop(path)
    await vm.release()
    await mirror.follow(target)
    assert {kind for kind, id_ in mirror.known if id_ in mine} & {*map(_entry, (Relation, VM, Tombstone))} == set()
    fresh = Mirror()
    await fresh.follow(target)
    assert {key for key in mirror.known if key[0] is not _entry(Operation)} == {
        key for key in fresh.known if key[0] is not _entry(Operation)
    }
    vm.epoch += 1


def _entry(fact: type) -> type:
    from secondsite.wire.feed import ENTRY_TYPES

    return ENTRY_TYPES[fact]


async def test_tombstones_and_associations_outlive_the_agent(rig: Rig) -> None:
    site = rig.target
    wish = TombstoneWish(fence=FENCE, vault="v", vm_id="gone", epoch=3, steps=("DisableReplication",))
    await site.set("/v1/tombstones/suite-kept", wish)
    rig.kill(site)
    rig.revive(site)
    fact = (await site.facts(Tombstone))["suite-kept"]
    assert (fact.vm_id, fact.epoch, fact.steps) == ("gone", 3, ("DisableReplication",))
    assert await site.facts(Association)
    await site.drop("/v1/tombstones/suite-kept")


async def test_no_whole_answer_while_relations_cannot_be_read(vm: Member) -> None:
    await vm.protect()
    site = vm.rig.target
    vm.rig.restart_service(site)
    page = await site.changes()
    assert page.settling
    assert page.cursor == ""
    (told,) = (entry.facts for entry in page.entries)
    assert isinstance(told, Site)
    assert told.state == "Settling"
    request = vm.wish(Verb.RESET_STATISTICS)
    assert await codes([site.put("suite-too-early", request)]) == [Code.SETTLING]
    await site.settle()
    assert (await site.facts(Relation))[vm.id].state == "Replicating"
