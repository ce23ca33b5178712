"""A VM that writes nothing: its cycles go on and its lag stays true, but no point is made and no file stays open."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from secondsite.agent.lab.driver import LabDriver
from secondsite.agent.lab.guests import Guest
from secondsite.wire.facts import Relation
from support.lab import LabPair, make_pair, running_pair
from support.lab_centres import WEB, source_centre
from support.patience import until


def silent_centre() -> dict[str, Any]:
    centre = source_centre()
    for machine in centre["vms"]:
        machine["guest"]["writesPerSecond"] = 0
    return centre


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[LabPair]:
    async with running_pair(tmp_path, source=silent_centre()) as found:
        await found.protect()
        yield found


def guest(pair: LabPair) -> Guest:
    driver = pair.source.driver
    assert isinstance(driver, LabDriver)
    return driver._at.estate.guests[WEB]


def newest(relation: Relation) -> tuple[str, datetime]:
    assert relation.newest_point is not None
    return relation.newest_point.id, relation.newest_point.source_time


def open_files(pair: LabPair) -> list[str]:
    """Of both sites, but for locks and databases."""
    folders = (f"{pair.source.data}/", f"{pair.target.data}/")
    found = [str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    mine = [path for path in found if path.startswith(folders)]
    return [path for path in mine if WEB in path and not path.endswith("/lock")]


async def test_cycles_move_the_newest_points_time_and_make_none(pair: LabPair) -> None:
    await pair.more_cycles()
    point, before = newest(pair.target.relation())
    await pair.more_cycles(4)
    relation = pair.target.relation()
    assert newest(relation)[0] == point
    assert newest(relation)[1] > before
    assert relation.point_count == 1
    assert (pair.source.relation().health, relation.health) == ("Normal", "Normal")
    assert pair.source.relation().pending_bytes == 0


async def test_the_lag_that_is_told_is_that_of_the_last_cycle(pair: LabPair) -> None:
    await pair.more_cycles(3)
    for _ in range(20):
        source, target = pair.source.relation(), pair.target.relation()
        assert source.last_replication_time is not None
        lag = (datetime.now(UTC) - newest(target)[1]).total_seconds()
        assert 0 <= lag < 10
    # The point is never of a later time than that at which the source was last asked.
    assert newest(target)[1] <= pair.source.relation().last_replication_time  # type: ignore[operator]  # just seen


async def test_between_cycles_no_file_of_a_quiet_vm_is_open(pair: LabPair) -> None:
    await pair.more_cycles(2)
    await until(lambda: open_files(pair) == [])


async def test_a_write_is_in_the_next_point_and_ends_the_rest(pair: LabPair) -> None:
    await pair.more_cycles(2)
    point, _ = newest(pair.target.relation())
    record = guest(pair).write_one()
    await until(lambda: newest(pair.target.relation())[0] != point)
    verdicts = await pair.replay()
    assert all(verdict["faults"] == [] for verdict in verdicts)
    assert max(verdict["sequence"] for verdict in verdicts) == record.sequence


async def test_a_restart_goes_on_where_it_was(pair: LabPair) -> None:
    await pair.more_cycles(2)
    point, before = newest(pair.target.relation())
    await pair.target.restart()
    await pair.source.restart()
    await pair.more_cycles(2)
    assert newest(pair.target.relation())[0] == point
    assert newest(pair.target.relation())[1] > before


async def test_who_keeps_every_cycle_gets_a_point_of_each(tmp_path: Path) -> None:
    pair = make_pair(tmp_path, source=silent_centre(), keep_every_cycle=True)
    await pair.source.start()
    await pair.target.start()
    try:
        await pair.associate()
        await pair.protect()
        await pair.more_cycles(2)
        assert pair.target.relation().point_count >= 3
    finally:
        await pair.source.driver.stop()
        await pair.target.driver.stop()
