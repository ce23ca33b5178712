"""Unplanned failover between two lab sites, by the rows of the transition table: what is lost is what was pending."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from secondsite.wire.arguments import Failover, StartTestFailover, StopTestFailover
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Code, Refusal
from support.lab_centres import WEB, large_source_centre, target_centre
from support.lab_failover import MovingPair, moving_pair
from support.patience import until


@pytest.fixture
async def moving(tmp_path: Path) -> AsyncIterator[MovingPair]:
    async with moving_pair(tmp_path) as found:
        yield found


@pytest.fixture
async def large(tmp_path: Path) -> AsyncIterator[MovingPair]:
    """Its guest leaves 12 MiB of content alone."""
    async with moving_pair(tmp_path, source=large_source_centre()) as found:
        yield found


async def test_row_25_an_unplanned_failover_asks_nobody_and_loses_only_what_was_pending(moving: MovingPair) -> None:
    await moving.pair.protect()
    await moving.caught_up(moving.east, await moving.writes_on(moving.east))
    await moving.east.driver.stop()
    held = (await moving.newest_point(moving.west))["sequence"]
    await moving.unplanned(moving.west)
    assert moving.west.driver.state(WEB) == "FailedOverWaitingCompletion"
    assert moving.shown(moving.west) == ("Replica", "Running")
    assert await moving.writes_on(moving.west) > held
    verdict = await moving.live(moving.west)
    assert (verdict["identical"], verdict["faults"]) == (True, [])
    await moving.east.start()


async def test_row_25_a_point_is_chosen_by_name_and_by_time(moving: MovingPair) -> None:
    await moving.pair.protect()
    await moving.pair.more_cycles(3)
    points = await moving.west.driver.points(WEB)
    oldest = points[0]
    with pytest.raises(Refusal) as none:
        await moving.west.do(Verb.FAILOVER, WEB, Failover(recovery_point="LatestAppConsistent"))
    assert none.value.code is Code.NOT_FOUND
    assert moving.west.driver.state(WEB) == "Replicating"
    await moving.west.do(Verb.FAILOVER, WEB, Failover(recovery_point="Named", name=oldest.id))
    assert moving.west.relation().failover_point == oldest
    await moving.west.do(Verb.CANCEL_FAILOVER, WEB)
    assert moving.west.relation().failover_point is None
    result = await moving.west.do(Verb.FAILOVER, WEB, Failover(recovery_point="At", time=oldest.source_time))
    assert result["recoveryPoint"] == oldest.id


async def test_row_25_a_planned_failover_needs_a_source_that_was_prepared(moving: MovingPair) -> None:
    await moving.pair.protect()
    with pytest.raises(Refusal, match="not the one that preparing") as refused:
        await moving.west.do(Verb.FAILOVER, WEB, Failover(planned=True))
    assert "prepare the failover at the source" in (refused.value.remedy or "")
    assert moving.states() == ("Replicating", "Replicating")


async def test_row_25_a_test_vm_stays_through_a_failover(moving: MovingPair) -> None:
    await moving.pair.protect()
    await moving.west.do(Verb.START_TEST_FAILOVER, WEB, StartTestFailover(owner="t"))
    await moving.unplanned(moving.west)
    assert moving.west.relation().test_vm is not None
    await moving.east.do(Verb.STOP_VM, WEB)
    await until(lambda: moving.east.driver.state(WEB) == "Error")
    await moving.east.do(Verb.DEMOTE_TO_REPLICA, WEB, moving.demote_arguments(moving.east))
    with pytest.raises(Refusal) as refused:
        await moving.west.do(Verb.REVERSE_REPLICATION, WEB, moving.reverse_arguments(moving.west))
    assert refused.value.code is Code.IN_USE
    assert "Stop the test failover" in (refused.value.remedy or "")
    await moving.west.do(Verb.STOP_TEST_FAILOVER, WEB, StopTestFailover(owner="t"))
    await moving.west.do(Verb.REVERSE_REPLICATION, WEB, moving.reverse_arguments(moving.west))
    assert moving.states() == ("WaitingForInitialReplication", "ReadyForInitialReplication")


async def test_row_25_state_13_lasts_as_long_as_the_host_needs(tmp_path: Path) -> None:
    target = target_centre()
    target["knobs"]["failoverSeconds"] = 60
    async with moving_pair(tmp_path, target=target) as moving:
        await moving.pair.protect()
        doing = asyncio.create_task(moving.west.do(Verb.FAILOVER, WEB, Failover()))
        await until(lambda: moving.west.driver.state(WEB) == "RecoveryInProgress")
        with pytest.raises(Refusal):
            await moving.west.do(Verb.START_VM, WEB)
        await doing
        assert moving.west.driver.state(WEB) == "FailedOverWaitingCompletion"


async def test_row_26_the_living_primary_learns_of_it_and_nothing_is_lost_at_the_replica(moving: MovingPair) -> None:
    await moving.pair.protect()
    await moving.unplanned(moving.west)
    await until(lambda: moving.east.driver.state(WEB) == "Error")
    fact = moving.east.relation()
    assert (fact.health, fact.health_reasons[0]) == ("Critical", "error-fix-and-resume")
    assert "failed over at west: both copies" in fact.message
    assert (moving.shown(moving.east)[1], moving.shown(moving.west)[1]) == ("Running", "Running")
    await moving.east.do(Verb.RESUME, WEB)
    await until(lambda: moving.east.driver.state(WEB) == "Error")
    assert (await moving.live(moving.west))["identical"]


async def test_row_27_a_cancelled_failover_discards_what_the_vm_wrote(moving: MovingPair) -> None:
    await moving.pair.protect()
    await moving.unplanned(moving.west)
    await moving.writes_on(moving.west)
    await until(lambda: moving.east.driver.state(WEB) == "Error")
    await moving.west.do(Verb.CANCEL_FAILOVER, WEB)
    assert moving.shown(moving.west) == ("Replica", "Off")
    await moving.east.do(Verb.RESUME, WEB)
    await moving.caught_up(moving.east, await moving.writes_on(moving.east))
    assert moving.states() == ("Replicating", "Replicating")
    assert all(verdict["identical"] for verdict in await moving.pair.replay())
    with pytest.raises(Refusal):
        await moving.west.do(Verb.START_VM, WEB)


async def test_row_28_a_committed_failover_keeps_one_point_and_cannot_be_cancelled(moving: MovingPair) -> None:
    await moving.pair.protect()
    await moving.pair.more_cycles(3)
    chosen = (await moving.west.driver.points(WEB))[0]
    await moving.west.do(Verb.FAILOVER, WEB, Failover(recovery_point="Named", name=chosen.id))
    await moving.west.do(Verb.START_VM, WEB)
    assert len(await moving.west.driver.points(WEB)) > 1
    await moving.west.do(Verb.COMMIT_FAILOVER, WEB)
    assert moving.west.driver.state(WEB) == "FailedOver"
    assert [point.id for point in await moving.west.driver.points(WEB)] == [chosen.id]
    assert moving.west.relation().point_count == 1
    with pytest.raises(Refusal):
        await moving.west.do(Verb.CANCEL_FAILOVER, WEB)
    await moving.writes_on(moving.west)
    assert (await moving.live(moving.west))["identical"]


async def _parted(moving: MovingPair) -> tuple[int, int]:
    """Both copies have written by themselves, and east is off: how far east and west are."""
    await moving.pair.protect()
    await moving.pair.more_cycles()
    await moving.unplanned(moving.west)
    await until(lambda: moving.east.driver.state(WEB) == "Error")
    alone = await moving.writes_on(moving.east)
    await moving.east.do(Verb.STOP_VM, WEB)
    return alone, await moving.writes_on(moving.west)


async def test_rows_30_to_32_the_old_primary_returns_with_only_what_differs(large: MovingPair) -> None:
    await _parted(large)
    first = large.east.relation().initial_total_bytes
    with pytest.raises(Refusal, match="demote it to a replica"):
        await large.west.do(Verb.REVERSE_REPLICATION, WEB, large.reverse_arguments(large.west))
    assert large.states() == ("Error", "FailedOverWaitingCompletion")
    await large.east.do(Verb.DEMOTE_TO_REPLICA, WEB, large.demote_arguments(large.east))
    assert large.states() == ("WaitingForInitialReplication", "FailedOverWaitingCompletion")
    assert large.shown(large.east) == ("Replica", "Off")
    await large.east.restart()
    assert large.east.driver.state(WEB) == "WaitingForInitialReplication"
    await large.west.do(Verb.REVERSE_REPLICATION, WEB, large.reverse_arguments(large.west))
    assert large.states() == ("WaitingForInitialReplication", "ReadyForInitialReplication")
    assert large.modes() == ("Replica", "Primary")
    wire = large.count_sent(large.west)
    await large.west.do(Verb.START_INITIAL_REPLICATION, WEB)
    await until(lambda: large.states() == ("Replicating", "Replicating"))
    assert 0 < wire.sent < 12 * 2**20
    # Both sides' writes, and not the content that neither has touched since.
    assert 0 < (large.west.relation().initial_total_bytes or 0) < 12 * 2**20 < (first or 0)
    await large.caught_up(large.west, await large.writes_on(large.west))
    assert (await large.newest_point(large.east))["identical"]
    assert (await large.live(large.west))["identical"]
    written = await large.planned(large.west)
    assert large.modes() == ("Primary", "Replica")
    assert await large.writes_on(large.east) > written
    assert (await large.live(large.east))["identical"]


async def test_row_30_needs_a_vm_that_is_off_and_an_association(tmp_path: Path) -> None:
    async with moving_pair(tmp_path, back=False) as moving:
        await moving.pair.protect()
        await moving.unplanned(moving.west)
        await until(lambda: moving.east.driver.state(WEB) == "Error")
        with pytest.raises(Refusal, match="virtual machine is off"):
            await moving.east.do(Verb.DEMOTE_TO_REPLICA, WEB, moving.demote_arguments(moving.east))
        await moving.east.do(Verb.STOP_VM, WEB)
        with pytest.raises(Refusal) as refused:
            await moving.east.do(Verb.DEMOTE_TO_REPLICA, WEB, moving.demote_arguments(moving.east))
        assert refused.value.code is Code.NOT_AUTHORIZED
        assert moving.modes() == ("Primary", "Replica")


async def test_row_32_the_disks_are_compared_where_the_old_primary_does_not_know_what_it_wrote(
    large: MovingPair,
) -> None:
    await large.pair.protect()
    await large.pair.more_cycles()
    await large.unplanned(large.west)
    await large.east.ask(ask="crash", vmID=WEB)
    first = large.east.relation().initial_total_bytes
    await until(lambda: large.east.driver.state(WEB) in ("Error", "WaitingForStartResynchronize"))
    await large.east.do(Verb.STOP_VM, WEB)
    await large.east.do(Verb.DEMOTE_TO_REPLICA, WEB, large.demote_arguments(large.east))
    await large.west.do(Verb.REVERSE_REPLICATION, WEB, large.reverse_arguments(large.west))
    wire = large.count_sent(large.west)
    await large.west.do(Verb.START_INITIAL_REPLICATION, WEB)
    await until(lambda: large.states() == ("Replicating", "Replicating"))
    assert 0 < wire.sent < 12 * 2**20
    # Both sides' writes, and not the content that neither has touched since.
    assert 0 < (large.west.relation().initial_total_bytes or 0) < 12 * 2**20 < (first or 0)
    await large.caught_up(large.west, await large.writes_on(large.west))
    assert (await large.newest_point(large.east))["identical"]


async def test_row_33_a_failed_over_vm_stays_as_it_runs_when_its_replication_ends(moving: MovingPair) -> None:
    await moving.pair.protect()
    await moving.unplanned(moving.west)
    before = await moving.writes_on(moving.west)
    await moving.west.do(Verb.DISABLE_REPLICATION, WEB)
    assert moving.west.driver.state(WEB) == "Disabled"
    assert moving.shown(moving.west) == ("Production", "Running")
    assert await moving.writes_on(moving.west) > before
    await until(lambda: moving.east.driver.state(WEB) == "Error")
    assert "failed over" in moving.east.relation().message
    await moving.west.restart()
    assert moving.shown(moving.west) == ("Production", "Running")
    assert (await moving.live(moving.west))["identical"]
    await moving.west.do(Verb.STOP_VM, WEB)
    await moving.west.restart()
    assert moving.shown(moving.west) == ("Production", "Off")


async def test_row_48_a_vm_is_off_until_somebody_starts_it(moving: MovingPair) -> None:
    await moving.pair.protect()
    await moving.east.do(Verb.STOP_VM, WEB)
    written = await moving.sequence(moving.east)
    # The first may have been frozen before.
    await moving.pair.more_cycles(2)
    verdict = await moving.newest_point(moving.west)
    assert (verdict["sequence"], verdict["journal"]) == (written, "Clean")
    await moving.east.restart()
    await moving.east.do(Verb.REFRESH_INVENTORY, "")
    assert moving.shown(moving.east) == ("Production", "Off")
    assert await moving.sequence(moving.east) == written
    await moving.east.do(Verb.START_VM, WEB)
    await moving.east.do(Verb.START_VM, WEB)
    assert moving.shown(moving.east) == ("Production", "Running")
    assert await moving.writes_on(moving.east) > written
    with pytest.raises(Refusal):
        await moving.west.do(Verb.START_VM, WEB)


async def test_row_19_a_comparison_that_meets_a_failover_says_that_both_copies_may_run(moving: MovingPair) -> None:
    await moving.pair.protect()
    await moving.east.do(Verb.SUSPEND, WEB)
    await moving.unplanned(moving.west)
    await moving.east.do(Verb.RESYNCHRONIZE, WEB)
    await until(lambda: moving.east.driver.state(WEB) == "WaitingForStartResynchronize")
    assert "both copies of web may run" in moving.east.relation().message
