"""A replica whose files are damaged, or whose disk is full: said by the facts, mended or waited for, never hidden."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from secondsite.agent.lab.engine import TokenBucket
from secondsite.agent.lab.machinery import Machinery
from secondsite.agent.lab.replica import ReplicaStore
from secondsite.agent.lab.scrubber import Scrubber
from secondsite.wire.arguments import StartTestFailover
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Refusal
from support.engine_damage import flip
from support.engine_pair import BLOCK
from support.lab import LabPair, running_pair
from support.lab_centres import WEB
from support.patience import until


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[LabPair]:
    async with running_pair(tmp_path) as found:
        await found.protect()
        yield found


def replica(pair: LabPair) -> ReplicaStore:
    return pair.target.driver._at.estate.replicas.open(WEB)


def break_initial_content(pair: LabPair) -> None:
    """Change a byte of a block that the guest never writes again, wherever the replica keeps it."""
    store = replica(pair).store
    (disk, size), head = next(iter(store.disks.items())), store.head or ""
    blocks = (store.read_point(head, disk, offset, BLOCK) for offset in range(size - BLOCK, 0, -BLOCK))
    content = next(block for block in blocks if any(block))
    files = [path for path in (pair.target.data / "replicas" / WEB / "disks").rglob("*") if path.is_file()]
    path, offset = next((path, at) for path in files if (at := path.read_bytes().find(content)) >= 0)
    flip(path, offset + 100)


async def scrub(pair: LabPair) -> None:
    await asyncio.to_thread(replica(pair).scrub, threading.Event(), TokenBucket())


async def test_damage_is_told_stops_tests_and_goes_when_the_source_sends_the_block_again(pair: LabPair) -> None:
    await pair.source.do(Verb.SUSPEND, WEB)
    await asyncio.to_thread(break_initial_content, pair)
    await scrub(pair)
    fact = pair.target.relation()
    assert (fact.health, fact.health_reasons[0]) == ("Critical", "newest-point-damaged")
    assert "1 damaged blocks of 64 KiB" in fact.message
    assert all(point.damaged for point in await pair.target.driver.points(WEB))
    with pytest.raises(Refusal, match="is damaged") as refused:
        await pair.target.do(Verb.START_TEST_FAILOVER, WEB, StartTestFailover(owner="t"))
    assert "No point is whole" in refused.value.remedy
    assert pair.target.relation().test_vm is None
    await pair.source.do(Verb.RESUME, WEB)
    await until(lambda: pair.target.relation().health == "Normal")
    assert not any(point.damaged for point in await pair.target.driver.points(WEB))
    await pair.target.do(Verb.START_TEST_FAILOVER, WEB, StartTestFailover(owner="t"))
    assert all(verdict["identical"] for verdict in await pair.replay())


async def test_the_scrubber_finds_damage_that_nobody_reads(pair: LabPair) -> None:
    await pair.source.do(Verb.SUSPEND, WEB)
    await asyncio.to_thread(break_initial_content, pair)
    clock = dataclasses.replace(pair.target.driver._at.estate.clock, hurry=1e6)
    scrubber = Scrubber(lambda: [replica(pair)], clock, Machinery().thread)
    scrubber.start()
    try:
        await until(lambda: pair.target.relation().health_reasons == ("newest-point-damaged",))
    finally:
        await asyncio.to_thread(scrubber.stop)


async def test_damage_survives_a_restart_and_names_a_point_that_is_whole(pair: LabPair) -> None:
    await pair.more_cycles(1)
    await pair.source.do(Verb.SUSPEND, WEB)
    head = replica(pair).store.head
    path = next((pair.target.data / "replicas" / WEB / "disks").rglob(f"{head}.lay"))
    await asyncio.to_thread(flip, path, 5000)
    await scrub(pair)
    await pair.target.restart()
    points = await pair.target.driver.points(WEB)
    assert [point.damaged for point in points if point.id == head] == [True]
    whole = [point for point in points if not point.damaged]
    assert pair.target.relation().newest_point == whole[-1]
    with pytest.raises(Refusal) as refused:
        await pair.target.do(Verb.START_TEST_FAILOVER, WEB, StartTestFailover(owner="t"))
    assert whole[-1].id in refused.value.remedy
    wish = StartTestFailover(owner="t", recovery_point="Named", name=whole[-1].id)
    await pair.target.do(Verb.START_TEST_FAILOVER, WEB, wish)


async def test_a_full_disk_is_told_at_both_ends_and_passes(pair: LabPair) -> None:
    points = {point.id for point in await pair.target.driver.points(WEB)}
    space = replica(pair).store._space
    space._reserve = 1 << 60
    await until(lambda: "out-of-space" in pair.target.relation().health_reasons)
    fact = pair.target.relation()
    assert fact.health == "Critical"
    assert "are kept in reserve" in fact.message
    await until(lambda: "cannot-deliver" in pair.source.relation().health_reasons)
    assert "507 InsufficientSpace" in pair.source.relation().message
    assert pair.states() == ("Replicating", "Replicating")
    assert points <= {point.id for point in await pair.target.driver.points(WEB)}
    space._reserve = 0
    await until(lambda: pair.target.relation().health == "Normal")
    await pair.more_cycles(1)
    await until(lambda: pair.source.relation().health == "Normal")
