"""Planned failover between two lab sites, by the rows of the transition table: nothing is lost, both ways."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from secondsite.wire.arguments import CheckTestVM, Failover, Resynchronize, StartTestFailover, StopTestFailover
from secondsite.wire.inventory import VM
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Code, Refusal
from support.lab import ASSOCIATION
from support.lab_centres import DB, LEGACY, WEB
from support.lab_failover import MovingPair, moving_pair
from support.patience import until


@pytest.fixture
async def moving(tmp_path: Path) -> AsyncIterator[MovingPair]:
    async with moving_pair(tmp_path) as found:
        yield found


async def test_row_23_preparing_sends_the_last_changes_as_a_synced_point(moving: MovingPair) -> None:
    await moving.pair.protect()
    with pytest.raises(Refusal, match="virtual machine is off"):
        await moving.east.do(Verb.PREPARE_FAILOVER, WEB)
    assert moving.states() == ("Replicating", "Replicating")
    written = await moving.prepare(moving.east)
    assert moving.states() == ("PreparedForFailover", "Replicating")
    newest = moving.west.relation().newest_point
    assert newest is not None
    assert newest.type == "Synced"
    verdict = await moving.newest_point(moving.west)
    assert (verdict["sequence"], verdict["identical"], verdict["journal"]) == (written, True, "Clean")
    assert moving.east.relation().pending_bytes == 0
    with pytest.raises(Refusal):
        await moving.east.do(Verb.START_VM, WEB)
    assert moving.shown(moving.east) == ("Production", "Off")
    await moving.east.restart()
    assert moving.states() == ("PreparedForFailover", "Replicating")
    assert moving.shown(moving.east) == ("Production", "Off")


async def test_row_23_fails_without_a_trace_where_the_link_is_down_and_may_be_repeated(moving: MovingPair) -> None:
    await moving.pair.protect()
    await moving.west.driver.stop()
    await moving.east.do(Verb.STOP_VM, WEB)
    with pytest.raises(Refusal) as refused:
        await moving.east.do(Verb.PREPARE_FAILOVER, WEB)
    assert refused.value.code is Code.PEER_UNREACHABLE
    assert moving.east.driver.state(WEB) == "Replicating"
    await moving.west.start()
    await moving.east.do(Verb.PREPARE_FAILOVER, WEB)
    assert moving.states() == ("PreparedForFailover", "Replicating")
    newest = moving.west.relation().newest_point
    assert newest is not None
    assert newest.type == "Synced"


async def test_row_24_a_prepared_failover_is_called_off(moving: MovingPair) -> None:
    await moving.pair.protect()
    await moving.prepare(moving.east)
    await moving.east.do(Verb.CANCEL_FAILOVER, WEB)
    assert moving.states() == ("Replicating", "Replicating")
    await moving.east.do(Verb.START_VM, WEB)
    written = await moving.writes_on(moving.east)
    await moving.caught_up(moving.east, written)
    with pytest.raises(Refusal, match="not the one that preparing"):
        await moving.west.do(Verb.FAILOVER, WEB, Failover(planned=True))


async def test_row_25_a_planned_failover_starts_the_vm_from_all_that_was_written(moving: MovingPair) -> None:
    await moving.pair.protect()
    written = await moving.prepare(moving.east)
    with pytest.raises(Refusal):
        await moving.west.do(Verb.START_VM, WEB)
    result = await moving.west.do(Verb.FAILOVER, WEB, Failover(planned=True))
    assert result["recoveryPointType"] == "Synced"
    fact = moving.west.relation()
    assert (fact.state, fact.failover_point) == ("FailedOverWaitingCompletion", fact.newest_point)
    assert moving.shown(moving.west) == ("Replica", "Off")
    await moving.west.do(Verb.START_VM, WEB)
    assert moving.shown(moving.west) == ("Replica", "Running")
    assert await moving.writes_on(moving.west) > written
    verdict = await moving.live(moving.west)
    assert (verdict["identical"], verdict["faults"]) == (True, [])
    # Over a restart the VM is on, and goes on at its next write.
    before = await moving.sequence(moving.west)
    await moving.west.restart()
    assert moving.shown(moving.west) == ("Replica", "Running")
    assert await moving.writes_on(moving.west) > before
    assert (await moving.live(moving.west))["identical"]


async def test_row_27_a_planned_failover_is_called_off_at_both_sides(moving: MovingPair) -> None:
    await moving.pair.protect()
    written = await moving.prepare(moving.east)
    await moving.west.do(Verb.FAILOVER, WEB, Failover(planned=True))
    await moving.west.do(Verb.START_VM, WEB)
    await moving.writes_on(moving.west)
    await moving.west.do(Verb.CANCEL_FAILOVER, WEB)
    assert moving.states() == ("PreparedForFailover", "Replicating")
    assert moving.shown(moving.west) == ("Replica", "Off")
    await moving.east.do(Verb.CANCEL_FAILOVER, WEB)
    await moving.east.do(Verb.START_VM, WEB)
    assert await moving.sequence(moving.east) >= written
    await moving.caught_up(moving.east, await moving.writes_on(moving.east))
    assert (await moving.newest_point(moving.west))["identical"]


async def test_row_29_replication_is_reversed_without_an_initial_copy(moving: MovingPair) -> None:
    await moving.pair.protect()
    written = await moving.planned(moving.east)
    assert moving.modes() == ("Replica", "Primary")
    assert moving.states() == ("Replicating", "Replicating")
    assert moving.shown(moving.east) == ("Replica", "Off")
    assert moving.shown(moving.west) == ("Production", "Running")
    now = await moving.writes_on(moving.west)
    assert now > written
    await moving.caught_up(moving.west, now)
    assert (await moving.newest_point(moving.east))["identical"]
    assert (await moving.live(moving.west))["identical"]
    # What went back is what was written since, and not the disk.
    assert moving.west.relation().initial_total_bytes != 8 * 2**20
    with pytest.raises(Refusal):
        await moving.east.do(Verb.START_VM, WEB)
    for site in (moving.east, moving.west):
        await site.restart()
        await site.do(Verb.REFRESH_INVENTORY, "")
        assert (await site.ask(ask="status"))["guests"].keys() - {DB, LEGACY} == (
            {WEB} if site is moving.west else set()
        )
    assert moving.shown(moving.east) == ("Replica", "Off")
    assert moving.shown(moving.west) == ("Production", "Running")
    await moving.caught_up(moving.west, await moving.writes_on(moving.west))


async def test_row_29_reversal_of_a_running_vm_goes_on_at_its_next_write(moving: MovingPair) -> None:
    await moving.pair.protect(DB, "db", disks=2)
    await moving.prepare(moving.east, DB)
    await moving.west.do(Verb.FAILOVER, DB, Failover(planned=True))
    await moving.west.do(Verb.START_VM, DB)
    before = await moving.writes_on(moving.west, DB)
    await moving.west.do(Verb.REVERSE_REPLICATION, DB, moving.reverse_arguments(moving.west))
    assert moving.shown(moving.west, DB) == ("Production", "Running")
    now = await moving.writes_on(moving.west, DB)
    assert now > before
    await moving.caught_up(moving.west, now, DB)
    assert (await moving.newest_point(moving.east, DB))["identical"]
    assert (await moving.live(moving.west, DB))["identical"]


async def test_row_29_is_refused_before_anything_changes_where_the_other_side_takes_no_data(tmp_path: Path) -> None:
    async with moving_pair(tmp_path, back=False) as moving:
        await moving.pair.protect()
        await moving.prepare(moving.east)
        await moving.west.do(Verb.FAILOVER, WEB, Failover(planned=True))
        with pytest.raises(Refusal) as refused:
            await moving.west.do(Verb.REVERSE_REPLICATION, WEB, moving.reverse_arguments(moving.west))
        assert refused.value.code is Code.PEER_UNREACHABLE
        assert "prepared as a target" in (refused.value.remedy or "")
        assert moving.states() == ("PreparedForFailover", "FailedOverWaitingCompletion")
        await moving.associate_back()
        wrong = moving.reverse_arguments(moving.west).model_copy(update={"association": ASSOCIATION})
        with pytest.raises(Refusal) as unauthorized:
            await moving.west.do(Verb.REVERSE_REPLICATION, WEB, wrong)
        assert unauthorized.value.code is Code.NOT_AUTHORIZED
        assert moving.states() == ("PreparedForFailover", "FailedOverWaitingCompletion")
        await moving.west.do(Verb.REVERSE_REPLICATION, WEB, moving.reverse_arguments(moving.west))
        assert moving.states() == ("Replicating", "Replicating")


async def test_after_a_reversal_everything_works_the_other_way_round(moving: MovingPair) -> None:
    await moving.pair.protect()
    await moving.planned(moving.east)
    await moving.west.do(Verb.SUSPEND, WEB)
    assert moving.states() == ("Replicating", "Suspended")
    await moving.west.do(Verb.RESUME, WEB)
    await moving.caught_up(moving.west, await moving.writes_on(moving.west))
    await moving.east.do(Verb.START_TEST_FAILOVER, WEB, StartTestFailover(owner="t"))
    check = CheckTestVM(owner="t", name="up", type="Heartbeat", timeout_seconds=5)
    await moving.east.do(Verb.CHECK_TEST_VM, WEB, check)
    await moving.east.do(Verb.STOP_TEST_FAILOVER, WEB, StopTestFailover(owner="t"))
    await moving.west.ask(ask="crash", vmID=WEB)
    assert moving.west.driver.state(WEB) == "WaitingForStartResynchronize"
    await moving.west.do(Verb.RESYNCHRONIZE, WEB, Resynchronize())
    await until(lambda: moving.states() == ("Replicating", "Replicating"))
    await moving.caught_up(moving.west, await moving.writes_on(moving.west))
    assert (await moving.newest_point(moving.east))["identical"]
    await moving.west.do(Verb.DISABLE_REPLICATION, WEB)
    await moving.east.do(Verb.DISABLE_REPLICATION, WEB)
    assert moving.shown(moving.west) == ("Production", "Running")
    assert moving.shown(moving.east) == ("Replica", "Off")
    await moving.east.restart()
    assert moving.shown(moving.east) == ("Replica", "Off")
    await moving.east.do(Verb.REMOVE_REPLICA, WEB)
    assert moving.east.sink.get(VM, WEB) is None


async def test_failback_inverts_failover(moving: MovingPair) -> None:
    """There and back again: the VM is where and as it was, with every write."""
    await moving.pair.protect(DB, "db", disks=2)
    before = moving.vm(moving.east, DB)
    await moving.planned(moving.east, DB)
    there = await moving.writes_on(moving.west, DB)
    await moving.caught_up(moving.west, there, DB)
    written = await moving.planned(moving.west, DB)
    assert written >= there
    assert moving.modes(DB) == ("Primary", "Replica")
    await until(lambda: moving.states(DB) == ("Replicating", "Replicating"))
    now = await moving.writes_on(moving.east, DB)
    assert now > written
    assert (await moving.live(moving.east, DB))["identical"]
    await moving.caught_up(moving.east, now, DB)
    assert (await moving.newest_point(moving.west, DB))["identical"]
    after = moving.vm(moving.east, DB)
    assert (after.host, after.cloud, after.adapters, after.state) == (
        before.host,
        before.cloud,
        before.adapters,
        "Running",
    )
    await moving.pair.disable(DB)
    assert moving.states(DB) == ("Disabled", "Disabled")


async def test_an_excluded_disk_is_empty_over_there_and_as_it_was_on_the_return(moving: MovingPair) -> None:
    await moving.pair.protect(DB, "db", disks=1)
    written = await moving.planned(moving.east, DB)
    there = await moving.writes_on(moving.west, DB)
    assert there > written
    assert all(fault.startswith("SCSI-0-1") for fault in (await moving.live(moving.west, DB))["faults"])
    await moving.caught_up(moving.west, there, DB)
    assert await moving.planned(moving.west, DB) >= there
    assert await moving.writes_on(moving.east, DB) > there
    assert all(fault.startswith("SCSI-0-1") for fault in (await moving.live(moving.east, DB))["faults"])
