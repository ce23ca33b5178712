"""SIGKILL of either lab site at random moments: nothing acknowledged is lost, points stay the replay of writes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from secondsite.wire.agent import NO_FENCE
from secondsite.wire.agent import Settings as SiteSettings
from secondsite.wire.arguments import Endpoint, StartTestFailover, StopTestFailover
from secondsite.wire.operations import Verb
from support.lab import ASSOCIATION, HURRY, SETTINGS, LabPair
from support.lab_centres import DB, large_source_centre, target_centre
from support.lab_process import KillableSite, Killer, eventually
from support.vault import Vault


class KillablePair(LabPair):
    source: KillableSite
    target: KillableSite

    async def associate(self) -> None:
        answer = await self.target.tell("associate", self.wish("Target"), id=ASSOCIATION)
        endpoint = Endpoint.model_validate(answer["data_endpoint"])
        wish = self.wish("Source").model_copy(update={"endpoint": endpoint})
        await self.source.tell("associate", wish, id=ASSOCIATION)

    async def points(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.target.ask(ask="truth", vmID=DB))["points"]
        return found

    async def faults(self) -> list[str]:
        """Of every point."""
        return [
            f"{point['id']}: {fault}"
            for point in await self.points()
            for fault in (await self.target.ask(ask="replay", vmID=DB, point=point["id"], disks=str(self.source.file)))[
                "faults"
            ]
        ]

    async def replicating(self) -> bool:
        return await self.source.half(DB) == await self.target.half(DB) == "Replicating"


@pytest.fixture
def hurry() -> float:
    return HURRY


@pytest.fixture
async def pair(tmp_path: Path, hurry: float) -> AsyncIterator[KillablePair]:
    vault = Vault()
    centre = large_source_centre()
    centre["vms"][1]["disks"][1] |= {"size": "32MiB", "data": "12MiB"}
    # A retry after a failed cycle comes after half a second.
    centre["knobs"] = {"retrySeconds": 30, "initialRetries": 1000}
    found = KillablePair(
        KillableSite.make("east", tmp_path, centre, vault, hurry),
        KillableSite.make("west", tmp_path, target_centre(), vault, hurry),
    )
    await found.source.start()
    await found.target.start()
    await found.associate()
    yield found
    await found.source.kill()
    await found.target.kill()


async def test_kills_during_initial_and_delta_replication(pair: KillablePair) -> None:
    limit = SiteSettings(fence=NO_FENCE, bandwidth_limit_bytes_per_second=6_000_000)
    await pair.source.tell("apply", limit)
    await pair.enable(DB, "db", disks=2)
    killer = Killer([pair.source, pair.target], seed=7)
    for _ in range(4):
        await killer.strike(1.0)
    await eventually(pair.replicating)
    seen = {point["id"] for point in await pair.points()}
    for _ in range(6):
        await killer.strike(0.6)
    await eventually(pair.replicating)
    count = len(await pair.points())

    async def two_more() -> bool:
        return len(await pair.points()) >= count + 2

    await eventually(two_more)
    assert seen <= {point["id"] for point in await pair.points()}
    assert await pair.faults() == []


@pytest.mark.parametrize("hurry", [1800])
async def test_kills_never_make_a_point_look_cleaner_than_it_is(pair: KillablePair) -> None:
    """A cycle begins every half second, and every fourth of them quiesces the guest."""
    hourly = SETTINGS.model_copy(update={"interval_seconds": 900, "app_consistent_interval_hours": 1})
    await pair.enable(DB, "db", disks=2, settings=hourly)
    await eventually(pair.replicating)
    killer = Killer([pair.source, pair.target], seed=11)
    for _ in range(8):
        await killer.strike(1.5)
    await eventually(pair.replicating)

    async def quiesced() -> list[dict[str, Any]]:
        return [point for point in await pair.points() if point["consistency"] == "ApplicationConsistent"]

    async def enough() -> bool:
        return len(await quiesced()) >= 3

    await eventually(enough)
    assert {point["journal"] for point in await quiesced()} == {"Clean"}
    assert await pair.faults() == []


async def test_an_initial_copy_goes_on_where_it_was(pair: KillablePair) -> None:
    limit = SiteSettings(fence=NO_FENCE, bandwidth_limit_bytes_per_second=4_000_000)
    await pair.source.tell("apply", limit)
    await pair.enable(DB, "db", disks=2)

    async def held() -> int:
        halves = (await pair.target.ask(ask="status"))["halves"]
        return int(halves[DB]["heldBytes"])

    async def enough() -> bool:
        return await held() >= 5 * 2**20

    await eventually(enough)
    for victim in (pair.target, pair.source):
        before = await held()
        await victim.kill()
        await victim.start()
        assert await pair.source.half(DB) == "InitialReplicationInProgress"
        assert await held() >= before

    async def more() -> bool:
        # What is held grows from where it was; a copy from the start would have thrown it away first.
        now = await held()
        assert now >= before
        return now > before

    await eventually(more)
    await eventually(pair.replicating)
    assert await pair.faults() == []


async def test_a_test_vm_outlives_a_kill_and_is_cleaned_up(pair: KillablePair) -> None:
    await pair.enable(DB, "db", disks=2)
    await eventually(pair.replicating)
    started = await pair.target.do(Verb.START_TEST_FAILOVER, DB, StartTestFailover(owner="t"))
    await pair.target.kill()
    await pair.target.start()
    assert await pair.target.do(Verb.START_TEST_FAILOVER, DB, StartTestFailover(owner="t")) == started
    await pair.target.do(Verb.STOP_TEST_FAILOVER, DB, StopTestFailover(owner="t"))
    await pair.target.kill()
    await pair.target.start()
    assert not list((pair.target.data / "replicas" / DB / "clones").iterdir())


async def test_guests_go_on_at_their_next_write(pair: KillablePair) -> None:
    before = (await pair.source.ask(ask="status"))["guests"][DB]["sequence"]
    await pair.source.kill()
    await pair.source.start()
    after = (await pair.source.ask(ask="truth", vmID=DB, sequence=before))["record"]
    assert after["sequence"] == before
