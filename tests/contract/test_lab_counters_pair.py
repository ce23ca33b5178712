"""Counters, monitoring windows and RPO seconds of a real pair, as `GET /v1/vms/{id}` and the relation tell them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from secondsite.agent.lab.host_log import Record
from secondsite.wire.arguments import Settings, UpdateSettings
from secondsite.wire.facts import Counters
from secondsite.wire.operations import Verb
from support.lab import LabPair, LabSite, running_pair
from support.lab_centres import WEB, source_centre, target_centre
from support.patience import until

WINDOW_SECONDS = 1.0
KNOBS = {"monitoringSeconds": WINDOW_SECONDS * 60}
TIGHT = Settings(interval_seconds=30, retention_hours=24, rpo_target_seconds=1)


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[LabPair]:
    async with running_pair(tmp_path) as made:
        yield made


@pytest.fixture
async def short_windows(tmp_path: Path) -> AsyncIterator[LabPair]:
    centres = {"source": source_centre() | {"knobs": KNOBS}, "target": target_centre() | {"knobs": KNOBS}}
    async with running_pair(tmp_path, **centres) as made:
        yield made


async def counted(site: LabSite) -> Counters:
    found = (await site.driver.detail(WEB)).counters
    assert found is not None
    return found


def ends(site: LabSite) -> list[Record]:
    records = site.driver._at.estate.halves.host_log.newest(100)
    return [record for record in records if record.id == 29174]


def outside(site: LabSite) -> int:
    return sum(seconds for _, seconds in site.relation().seconds_outside_rpo or ())


async def test_both_sites_count_what_was_sent_and_received(pair: LabPair) -> None:
    await pair.protect()
    await pair.more_cycles(3)
    source, target = await counted(pair.source), await counted(pair.target)
    for told in (source, target):
        assert told.successful >= 3
        assert told.expected >= told.successful
        assert told.total_bytes >= told.largest_bytes > 0
        assert told.average_latency_seconds is not None
        assert told.largest_latency_seconds >= told.average_latency_seconds
        assert (told.network_errors, told.replication_errors, told.vss_errors) == (0, 0, 0)
        assert told.start < told.end


async def test_a_site_that_is_gone_is_an_error_of_the_network(pair: LabPair) -> None:
    await pair.protect()
    await pair.target.driver.stop()
    try:
        await until(lambda: pair.source.relation().message != "")
        told = await counted(pair.source)
        assert (told.network_errors, told.replication_errors) == (1, 0)
        assert told.missed >= 1
    finally:
        await pair.target.start()


async def test_a_reset_zeroes_and_ends_no_window(pair: LabPair) -> None:
    await pair.protect()
    await pair.more_cycles(2)
    await pair.source.do(Verb.SUSPEND, WEB)
    before = await counted(pair.source)
    await pair.source.do(Verb.RESET_STATISTICS, WEB)
    told = await counted(pair.source)
    assert (told.successful, told.total_bytes, told.average_bytes) == (0, 0, None)
    assert told.start > before.start
    assert told.end == before.end
    assert ends(pair.source) == []


async def test_a_window_that_ends_is_told_even_where_no_cycle_runs(short_windows: LabPair) -> None:
    pair = short_windows
    await pair.protect()
    await pair.source.do(Verb.SUSPEND, WEB)
    for site in (pair.source, pair.target):
        window = await counted(site)
        before = len(ends(site))
        await _passed(window.end)
        assert (await counted(site)).start >= window.end
        assert len(ends(site)) > before
    assert (await counted(pair.source)).successful == 0


async def test_seconds_outside_the_target_are_counted_where_points_arrive(pair: LabPair) -> None:
    await pair.protect()
    assert outside(pair.target) == 0
    assert pair.source.relation().seconds_outside_rpo is None
    for site in (pair.source, pair.target):
        await site.do(Verb.UPDATE_SETTINGS, WEB, UpdateSettings(settings=TIGHT))
    await pair.source.do(Verb.SUSPEND, WEB)
    newest = pair.target.relation().newest_point
    assert newest is not None
    await until(lambda: (pair.target.driver._at.estate.clock.now() - newest.source_time).total_seconds() > 3.5)
    await pair.source.do(Verb.RESUME, WEB)
    await pair.more_cycles()
    told = outside(pair.target)
    assert 2 <= told <= 10
    await pair.target.restart()
    assert outside(pair.target) >= told


async def test_a_point_that_a_killed_agent_did_not_note_is_taken_up_at_its_next_start(pair: LabPair) -> None:
    await pair.protect()
    await pair.more_cycles()
    await pair.source.driver.stop()
    noted = pair.target.driver._at.estate.halves
    half = noted.get(WEB)
    assert half is not None
    assert half.rpo_source_time is not None
    noted.update(WEB, rpo_source_time=half.rpo_source_time - timedelta(seconds=1))
    await pair.target.restart()
    after = pair.target.driver._at.estate.halves.get(WEB)
    assert after is not None
    newest = pair.target.relation().newest_point
    assert newest is not None
    assert after.rpo_source_time == newest.source_time == half.rpo_source_time


async def _passed(time: datetime) -> None:
    await until(lambda: datetime.now(UTC) > time)
