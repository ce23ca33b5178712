"""Rows 7 to 13, 34, 42 and 44 of the transition table on a real pair: a relation that runs, fails and goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from secondsite.agent.lab.state import Association
from secondsite.wire.arguments import UpdateSettings
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Code, Refusal
from support.lab import ASSOCIATION, SETTINGS, LabPair, LabSite, running_pair
from support.lab_centres import WEB, source_centre
from support.patience import until

OK = ("Replicating", "Replicating")
CALM = SETTINGS.model_copy(update={"interval_seconds": 900})


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[LabPair]:
    async with running_pair(tmp_path) as found:
        yield found


async def events(site: LabSite) -> set[int]:
    """Ids of what the host's log holds of the VM."""
    found: list[dict[str, Any]] = (await site.ask(ask="status"))["events"]
    return {int(event["id"]) for event in found if event["vmName"] == "web"}


async def written(pair: LabPair) -> int:
    """The guest's newest write."""
    return int((await pair.source.ask(ask="status"))["guests"][WEB]["sequence"])


async def counted(site: LabSite) -> Any:
    counters = (await site.driver.detail(WEB)).counters
    assert counters is not None
    return counters


async def test_row_07_retries_exhausted_end_in_error_and_resume_goes_on_with_the_copy(tmp_path: Path) -> None:
    centre = source_centre()
    centre["knobs"]["initialRetries"] = 1
    async with running_pair(tmp_path, source=centre) as pair:
        await pair.target.do(Verb.PREPARE_REPLICA, WEB, pair.prepare_arguments())
        await pair.source.do(Verb.ENABLE_REPLICATION, WEB, pair.enable_arguments(1))
        await pair.target.driver.stop()
        await pair.source.do(Verb.START_INITIAL_REPLICATION, WEB)
        assert pair.source.driver.state(WEB) == "InitialReplicationInProgress"
        await until(lambda: pair.source.driver.state(WEB) == "Error")
        fact = pair.source.relation()
        assert fact.health == "Critical"
        assert fact.health_reasons[0] == "error-fix-and-resume"
        assert {32022, 32086} <= await events(pair.source)
        # The agent was killed before the start was told to have succeeded: it did, whatever came of the copy since.
        assert await pair.source.do(Verb.START_INITIAL_REPLICATION, WEB, resumed=True) == {}
        await pair.target.start()
        assert pair.states() == ("Error", "WaitingForInitialReplication")
        await pair.source.do(Verb.RESUME, WEB)
        assert pair.source.driver.state(WEB) in ("InitialReplicationInProgress", "Replicating")
        await until(lambda: pair.states() == OK)


async def test_row_08_every_cycle_counts_at_both_sides_and_moves_the_newest_point(pair: LabPair) -> None:
    await pair.protect()
    before, point = pair.target.relation().cycles, pair.target.relation().newest_point
    await pair.more_cycles(2)
    assert pair.states() == OK
    after = pair.target.relation()
    assert after.cycles >= before + 2
    assert point is not None
    assert after.newest_point is not None
    assert after.newest_point.source_time > point.source_time
    assert after.last_applied_time == after.last_replication_time
    for site in (pair.source, pair.target):
        counters = await counted(site)
        assert counters.successful >= 2
        assert counters.total_bytes > 0
        assert counters.average_latency_seconds is not None
        assert (counters.replication_errors, counters.network_errors) == (0, 0)


async def test_row_09_a_transient_failure_is_tried_again_and_nothing_owed_is_lost(pair: LabPair) -> None:
    await pair.protect()
    sound = await counted(pair.source)
    await pair.target.driver.stop()
    await until(lambda: "cannot-deliver" in pair.source.relation().health_reasons)
    fact = pair.source.relation()
    assert (fact.state, fact.health) == ("Replicating", "Critical")
    assert {32022, 32315} <= await events(pair.source)
    assert 32086 not in await events(pair.source)
    failing = await counted(pair.source)
    assert failing.network_errors > sound.network_errors
    assert failing.missed > sound.missed
    sequence = await written(pair)
    await until(lambda: (pair.source.relation().pending_bytes or 0) > 0)
    await pair.target.start()
    await pair.more_cycles(2)
    assert pair.states() == OK
    assert "cannot-deliver" not in pair.source.relation().health_reasons
    verdicts = await pair.replay()
    assert verdicts[-1]["identical"]
    assert verdicts[-1]["sequence"] >= sequence


async def test_row_10_what_the_replicas_side_refuses_for_good_is_an_error(pair: LabPair) -> None:
    await pair.protect()
    pair.target.driver._at.estate.documents.remove(Association, ASSOCIATION)
    await until(lambda: pair.source.relation().state == "Error")
    assert pair.target.relation().state == "Replicating"
    fact = pair.source.relation()
    assert (fact.health, fact.health_reasons[0]) == ("Critical", "error-fix-and-resume")
    assert "no association lets site east" in fact.message
    assert {32022, 32086} <= await events(pair.source)
    # It does not go on by itself, not even once the cause is gone.
    await pair.associate()
    cycles = pair.target.relation().cycles
    with pytest.raises(Refusal) as refused:
        await pair.source.do(Verb.SUSPEND, WEB)
    assert refused.value.code is Code.STATE_CONFLICT
    assert pair.target.relation().cycles == cycles
    await pair.source.do(Verb.RESUME, WEB)
    await pair.more_cycles()
    assert pair.states() == OK


async def test_row_11_suspended_on_the_primary_it_tracks_and_sends_nothing(pair: LabPair) -> None:
    await pair.protect()
    await pair.source.do(Verb.SUSPEND, WEB)
    assert pair.states() == ("Suspended", "Replicating")
    before = pair.target.relation()
    fact = pair.source.relation()
    assert (fact.health, fact.health_reasons[0]) == ("Warning", "paused")
    await until(lambda: (pair.source.relation().pending_bytes or 0) > 0)
    assert pair.target.relation().newest_point == before.newest_point
    assert pair.target.relation().cycles == before.cycles
    with pytest.raises(Refusal):
        await pair.source.do(Verb.SUSPEND, WEB)


async def test_row_12_suspended_on_the_replica_the_next_cycle_is_refused(pair: LabPair) -> None:
    await pair.protect()
    await pair.target.do(Verb.SUSPEND, WEB)
    await until(lambda: pair.states() == ("Error", "Suspended"))
    fact = pair.source.relation()
    assert (fact.health, fact.health_reasons[0]) == ("Critical", "error-fix-and-resume")
    assert "suspended" in fact.message
    assert pair.target.relation().health_reasons[0] == "paused"
    assert {32022, 32086} <= await events(pair.source)
    await pair.target.do(Verb.RESUME, WEB)
    assert pair.states() == ("Error", "Replicating")
    with pytest.raises(Refusal):
        await pair.target.do(Verb.RESUME, WEB)


@pytest.mark.parametrize("state", ["Suspended", "Error"])
async def test_row_13_resumed_it_sends_all_that_it_owes(pair: LabPair, state: str) -> None:
    await pair.protect()
    if state == "Suspended":
        await pair.source.do(Verb.SUSPEND, WEB)
    else:
        await pair.target.do(Verb.SUSPEND, WEB)
        await until(lambda: pair.source.driver.state(WEB) == state)
        await pair.target.do(Verb.RESUME, WEB)
    sequence = await written(pair)
    await pair.source.do(Verb.RESUME, WEB)
    assert pair.states() == OK
    assert "suspended" not in pair.source.relation().message
    await pair.more_cycles()
    verdicts = await pair.replay()
    assert verdicts[-1]["identical"]
    assert verdicts[-1]["sequence"] >= sequence


@pytest.mark.parametrize("restarted", ["source", "target", "both"])
async def test_row_34_a_restart_changes_no_state_and_replication_goes_on(pair: LabPair, restarted: str) -> None:
    await pair.protect()
    before = pair.target.relation()
    for site in (pair.source, pair.target):
        if restarted in ("both", "source" if site is pair.source else "target"):
            await site.restart()
    assert pair.states() == OK
    after = pair.target.relation()
    assert after.settings == before.settings
    assert after.cycles >= before.cycles
    assert after.newest_point is not None
    assert before.newest_point is not None
    assert after.newest_point.source_time >= before.newest_point.source_time
    await pair.more_cycles()
    assert (await pair.replay())[-1]["identical"]


@pytest.mark.parametrize("state", ["Suspended", "WaitingForStartResynchronize"])
async def test_row_34_a_restart_keeps_what_a_person_has_to_end(pair: LabPair, state: str) -> None:
    await pair.protect(settings=SETTINGS.model_copy(update={"auto_resynchronize": False}))
    if state == "Suspended":
        await pair.source.do(Verb.SUSPEND, WEB)
    else:
        await pair.source.ask(ask="crash", vmID=WEB)
    await pair.source.restart()
    assert pair.states() == (state, "Replicating")


async def test_row_42_settings_change_at_each_side_by_itself(pair: LabPair) -> None:
    await pair.protect(settings=CALM)
    wish = UpdateSettings(settings=SETTINGS.model_copy(update={"compression": False}))
    await pair.source.do(Verb.UPDATE_SETTINGS, WEB, wish)
    source, target = pair.source.relation().settings, pair.target.relation().settings
    assert source is not None
    assert target is not None
    assert (source.interval_seconds, target.interval_seconds) == (30, 900)
    assert (source.compression, target.compression) == (False, True)
    await pair.target.do(Verb.UPDATE_SETTINGS, WEB, wish)
    assert pair.target.relation().settings == source
    assert pair.states() == OK
    # No new protection: it goes on from the points that it has, at the new pace.
    await pair.more_cycles(2)


async def test_row_44_statistics_are_zeroed_and_the_warning_with_them(pair: LabPair) -> None:
    await pair.protect()
    await pair.target.driver.stop()
    await until(lambda: "missed-over-20-percent" in pair.source.relation().health_reasons)
    await pair.target.start()
    await pair.more_cycles(1)
    for site in (pair.source, pair.target):
        await site.do(Verb.UPDATE_SETTINGS, WEB, UpdateSettings(settings=CALM))
    await pair.source.do(Verb.RESET_STATISTICS, WEB)
    counters = await counted(pair.source)
    assert (counters.successful, counters.missed, counters.network_errors, counters.total_bytes) == (0, 0, 0, 0)
    assert counters.average_latency_seconds is None
    assert pair.source.relation().health == "Normal"
    assert pair.states() == OK
    assert (await counted(pair.target)).successful > 0
    await pair.disable()
    with pytest.raises(Refusal) as refused:
        await pair.source.do(Verb.RESET_STATISTICS, WEB)
    assert refused.value.code is Code.STATE_CONFLICT
