"""Resynchronization on a real pair: what asks for it, how it runs, what it leaves (table rows 14 to 20, 35)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from secondsite.wire.agent import NO_FENCE
from secondsite.wire.agent import Settings as SiteSettings
from secondsite.wire.arguments import Resynchronize, StartTestFailover, StopTestFailover, UpdateSettings
from secondsite.wire.arguments import Settings as Wish
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Code, Refusal
from support.lab import SETTINGS, LabPair, running_pair
from support.lab_centres import DB, WEB, target_centre
from support.patience import until


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[LabPair]:
    async with running_pair(tmp_path, keep_every_cycle=True) as found:
        yield found


def automatic(start: datetime, end: datetime) -> Wish:
    window = {"resynchronize_start": f"{start:%H:%M}", "resynchronize_end": f"{end:%H:%M}"}
    return SETTINGS.model_copy(update={"auto_resynchronize": True, **window})


async def crash(pair: LabPair, vm_id: str = WEB) -> None:
    await pair.source.ask(ask="crash", vmID=vm_id)


async def hold(pair: LabPair) -> None:
    """Nothing large passes any more: a resynchronization that has begun stays under way."""
    await pair.source.driver.apply(SiteSettings(fence=NO_FENCE, bandwidth_limit_bytes_per_second=65536))


async def point_ids(pair: LabPair, vm_id: str = WEB) -> list[str]:
    return [point.id for point in await pair.target.driver.points(vm_id)]


async def resynchronized(pair: LabPair, vm_id: str = WEB) -> None:
    await until(lambda: pair.states(vm_id) == ("Replicating", "Replicating"))
    await pair.more_cycles(1, vm_id)
    verdicts = await pair.replay(vm_id)
    assert verdicts
    assert all(verdict["identical"] for verdict in verdicts)


async def stuck_resync(pair: LabPair) -> None:
    """Under way, and not able to end: the replica's side is told, and then it is gone."""
    await pair.protect()
    await crash(pair)
    await pair.target.driver.stop()
    await pair.source.do(Verb.RESYNCHRONIZE, WEB)
    assert pair.source.driver.state(WEB) == "Resynchronizing"


async def test_row_15_and_18_what_differs_is_found_and_all_older_points_are_deleted(pair: LabPair) -> None:
    await pair.protect(DB, "db", disks=2)
    await pair.more_cycles(2, DB)
    before = await point_ids(pair, DB)
    await crash(pair, DB)
    cycles = pair.target.relation(DB).cycles
    await pair.source.do(Verb.RESYNCHRONIZE, DB)
    await until(lambda: pair.states(DB) == ("Replicating", "Replicating"))
    await resynchronized(pair, DB)
    await until(lambda: pair.target.relation(DB).point_count <= pair.target.relation(DB).cycles - cycles)
    assert not set(await point_ids(pair, DB)) & set(before)
    fact = pair.source.relation(DB)
    assert (fact.resynchronize_percent, fact.message) == (None, "")
    assert fact.pending_bytes is not None


async def test_row_18_a_point_under_a_test_vm_goes_when_the_test_vm_goes(pair: LabPair) -> None:
    await pair.protect()
    await pair.more_cycles(1)
    await pair.target.do(Verb.START_TEST_FAILOVER, WEB, StartTestFailover(owner="rehearsal"))
    test = pair.target.relation().test_vm
    assert test is not None
    assert test.recovery_point is not None
    tested = test.recovery_point.id
    await crash(pair)
    await pair.source.do(Verb.RESYNCHRONIZE, WEB)
    await resynchronized(pair)
    left = await point_ids(pair)
    assert tested in left
    await pair.target.do(Verb.STOP_TEST_FAILOVER, WEB, StopTestFailover(owner="rehearsal"))
    for _ in range(10):
        if tested in left:
            await pair.more_cycles(1)
            left = await point_ids(pair)
    assert tested not in left


async def test_row_18_with_the_capability_the_recovery_points_stay(tmp_path: Path) -> None:
    better = target_centre() | {"capabilities": ["ResyncKeepsRecoveryPoints"]}
    async with running_pair(tmp_path, target=better, keep_every_cycle=True) as pair:
        await pair.protect()
        await pair.more_cycles(2)
        before = await point_ids(pair)
        await crash(pair)
        await pair.source.do(Verb.RESYNCHRONIZE, WEB)
        await resynchronized(pair)
        assert set(before) <= set(await point_ids(pair))


async def test_row_15_at_a_time_and_a_stop_before_it(pair: LabPair) -> None:
    await pair.protect()
    await crash(pair)
    for start in (timedelta(days=8), timedelta(seconds=-1)):
        with pytest.raises(Refusal, match="seven days"):
            await pair.source.do(Verb.RESYNCHRONIZE, WEB, Resynchronize(start_time=datetime.now(UTC) + start))
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    await pair.source.do(Verb.RESYNCHRONIZE, WEB, Resynchronize(start_time=tomorrow))
    fact = pair.source.relation()
    assert (fact.state, fact.resynchronize_start_time) == ("WaitingForStartResynchronize", tomorrow)
    await pair.source.do(Verb.STOP_RESYNCHRONIZE, WEB)
    assert pair.source.relation().resynchronize_start_time is None
    with pytest.raises(Refusal, match="a time was set"):
        await pair.source.do(Verb.STOP_RESYNCHRONIZE, WEB)
    soon = datetime.now(UTC) + timedelta(seconds=1)
    await pair.source.do(Verb.RESYNCHRONIZE, WEB, Resynchronize(start_time=soon))
    await resynchronized(pair)
    assert (pair.source.relation().last_replication_time or soon) >= soon


async def test_row_15_by_itself_inside_the_window_only(pair: LabPair) -> None:
    now = datetime.now(UTC)
    await pair.protect(settings=automatic(now + timedelta(hours=2), now + timedelta(hours=3)))
    await crash(pair)
    assert pair.source.driver.state(WEB) == "WaitingForStartResynchronize"
    open_now = automatic(now - timedelta(hours=1), now + timedelta(hours=1))
    await pair.source.do(Verb.UPDATE_SETTINGS, WEB, UpdateSettings(settings=open_now))
    await resynchronized(pair)


async def test_row_15_the_replica_resynchronizes_too_and_takes_no_test(pair: LabPair) -> None:
    await pair.protect()
    await crash(pair)
    await hold(pair)
    await pair.source.do(Verb.RESYNCHRONIZE, WEB)
    await until(lambda: pair.states() == ("Resynchronizing", "Resynchronizing"))
    fact = pair.source.relation()
    assert fact.resynchronize_percent in range(101)
    assert (fact.health, fact.pending_bytes) == ("Critical", None)
    with pytest.raises(Refusal) as refused:
        await pair.target.do(Verb.START_TEST_FAILOVER, WEB, StartTestFailover(owner="rehearsal"))
    assert refused.value.code is Code.STATE_CONFLICT
    await pair.source.driver.apply(SiteSettings(fence=NO_FENCE))
    await resynchronized(pair)


async def test_row_16_suspend_and_resume_go_on_where_it_stopped(pair: LabPair) -> None:
    await stuck_resync(pair)
    await pair.source.do(Verb.SUSPEND, WEB)
    assert pair.source.driver.state(WEB) == "ResynchronizeSuspended"
    await pair.target.start()
    await pair.source.restart()
    assert pair.source.driver.state(WEB) == "ResynchronizeSuspended"
    assert pair.source.relation().pending_bytes is None
    await pair.source.do(Verb.RESUME, WEB)
    await resynchronized(pair)


async def test_row_17_a_stop_is_told_to_the_replica_once_it_can_be(pair: LabPair) -> None:
    await pair.protect()
    await crash(pair)
    await hold(pair)
    await pair.source.do(Verb.RESYNCHRONIZE, WEB)
    await until(lambda: pair.states() == ("Resynchronizing", "Resynchronizing"))
    await pair.target.driver.stop()
    await pair.source.do(Verb.STOP_RESYNCHRONIZE, WEB)
    assert pair.source.driver.state(WEB) == "WaitingForStartResynchronize"
    assert pair.source.relation().resynchronize_percent is None
    await pair.target.start()
    assert pair.target.driver.state(WEB) == "Resynchronizing"
    await until(lambda: pair.states() == ("WaitingForStartResynchronize", "Replicating"))
    await pair.source.driver.apply(SiteSettings(fence=NO_FENCE))
    await pair.source.do(Verb.RESYNCHRONIZE, WEB)
    await resynchronized(pair)


async def test_row_17_what_a_person_stopped_does_not_begin_again_by_itself(pair: LabPair) -> None:
    now = datetime.now(UTC)
    await pair.protect(settings=automatic(now - timedelta(hours=1), now + timedelta(hours=1)))
    await pair.target.driver.stop()
    await crash(pair)
    await until(lambda: pair.source.driver.state(WEB) == "Resynchronizing")
    await pair.source.do(Verb.STOP_RESYNCHRONIZE, WEB)
    await pair.target.start()
    cycles = pair.source.relation().cycles
    await pair.protect(DB, "db", disks=2)
    await pair.more_cycles(2, DB)
    assert (pair.source.relation().state, pair.source.relation().cycles) == ("WaitingForStartResynchronize", cycles)


async def test_row_20_a_suspended_vm_can_be_made_to_resynchronize_and_is_compared(pair: LabPair) -> None:
    await pair.protect()
    await pair.source.do(Verb.SUSPEND, WEB)
    before = await point_ids(pair)
    here, there = pair.source.driver._site, pair.target.driver._site
    assert here is not None
    assert there is not None
    (disk,) = here.estate.guests[WEB].disks.values()
    # Past the tracking: only a comparison finds it.
    with disk.path.open("r+b") as file:
        file.seek(disk.size - 4)
        file.write(b"tool")
    await pair.source.do(Verb.RESYNCHRONIZE, WEB)
    await until(lambda: pair.states() == ("Replicating", "Replicating"))
    await pair.more_cycles()
    assert not set(await point_ids(pair)) & set(before)
    store = there.estate.replicas.get(WEB)
    assert store is not None
    assert store.store.read_point(store.points()[-1].id, "SCSI-0-0", disk.size - 4, 4) == b"tool"


async def test_a_healthy_vm_is_not_resynchronized_and_neither_is_one_without_replication(pair: LabPair) -> None:
    for state in ("Disabled", "Replicating"):
        assert pair.source.driver.state(WEB) == state
        for verb in (Verb.RESYNCHRONIZE, Verb.STOP_RESYNCHRONIZE):
            with pytest.raises(Refusal) as refused:
                await pair.source.do(verb, WEB)
            assert refused.value.code is Code.STATE_CONFLICT
        if state == "Disabled":
            await pair.protect()


async def test_a_resynchronization_goes_on_after_a_restart_of_either_side(pair: LabPair) -> None:
    await pair.protect()
    await crash(pair)
    await hold(pair)
    await pair.source.do(Verb.RESYNCHRONIZE, WEB)
    await until(lambda: pair.states() == ("Resynchronizing", "Resynchronizing"))
    await pair.source.restart()
    await pair.target.restart()
    assert pair.source.driver.state(WEB) == "Resynchronizing"
    await pair.source.driver.apply(SiteSettings(fence=NO_FENCE))
    await resynchronized(pair)


async def test_repeated_after_an_unknown_outcome_the_verbs_end_the_same(pair: LabPair) -> None:
    await stuck_resync(pair)
    await pair.source.do(Verb.RESYNCHRONIZE, WEB, resumed=True)
    for resumed in (False, True):
        await pair.source.do(Verb.SUSPEND, WEB, resumed=resumed)
    for resumed in (False, True):
        await pair.source.do(Verb.RESUME, WEB, resumed=resumed)
    for resumed in (False, True):
        await pair.source.do(Verb.STOP_RESYNCHRONIZE, WEB, resumed=resumed)
    await pair.target.start()
    await pair.source.do(Verb.RESYNCHRONIZE, WEB)
    await resynchronized(pair)


async def test_row_35_a_crash_in_the_middle_of_a_resynchronization_compares_anew(pair: LabPair) -> None:
    await stuck_resync(pair)
    await crash(pair)
    assert pair.source.driver.state(WEB) == "Resynchronizing"
    await pair.target.start()
    await resynchronized(pair)
