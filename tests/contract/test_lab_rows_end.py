"""Rows 21, 22, 33 and 45 of the transition table on a real pair: a test beside replication, and its end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from secondsite.wire.arguments import CheckTestVM, StartTestFailover, StopTestFailover
from secondsite.wire.facts import Relation
from secondsite.wire.inventory import VM
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Code, Refusal
from support.lab import LabPair, running_pair
from support.lab_centres import WEB
from support.patience import until

OK = ("Replicating", "Replicating")
TEST = "demo/rehearsal/1"
START, STOP = StartTestFailover(owner=TEST), StopTestFailover(owner=TEST)
BEATS = CheckTestVM(owner=TEST, name="beats", type="Heartbeat", timeout_seconds=5)


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[LabPair]:
    async with running_pair(tmp_path) as found:
        await found.protect()
        yield found


def made(pair: LabPair) -> list[VM]:
    return [vm for vm in pair.target.sink.all(VM) if vm.role == "Test"]


async def test_row_21_a_test_vm_is_made_and_neither_half_moves(pair: LabPair) -> None:
    source = pair.source.relation()
    await pair.target.do(Verb.START_TEST_FAILOVER, WEB, START)
    assert pair.states() == OK
    relation = pair.target.relation()
    assert relation.test_vm is not None
    assert (relation.test_vm.name, relation.test_vm.owner) == ("web - Test", TEST)
    assert relation.last_test_time is not None
    assert [vm.id for vm in made(pair)] == [relation.test_vm.id]
    assert pair.source.relation().settings == source.settings
    await pair.more_cycles(2)
    assert pair.states() == OK
    assert relation.test_vm == pair.target.relation().test_vm


async def test_row_21_only_one_and_only_from_a_replica_that_replicates(pair: LabPair) -> None:
    await pair.target.do(Verb.START_TEST_FAILOVER, WEB, START)
    with pytest.raises(Refusal, match="it needs that there is no test VM"):
        await pair.target.do(Verb.START_TEST_FAILOVER, WEB, StartTestFailover(owner="another"))
    await pair.target.do(Verb.STOP_TEST_FAILOVER, WEB, STOP)
    with pytest.raises(Refusal, match="Start-VMFailover -AsTest on the primary VM web"):
        await pair.source.do(Verb.START_TEST_FAILOVER, WEB, START)
    await pair.target.do(Verb.SUSPEND, WEB)
    with pytest.raises(Refusal) as refused:
        await pair.target.do(Verb.START_TEST_FAILOVER, WEB, START)
    assert refused.value.code is Code.STATE_CONFLICT
    assert made(pair) == []


@pytest.mark.parametrize("state", ["Replicating", "Suspended"])
async def test_row_22_the_test_vm_is_deleted_without_a_trace(pair: LabPair, state: str) -> None:
    await pair.target.do(Verb.START_TEST_FAILOVER, WEB, START)
    if state == "Suspended":
        await pair.target.do(Verb.SUSPEND, WEB)
    await pair.target.do(Verb.STOP_TEST_FAILOVER, WEB, STOP)
    assert pair.target.driver.state(WEB) == state
    assert pair.target.relation().test_vm is None
    assert made(pair) == []
    assert not list((pair.target.data / "replicas" / WEB / "clones").iterdir())
    # Repeated after an unknown outcome.
    await pair.target.do(Verb.STOP_TEST_FAILOVER, WEB, STOP, resumed=True)


async def test_row_33_one_half_ends_and_the_other_finds_out(pair: LabPair) -> None:
    await pair.target.do(Verb.DISABLE_REPLICATION, WEB)
    await until(lambda: pair.states() == ("Error", "Disabled"))
    assert pair.source.relation().health == "Critical"
    assert pair.target.sink.get(Relation, WEB) is None
    kept = pair.target.sink.get(VM, WEB)
    assert kept is not None
    assert (kept.role, kept.state) == ("Replica", "Off")
    assert (pair.target.data / "replicas" / WEB / "catalog.log").exists()


async def test_row_33_disabled_on_the_primary_nothing_is_tracked_and_the_replica_stays(pair: LabPair) -> None:
    point = pair.target.relation().newest_point
    await pair.source.do(Verb.DISABLE_REPLICATION, WEB)
    assert pair.states() == ("Disabled", "Replicating")
    assert not (pair.source.data / "tracking" / WEB).exists()
    assert pair.source.sink.get(Relation, WEB) is None
    half = pair.target.relation()
    assert half.newest_point is not None
    assert point is not None
    assert half.newest_point.source_time >= point.source_time


async def test_row_33_a_replica_under_test_is_not_disabled(pair: LabPair) -> None:
    await pair.target.do(Verb.START_TEST_FAILOVER, WEB, START)
    with pytest.raises(Refusal, match="there is no test VM") as refused:
        await pair.target.do(Verb.DISABLE_REPLICATION, WEB)
    assert refused.value.code is Code.STATE_CONFLICT
    assert pair.states() == OK


async def test_row_45_a_check_looks_at_the_test_vm_and_changes_nothing(pair: LabPair) -> None:
    await pair.target.do(Verb.START_TEST_FAILOVER, WEB, START)
    before = pair.target.relation().test_vm
    assert (await pair.target.do(Verb.CHECK_TEST_VM, WEB, BEATS))["message"]
    assert pair.target.relation().test_vm == before
    assert pair.states() == OK
    await pair.target.do(Verb.SUSPEND, WEB)
    await pair.target.do(Verb.CHECK_TEST_VM, WEB, BEATS)


async def test_row_45_without_a_test_vm_there_is_nothing_to_check(pair: LabPair) -> None:
    for site in (pair.target, pair.source):
        with pytest.raises(Refusal) as refused:
            await site.do(Verb.CHECK_TEST_VM, WEB, BEATS)
        assert refused.value.code is Code.STATE_CONFLICT
