"""The lab driver as the agent's core drives it: two sites, real bytes, every claim checked against the disks."""

from __future__ import annotations

import asyncio
import itertools
import shutil
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import yaml

from secondsite.wire.agent import NO_FENCE
from secondsite.wire.agent import Settings as SiteSettings
from secondsite.wire.arguments import AdapterPlan, ConfigureReplica, UpdateSettings
from secondsite.wire.facts import Relation
from secondsite.wire.inventory import VM, Network, Pool, Site
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Refusal
from support.lab import SETTINGS, LabPair, free_port, running_pair, same_but_time
from support.lab_centres import DB, LEGACY, WEB, source_centre
from support.patience import until

FROZEN = SETTINGS.model_copy(update={"interval_seconds": 900})


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[LabPair]:
    async with running_pair(tmp_path) as found:
        yield found


async def test_a_vm_is_replicated_and_every_point_is_the_replay_of_its_writes(pair: LabPair) -> None:
    await pair.protect(DB, "db", disks=2)
    await pair.more_cycles(3, DB)
    verdicts = await pair.replay(DB)
    assert verdicts
    assert [verdict["faults"] for verdict in verdicts] == [[] for _ in verdicts]
    assert verdicts[-1]["sequence"] > 0


async def test_the_reported_lag_is_never_smaller_than_the_true_one(pair: LabPair) -> None:
    await pair.protect()
    for _ in range(3):
        await pair.more_cycles()
        point = (await pair.target.ask(ask="truth", vmID=WEB))["points"][-1]
        lacking = (await pair.source.ask(ask="truth", vmID=WEB, sequence=point["sequence"] + 1))["record"]
        assert datetime.fromisoformat(point["sourceTime"]) <= datetime.fromisoformat(lacking["time"])


async def test_facts_tell_each_half_as_its_own_site_sees_it(pair: LabPair) -> None:
    await pair.protect()
    await pair.more_cycles()
    await until(lambda: (fact := pair.target.sink.get(Relation, WEB)) is not None and fact.cycles >= 2)
    source, target = pair.source.sink.get(Relation, WEB), pair.target.sink.get(Relation, WEB)
    assert source is not None
    assert target is not None
    assert (source.mode, source.peer_site) == ("Primary", "west")
    assert (target.mode, target.peer_site) == ("Replica", "east")
    # Half a second per cycle: a busy machine may be late, and that is all that may be wrong.
    assert {*source.health_reasons, *target.health_reasons} <= {"missed-over-20-percent"}
    assert source.newest_point is None
    assert target.newest_point is not None
    assert target.newest_point.basis == "Freeze"
    assert source.initial_sent_bytes == source.initial_total_bytes
    assert source.initial_total_bytes
    assert (target.pending_bytes, target.storage) == (0, "Silver")
    replica = pair.target.sink.get(VM, WEB)
    assert replica is not None
    assert (replica.role, replica.state, replica.adapters[0].network) == ("Replica", "Off", "")


async def test_a_quiet_relation_is_no_news(pair: LabPair) -> None:
    await pair.protect(settings=FROZEN)
    said = pair.target.sink

    def caught_up() -> bool:
        fact = said.get(Relation, WEB)
        return fact is not None and same_but_time(fact, pair.target.relation())

    await until(caught_up)
    count = len(said.history)
    for _ in range(20):
        pair.target.driver._at.reporter.relation(WEB)
    assert len(said.history) == count


async def test_the_inventory_is_published_and_served_clouds_limit_it(pair: LabPair) -> None:
    sink = pair.source.sink
    assert {vm.name for vm in sink.all(VM)} == {"web", "db", "legacy"}
    legacy = sink.get(VM, LEGACY)
    assert legacy is not None
    assert [disk.unsupported for disk in legacy.disks] == ["PassThrough"]
    site = sink.get(Site, "site")
    assert site is not None
    assert site.storage[0].free_bytes == site.storage[0].capacity_bytes - (8 + 8 + 12 + 8) * 2**20
    assert sink.get(Network, "Front") is not None
    with pytest.raises(Refusal, match="No cloud Nowhere"):
        await pair.source.driver.apply(SiteSettings(fence=NO_FENCE, clouds=("Nowhere",)))


async def test_the_bandwidth_limit_is_shared_by_all_vms_and_can_be_lifted(pair: LabPair) -> None:
    await pair.source.driver.apply(SiteSettings(fence=NO_FENCE, bandwidth_limit_bytes_per_second=300_000))
    start = asyncio.get_running_loop().time()
    await pair.enable(WEB, "web")
    await pair.enable(DB, "db", disks=2)
    sources = [pair.source.driver.relation(vm) for vm in (WEB, DB)]
    assert all(sources)
    await until(lambda: sum(pair.source.relation(vm).initial_sent_bytes or 0 for vm in (WEB, DB)) > 600_000)
    # The bucket holds a second's worth at the most, and zero blocks cost nothing.
    assert asyncio.get_running_loop().time() - start > 0.5
    await pair.source.driver.apply(SiteSettings(fence=NO_FENCE))
    await until(lambda: pair.states(WEB) == pair.states(DB) == ("Replicating", "Replicating"))


async def test_settings_change_without_protecting_anew(pair: LabPair) -> None:
    await pair.protect(settings=FROZEN)
    cycles = pair.source.relation().cycles
    for site in (pair.source, pair.target):
        await site.do(Verb.UPDATE_SETTINGS, WEB, UpdateSettings(settings=SETTINGS))
    await pair.more_cycles(2)
    assert pair.source.relation().cycles > cycles
    settings = pair.target.relation().settings
    assert settings is not None
    assert settings.interval_seconds == 30


async def test_retention_hours_zero_keeps_only_the_latest_point(pair: LabPair) -> None:
    await pair.protect(settings=SETTINGS.model_copy(update={"retention_hours": 0}))
    await pair.more_cycles(4)
    await until(lambda: pair.target.relation().point_count == 1)


async def test_configure_keeps_adapters_disconnected_as_planned(pair: LabPair) -> None:
    await pair.protect()
    plan = AdapterPlan(adapter="00:15:5D:00:00:01", network="Front-DR", addresses=("10.2.0.10",), test_network="Test")
    await pair.target.do(Verb.CONFIGURE_REPLICA, WEB, ConfigureReplica(adapters=(plan,), settings=SETTINGS))
    setting = pair.target.relation().adapters[0]
    assert (setting.network, setting.addresses, setting.test_network) == ("Front-DR", ("10.2.0.10",), "Test")
    replica = pair.target.sink.get(VM, WEB)
    assert replica is not None
    assert replica.adapters[0].network == ""
    stranger = plan.model_copy(update={"network": "Nowhere"})
    with pytest.raises(Refusal, match="No VM network Nowhere"):
        await pair.target.do(Verb.CONFIGURE_REPLICA, WEB, ConfigureReplica(adapters=(stranger,), settings=SETTINGS))


async def test_one_vm_whole(pair: LabPair) -> None:
    await pair.protect()
    detail = await pair.target.driver.detail(WEB)
    assert detail.relation is not None
    assert detail.vm is not None
    assert detail.relation.newest_point in detail.points
    room = shutil.disk_usage(pair.target.data)
    assert detail.replica_free_bytes is not None
    assert detail.replica_free_bytes == pytest.approx(room.free, abs=256 << 20)
    assert (await pair.source.driver.detail(WEB)).replica_free_bytes is None
    assert (await pair.source.driver.detail(LEGACY)).relation is None
    with pytest.raises(Refusal, match="NotFound"):
        await pair.target.driver.detail(LEGACY)


async def test_the_lab_socket_is_the_agents_own(pair: LabPair) -> None:
    assert (pair.source.data / "lab.sock").stat().st_mode & 0o777 == 0o600
    status = await pair.source.ask(ask="status")
    assert (status["site"], status["hurry"]) == ("east", 60.0)
    assert set(status["guests"]) == {WEB, DB, LEGACY}


async def test_checks_pass_on_a_sound_site(pair: LabPair) -> None:
    assert {check.verdict for check in await pair.target.driver.checks()} == {"Passed"}
    pair.target.file.write_text("vmm: {}\n", encoding="utf-8")
    failed = [check for check in await pair.target.driver.checks() if check.verdict == "Failed"]
    assert [check.check for check in failed] == ["InventoryReadable"]
    assert "vmm.name" in failed[0].message


async def test_a_pool_fact_shows_what_is_free(pair: LabPair) -> None:
    pool = pair.target.sink.get(Pool, "Front-DR/F")
    assert pool is not None
    assert (pool.free, pool.start, pool.end) == (3, "10.2.0.10", "10.2.0.12")


async def test_every_cycle_is_kept_for_tests_that_ask_for_it(tmp_path: Path) -> None:
    async with running_pair(tmp_path, keep_every_cycle=True) as pair:
        await pair.protect()
        await pair.more_cycles(4)
        points = await pair.target.driver.points(WEB)
        assert len(points) >= 5
        gaps = [later.source_time - point.source_time for point, later in itertools.pairwise(points)]
        assert all(timedelta(seconds=0.4) < gap for gap in gaps)


async def test_the_data_port_can_move(pair: LabPair) -> None:
    await pair.protect()
    pair.port = free_port()
    await pair.associate()
    await pair.more_cycles(2)


async def test_a_refresh_takes_up_a_new_vm(pair: LabPair) -> None:
    centre = source_centre()
    fresh = dict(centre["vms"][0], id="11111111-0000-4000-8000-000000000009", name="fresh", adapters=[])
    centre["vms"].append(fresh)
    pair.source.file.write_text(yaml.safe_dump(centre), encoding="utf-8")
    await pair.source.do(Verb.REFRESH_INVENTORY, "")
    assert {vm.name for vm in pair.source.sink.all(VM)} == {"web", "db", "legacy", "fresh"}
    await pair.protect(fresh["id"], "fresh")
