"""Rows 1, 2, 5, 6, 40, 41 and 46 of the transition table on a real pair: how a relation comes to be."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from secondsite.wire.agent import NO_FENCE
from secondsite.wire.agent import Settings as SiteSettings
from secondsite.wire.arguments import AdapterPlan, ConfigureReplica, StartInitialReplication, StopTestFailover
from secondsite.wire.facts import Relation
from secondsite.wire.inventory import VM, Site
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Code, Refusal
from support.lab import SETTINGS, LabPair, running_pair
from support.lab_centres import DB, WEB, large_source_centre, target_centre
from support.patience import until

READY, IR, WAITING = "ReadyForInitialReplication", "InitialReplicationInProgress", "WaitingForInitialReplication"
LIMIT = SiteSettings(fence=NO_FENCE, bandwidth_limit_bytes_per_second=4_000_000)
MAC = "00:15:5D:00:00:01"


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[LabPair]:
    async with running_pair(tmp_path) as found:
        yield found


async def make_ready(pair: LabPair) -> None:
    await pair.target.do(Verb.PREPARE_REPLICA, WEB, pair.prepare_arguments())
    await pair.source.do(Verb.ENABLE_REPLICATION, WEB, pair.enable_arguments(1))


async def refusal(pair: LabPair, verb: Verb, *, at_target: bool = False, vm_id: str = WEB) -> Refusal:
    site = pair.target if at_target else pair.source
    before = pair.states(vm_id)
    with pytest.raises(Refusal) as refused:
        await site.do(verb, vm_id)
    assert pair.states(vm_id) == before
    return refused.value


async def test_row_01_enable_makes_two_halves_that_wait(pair: LabPair) -> None:
    assert pair.states() == ("Disabled", "Disabled")
    await make_ready(pair)
    assert pair.states() == (READY, WAITING)
    source, target = pair.source.relation(), pair.target.relation()
    assert (source.mode, target.mode) == ("Primary", "Replica")
    for half in (source, target):
        assert (half.health, half.health_reasons) == ("Warning", ("ir-pending",))
        assert half.settings is not None
    assert (target.newest_point, target.point_count) == (None, 0)


async def test_row_01_the_replica_vm_is_off_with_its_adapters_unplugged(pair: LabPair) -> None:
    room = _free(pair)
    await make_ready(pair)
    replica = pair.target.sink.get(VM, WEB)
    assert replica is not None
    assert (replica.role, replica.state, replica.name) == ("Replica", "Off", "web")
    assert [(adapter.mac_address, adapter.network) for adapter in replica.adapters] == [(MAC, "")]
    # Placeholder disks: their size is promised on the storage.
    assert [disk.size_bytes for disk in replica.disks] == [8 * 2**20]
    assert _free(pair) == room - 8 * 2**20


def _free(pair: LabPair) -> int:
    site = pair.target.sink.get(Site, "site")
    assert site is not None
    return site.storage[0].free_bytes


async def test_row_01_enable_again_goes_on_where_the_replica_waits_already(pair: LabPair) -> None:
    """The primary's half was lost or given up before it began: the replica's side takes the new one."""
    await make_ready(pair)
    await pair.source.do(Verb.DISABLE_REPLICATION, WEB)
    assert pair.states() == ("Disabled", WAITING)
    await pair.source.do(Verb.ENABLE_REPLICATION, WEB, pair.enable_arguments(1))
    assert pair.states() == (READY, WAITING)


async def test_row_01_is_refused_without_room_authorization_or_a_link(tmp_path: Path) -> None:
    async with running_pair(tmp_path, target=target_centre(capacity="10MiB")) as pair:
        found = []
        for prepared in (False, True):
            if prepared:
                await pair.target.do(Verb.PREPARE_REPLICA, DB, pair.prepare_arguments("db"))
            with pytest.raises(Refusal) as refused:
                await pair.source.do(Verb.ENABLE_REPLICATION, DB, pair.enable_arguments(2))
            found.append(refused.value.code)
        await pair.target.driver.stop()
        with pytest.raises(Refusal) as refused:
            await pair.source.do(Verb.ENABLE_REPLICATION, DB, pair.enable_arguments(2))
        found.append(refused.value.code)
        await pair.target.start()
        assert found == [Code.NOT_AUTHORIZED, Code.STORAGE_EXHAUSTED, Code.PEER_UNREACHABLE]
        assert pair.states(DB) == ("Disabled", "Disabled")


async def test_row_02_a_start_begins_to_track_and_to_copy(tmp_path: Path) -> None:
    async with running_pair(tmp_path, source=large_source_centre()) as pair:
        await pair.source.driver.apply(LIMIT)
        await make_ready(pair)
        assert pair.source.relation().initial_total_bytes is None
        assert not (pair.source.data / "tracking" / WEB).exists()
        await pair.source.do(Verb.START_INITIAL_REPLICATION, WEB)
        assert pair.states() == (IR, WAITING)
        assert (pair.source.data / "tracking" / WEB).exists()
        await until(lambda: (pair.source.relation().initial_sent_bytes or 0) > 0)
        assert pair.states() == (IR, WAITING)
        assert (await refusal(pair, Verb.START_INITIAL_REPLICATION)).code is Code.STATE_CONFLICT
        await pair.source.driver.apply(SiteSettings(fence=NO_FENCE))


async def test_row_03_a_start_whose_time_came_during_a_restart_was_carried_out(pair: LabPair) -> None:
    """The agent was killed before it told of the start's success, and back after its time."""
    await make_ready(pair)
    told = StartInitialReplication(start_time=datetime.now(UTC) + timedelta(seconds=0.2))
    await pair.source.do(Verb.START_INITIAL_REPLICATION, WEB, told)
    assert await pair.source.do(Verb.START_INITIAL_REPLICATION, WEB, told, resumed=True) == {}
    await until(lambda: pair.states() == ("Replicating", "Replicating"))
    assert await pair.source.do(Verb.START_INITIAL_REPLICATION, WEB, told, resumed=True) == {}
    assert pair.states() == ("Replicating", "Replicating")


async def test_row_05_the_last_byte_of_the_copy_is_the_first_point(pair: LabPair) -> None:
    await pair.enable()
    await until(lambda: pair.states() == ("Replicating", "Replicating"))
    source, target = pair.source.relation(), pair.target.relation()
    assert target.newest_point is not None
    assert target.point_count >= 1
    assert source.initial_sent_bytes == source.initial_total_bytes
    assert (source.initial_total_bytes or 0) > 0
    for half in (source, target):
        assert "ir-pending" not in half.health_reasons
        assert half.cycles >= 1
    assert (await pair.replay())[0]["identical"]


async def test_row_06_a_stop_gives_the_copy_up_and_a_start_begins_anew(tmp_path: Path) -> None:
    async with running_pair(tmp_path, source=large_source_centre()) as pair:
        await pair.source.driver.apply(LIMIT)
        await pair.enable()
        await until(lambda: (pair.source.relation().initial_sent_bytes or 0) > 0)
        fact = pair.source.relation()
        assert 0 < (fact.initial_sent_bytes or 0) < (fact.initial_total_bytes or 0)
        assert (fact.bytes_per_second or 0) > 0
        await pair.source.do(Verb.STOP_INITIAL_REPLICATION, WEB)
        assert pair.states() == (READY, WAITING)
        assert (await refusal(pair, Verb.STOP_INITIAL_REPLICATION)).code is Code.STATE_CONFLICT
        await pair.source.driver.apply(SiteSettings(fence=NO_FENCE))
        await pair.source.do(Verb.START_INITIAL_REPLICATION, WEB)
        await until(lambda: pair.states() == ("Replicating", "Replicating"))
        assert (await pair.replay())[-1]["identical"]


async def test_row_40_a_preparation_chooses_host_and_storage_and_changes_no_half(pair: LabPair) -> None:
    result = await pair.target.do(Verb.PREPARE_REPLICA, WEB, pair.prepare_arguments())
    assert result == await pair.target.do(Verb.PREPARE_REPLICA, WEB, pair.prepare_arguments())
    assert result["host"] in ("hv1.west", "hv2.west")
    assert result["storage"] == "Silver"
    assert pair.states() == ("Disabled", "Disabled")
    assert pair.target.sink.get(VM, WEB) is None
    assert pair.target.sink.get(Relation, WEB) is None
    await pair.source.do(Verb.ENABLE_REPLICATION, WEB, pair.enable_arguments(1))
    with pytest.raises(Refusal) as refused:
        await pair.target.do(Verb.PREPARE_REPLICA, WEB, pair.prepare_arguments())
    assert refused.value.code is Code.STATE_CONFLICT


async def test_row_40_no_replica_where_the_vm_itself_runs(pair: LabPair) -> None:
    with pytest.raises(Refusal) as refused:
        await pair.source.do(Verb.PREPARE_REPLICA, WEB, pair.prepare_arguments())
    assert refused.value.code is Code.IN_USE
    assert refused.value.remedy


async def test_row_41_adapters_are_configured_and_stay_disconnected(pair: LabPair) -> None:
    await make_ready(pair)
    plan = AdapterPlan(adapter=MAC, network="Front-DR", addresses=("10.2.0.10",), test_network="Test")
    for state in (WAITING, "Replicating"):
        await pair.target.do(Verb.CONFIGURE_REPLICA, WEB, ConfigureReplica(adapters=(plan,), settings=SETTINGS))
        assert pair.target.relation().state == state
        setting = pair.target.relation().adapters[0]
        assert (setting.network, setting.addresses, setting.test_network) == ("Front-DR", ("10.2.0.10",), "Test")
        replica = pair.target.sink.get(VM, WEB)
        assert replica is not None
        assert replica.adapters[0].network == ""
        if state == WAITING:
            await pair.source.do(Verb.START_INITIAL_REPLICATION, WEB)
            await until(lambda: pair.states() == ("Replicating", "Replicating"))
    with pytest.raises(Refusal) as refused:
        await pair.source.do(Verb.CONFIGURE_REPLICA, WEB, ConfigureReplica(settings=SETTINGS))
    assert refused.value.code is Code.STATE_CONFLICT


async def test_row_46_where_there_is_no_half_nothing_is_left_to_take_back(pair: LabPair) -> None:
    for site in (pair.source, pair.target):
        for verb in (Verb.DISABLE_REPLICATION, Verb.REMOVE_REPLICA):
            await site.do(verb, WEB)
        await site.do(Verb.STOP_TEST_FAILOVER, WEB, StopTestFailover(owner="nobody"))
    assert pair.states() == ("Disabled", "Disabled")
    original = pair.source.sink.get(VM, WEB)
    assert original is not None
    assert (original.role, original.state) == ("Production", "Running")


async def test_row_46_a_preparation_is_taken_back_and_a_kept_replica_removed(pair: LabPair) -> None:
    await pair.target.do(Verb.PREPARE_REPLICA, WEB, pair.prepare_arguments())
    await pair.target.do(Verb.DISABLE_REPLICATION, WEB)
    with pytest.raises(Refusal) as refused:
        await pair.source.do(Verb.ENABLE_REPLICATION, WEB, pair.enable_arguments(1))
    assert refused.value.code is Code.NOT_AUTHORIZED
    await pair.protect()
    assert (await refusal(pair, Verb.REMOVE_REPLICA, at_target=True)).code is Code.STATE_CONFLICT
    await pair.disable()
    folder = pair.target.data / "replicas" / WEB
    assert (folder / "catalog.log").exists()
    await pair.target.do(Verb.REMOVE_REPLICA, WEB)
    assert not folder.exists()
    assert pair.target.sink.get(VM, WEB) is None
