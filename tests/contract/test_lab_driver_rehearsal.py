"""Test failover in the lab: a clone that answers checks, and touches nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from secondsite.wire.agent import NO_FENCE
from secondsite.wire.arguments import AdapterPlan, CheckTestVM, StartTestFailover, StopTestFailover
from secondsite.wire.facts import Relation
from secondsite.wire.inventory import VM, TestNetwork
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Code, Refusal
from secondsite.wire.resources import TestNetworkWish
from support.lab import LabPair, running_pair
from support.lab_centres import DB, WEB

TEST = "demo/rehearsal/1234"
MAC = "00:15:5D:00:00:01"


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[LabPair]:
    async with running_pair(tmp_path) as found:
        await found.protect()
        yield found


async def start(pair: LabPair, **wish: Any) -> dict[str, str]:
    return await pair.target.do(Verb.START_TEST_FAILOVER, WEB, StartTestFailover(**({"owner": TEST} | wish)))


async def stop(pair: LabPair, owner: str = TEST) -> dict[str, str]:
    return await pair.target.do(Verb.STOP_TEST_FAILOVER, WEB, StopTestFailover(owner=owner))


async def check(pair: LabPair, type_: str, **wish: Any) -> tuple[bool, str]:
    """Whether it passed, and what was said."""
    arguments = {"owner": TEST, "name": "check", "type": type_, "timeout_seconds": 1, "period_seconds": 1} | wish
    try:
        return True, (await pair.target.do(Verb.CHECK_TEST_VM, WEB, CheckTestVM(**arguments)))["message"]
    except Refusal as refusal:
        if refusal.code is not Code.CHECK_FAILED:
            raise
        return False, refusal.detail


def running_tests(pair: LabPair) -> list[VM]:
    return [vm for vm in pair.target.sink.all(VM) if vm.role == "Test"]


async def isolated(pair: LabPair) -> str:
    await pair.target.driver.make_test_network(TEST, TestNetworkWish(fence=NO_FENCE, name="isolated-1"))
    return "isolated-1"


async def test_a_test_vm_stands_beside_replication_and_goes_without_a_trace(pair: LabPair) -> None:
    network = await isolated(pair)
    before = pair.target.relation()
    plan = AdapterPlan(adapter=MAC, addresses=("10.9.0.7",))
    result = await start(pair, network=network, adapters=(plan,))
    test = pair.target.relation().test_vm
    assert test is not None
    assert (test.name, test.owner, test.state, test.network) == ("web - Test", TEST, "Running", network)
    assert test.recovery_point is not None
    assert before.newest_point is not None
    assert test.recovery_point.source_time >= before.newest_point.source_time
    assert (result["testVMID"], result["recoveryPoint"]) == (test.id, test.recovery_point.id)
    adapter = running_tests(pair)[0].adapters[0]
    assert (adapter.mac_address, adapter.network, adapter.addresses) == (MAC, network, ("10.9.0.7",))
    await pair.more_cycles(2)
    assert pair.states() == ("Replicating", "Replicating")
    await stop(pair)
    assert pair.target.relation().test_vm is None
    assert running_tests(pair) == []
    assert not list((pair.target.data / "replicas" / WEB / "clones").iterdir())
    await stop(pair)
    assert all(verdict["identical"] for verdict in await pair.replay())


async def test_a_test_starts_once_and_only_one_at_a_time(pair: LabPair) -> None:
    first = await start(pair)
    assert await start(pair) == first
    with pytest.raises(Refusal, match="it needs that there is no test VM"):
        await start(pair, owner="another")
    with pytest.raises(Refusal) as refused:
        await stop(pair, owner="another")
    assert refused.value.code is Code.IN_USE
    with pytest.raises(Refusal) as refused:
        await pair.target.do(Verb.DISABLE_REPLICATION, WEB)
    assert refused.value.code is Code.STATE_CONFLICT
    assert len(running_tests(pair)) == 1


async def test_a_test_vm_survives_a_restart_of_the_agent(pair: LabPair) -> None:
    await start(pair, network=await isolated(pair))
    await pair.target.restart()
    assert len(running_tests(pair)) == 1
    assert (await check(pair, "HTTP", port=80))[0]
    fact = pair.target.sink.get(TestNetwork, TEST)
    assert fact is not None
    assert fact.vms == (running_tests(pair)[0].id,)
    await stop(pair)


@pytest.mark.parametrize(
    ("type_", "wish", "passed", "says"),
    [
        ("Heartbeat", {}, True, "heartbeat"),
        ("Ping", {}, True, "answers"),
        ("TCP", {"port": 80}, True, "open"),
        ("TCP", {"port": 81}, False, "refused"),
        ("HTTP", {"body_contains": "welcome"}, True, "200"),
        ("HTTP", {"body_contains": "goodbye"}, False, "goodbye"),
        ("HTTP", {"path": "/missing"}, False, "404"),
        ("HTTP", {"path": "/missing", "expected_status": 404}, True, "404"),
        ("HTTP", {"scheme": "HTTPS", "port": 80}, False, "TLS"),
    ],
)
async def test_checks_are_answered_from_the_clone(
    pair: LabPair, type_: str, wish: dict[str, Any], passed: bool, says: str
) -> None:
    await start(pair, network=await isolated(pair))
    answer = await check(pair, type_, **wish)
    assert answer[0] is passed
    assert says in answer[1]


async def test_a_vm_without_a_network_has_a_heartbeat_and_no_more(pair: LabPair) -> None:
    await start(pair)
    assert (await check(pair, "Heartbeat"))[0]
    assert await check(pair, "TCP", port=80) == (False, "the test VM is not connected to a network")


async def test_a_clone_with_a_damaged_disk_does_not_start(pair: LabPair) -> None:
    await pair.more_cycles()
    await start(pair, network=await isolated(pair))
    half = pair.target.driver._at.estate.halves.get(WEB)
    assert half is not None
    clone = pair.target.driver._at.estate.replicas.open(WEB).open_clone(half.clone_id)
    clone.write("SCSI-0-0", 65536 + 64 * 2 + 9, b"\xff")
    clone.close()
    passed, says = await check(pair, "Heartbeat")
    assert not passed
    assert "write 2 is missing" in says


async def test_a_check_needs_the_tests_own_vm(pair: LabPair) -> None:
    for owner in (TEST, "another"):
        with pytest.raises(Refusal, match="no running test VM"):
            await check(pair, "Heartbeat", owner=owner)
        await start(pair)


async def test_the_recovery_point_can_be_chosen(tmp_path: Path) -> None:
    async with running_pair(tmp_path, keep_every_cycle=True) as pair:
        await pair.protect()
        await pair.more_cycles(2)
        points = await pair.target.driver.points(WEB)
        by_time = await start(pair, recovery_point="At", time=points[1].source_time + timedelta(milliseconds=1))
        assert by_time["recoveryPoint"] == points[1].id
        await stop(pair)
        named = await start(pair, recovery_point="Named", name=points[0].name)
        assert named["recoveryPoint"] == points[0].id
        await stop(pair)
        for wish in (
            {"recovery_point": "At", "time": datetime(2020, 1, 1, tzinfo=UTC)},
            {"recovery_point": "Named", "name": "nobody"},
            {"recovery_point": "LatestAppConsistent"},
        ):
            with pytest.raises(Refusal) as refused:
                await start(pair, **wish)
            assert refused.value.code is Code.NOT_FOUND
        assert pair.target.relation().test_vm is None


async def test_a_test_network_in_use_is_not_removed(pair: LabPair) -> None:
    network = await isolated(pair)
    await start(pair, network=network)
    with pytest.raises(Refusal) as refused:
        await pair.target.driver.remove_test_network(TEST)
    assert refused.value.code is Code.IN_USE
    await stop(pair)
    await pair.target.driver.remove_test_network(TEST)
    await pair.target.driver.remove_test_network(TEST)
    assert pair.target.sink.get(TestNetwork, TEST) is None
    with pytest.raises(Refusal, match="No VM network isolated-1"):
        await start(pair, network=network)
    with pytest.raises(Refusal, match="another network named Test"):
        await pair.target.driver.make_test_network("other", TestNetworkWish(fence=NO_FENCE, name="Test"))


async def test_a_test_begun_by_a_killed_agent_is_found_by_its_owner(pair: LabPair) -> None:
    estate = pair.target.driver._at.estate
    await start(pair)
    half = estate.halves.get(WEB)
    assert half is not None
    # As if it had died between the mark and the clone.
    estate.replicas.open(WEB).drop_clone(half.clone_id)
    await stop(pair)
    assert pair.target.relation().test_vm is None


async def test_only_a_replica_is_tested(pair: LabPair) -> None:
    with pytest.raises(Refusal, match="Start-VMFailover -AsTest on the primary VM web"):
        await pair.source.do(Verb.START_TEST_FAILOVER, WEB, StartTestFailover(owner=TEST))
    with pytest.raises(Refusal) as refused:
        await pair.target.do(Verb.START_TEST_FAILOVER, DB, StartTestFailover(owner=TEST))
    assert refused.value.code is Code.STATE_CONFLICT
    assert pair.target.sink.get(Relation, DB) is None
