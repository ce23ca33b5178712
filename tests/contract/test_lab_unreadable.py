"""A replica whose catalogue is damaged: its health says so, no test starts, it can be repaired or replaced."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from secondsite.agent.lab.engine.check import fsck
from secondsite.wire.arguments import StartTestFailover
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Code, Refusal
from support.engine_damage import flip
from support.lab import LabPair, running_pair
from support.lab_centres import WEB
from support.patience import until


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[LabPair]:
    """Its catalogue was damaged while the agent of the replica did not run."""
    async with running_pair(tmp_path) as found:
        await found.protect()
        await found.more_cycles(1)
        await found.source.do(Verb.SUSPEND, WEB)
        await found.target.driver.stop()
        flip(store_folder(found) / "catalog.log", 60)
        await found.target.start()
        yield found


def store_folder(pair: LabPair) -> Path:
    return pair.target.data / "replicas" / WEB


async def test_it_is_critical_and_no_test_starts(pair: LabPair) -> None:
    fact = pair.target.relation()
    assert (fact.health, fact.health_reasons) == ("Critical", ("replica-unreadable",))
    assert "catalog.log, line 1 is damaged" in fact.message
    with pytest.raises(Refusal, match=r"cannot be opened.*catalog.log") as refused:
        await pair.target.do(Verb.START_TEST_FAILOVER, WEB, StartTestFailover(owner="t"))
    assert refused.value.code is Code.STATE_CONFLICT


async def test_repaired_it_is_as_before(pair: LabPair) -> None:
    await pair.target.driver.stop()
    await asyncio.to_thread(fsck.repair, store_folder(pair))
    await pair.target.start()
    fact = pair.target.relation()
    assert (fact.health, fact.message) == ("Normal", "")
    assert await pair.target.driver.points(WEB)
    await pair.source.do(Verb.RESUME, WEB)
    await pair.more_cycles(1)


async def test_it_can_be_removed_and_replaced(pair: LabPair) -> None:
    await pair.disable()
    await pair.target.do(Verb.REMOVE_REPLICA, WEB)
    assert not store_folder(pair).exists()
    await pair.protect()
    assert pair.target.relation().health == "Normal"


async def test_kept_it_is_set_aside_for_a_new_one(pair: LabPair) -> None:
    await pair.disable()
    await pair.protect()
    (aside,) = (pair.target.data / "kept").iterdir()
    assert (aside / "catalog.log").exists()
    await until(lambda: pair.target.relation().point_count > 0)
