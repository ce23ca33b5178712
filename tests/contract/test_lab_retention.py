"""When recovery points expire: by what the primary still says, never because it is silent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from secondsite.agent.lab.replica import ReplicaStore
from secondsite.wire.arguments import StartTestFailover, StopTestFailover
from secondsite.wire.operations import Verb
from support.lab import SETTINGS, LabPair, running_pair
from support.lab_centres import WEB
from support.patience import until

# A recovery point in 0.5 s, kept for 2 s.
HURRY = 7200.0
SHORT = SETTINGS.model_copy(update={"retention_hours": 4})
KEPT = timedelta(seconds=2)


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[LabPair]:
    async with running_pair(tmp_path, hurry=HURRY) as found:
        await found.protect(settings=SHORT)
        await until(lambda: len(replica(found).points()) > 2)
        yield found


def replica(pair: LabPair) -> ReplicaStore:
    return pair.target.driver._at.estate.replicas.open(WEB)


async def test_a_silent_primary_costs_no_point_even_when_a_test_is_cleaned_up(pair: LabPair) -> None:
    await pair.source.driver.stop()
    store = replica(pair)
    points = [point.id for point in store.points()]
    newest = store.points()[-1].freeze_time
    await until(lambda: datetime.now(UTC) - newest > KEPT)
    await pair.target.do(Verb.START_TEST_FAILOVER, WEB, StartTestFailover(owner="t"))
    await pair.target.do(Verb.STOP_TEST_FAILOVER, WEB, StopTestFailover(owner="t"))
    await until(lambda: not store._untidy)
    store.close()
    await pair.target.restart()
    assert [point.id for point in replica(pair).points()][-2:] == points[-2:]


async def test_points_expire_while_every_cycle_is_refused_for_want_of_space(pair: LabPair) -> None:
    replica(pair).store._space._reserve = 1 << 60
    await until(lambda: bool(replica(pair).out_of_space))
    await until(lambda: len(replica(pair).points()) == 1)
    replica(pair).store._space._reserve = 0
    await until(lambda: len(replica(pair).points()) > 1)
