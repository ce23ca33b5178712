"""Random schedules over two real agents: verbs, SIGKILL and a link that goes down; what holds in memory holds here."""

from __future__ import annotations

import json
import random
import secrets
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from secondsite.wire.arguments import Endpoint, Nothing, StartTestFailover, StopTestFailover
from secondsite.wire.base import Message
from secondsite.wire.operations import Verb
from support.lab import ASSOCIATION, LabPair
from support.lab_centres import WEB, source_centre, target_centre
from support.lab_process import KillableSite, eventually
from support.lab_world.checks import ALLOWED
from support.vault import Vault

STEPS = 18
_REFUSED = "refused"
_TEST = StartTestFailover(owner="drill")

# Who is told what; refused ones are part of it.
VERBS: list[tuple[str, Verb, Message]] = [
    *[(who, verb, Nothing()) for who in ("source", "target") for verb in (Verb.SUSPEND, Verb.RESUME)],
    ("source", Verb.RESET_STATISTICS, Nothing()),
    ("target", Verb.START_TEST_FAILOVER, _TEST),
    ("target", Verb.STOP_TEST_FAILOVER, StopTestFailover(owner="drill")),
    ("target", Verb.STOP_INITIAL_REPLICATION, Nothing()),
    ("source", Verb.PREPARE_FAILOVER, Nothing()),
]


class Asked(KillableSite):
    """A refusal is an answer."""

    async def tell(self, call: str, arguments: Message, **more: Any) -> dict[str, Any]:
        assert self.process is not None
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        request = {"call": call, "arguments": arguments.model_dump(mode="json", by_alias=True), **more}
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        answer: dict[str, Any] = json.loads(await self.process.stdout.readline())
        return answer

    async def seen(self) -> dict[str, Any]:
        """The half as the site reports it."""
        found: dict[str, Any] = (await self.ask(ask="status"))["halves"].get(WEB, {})
        return found


class AskedPair(LabPair):
    source: Asked
    target: Asked

    async def associate(self) -> None:
        answer = await self.target.tell("associate", self.wish("Target"), id=ASSOCIATION)
        endpoint = Endpoint.model_validate(answer["data_endpoint"])
        wish = self.wish("Source").model_copy(update={"endpoint": endpoint})
        await self.source.tell("associate", wish, id=ASSOCIATION)

    async def replicating(self) -> bool:
        return await self.source.half(WEB) == await self.target.half(WEB) == "Replicating"


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[AskedPair]:
    vault, centre = Vault(), source_centre()
    centre["knobs"] = {"retrySeconds": 30, "initialRetries": 1000}
    found = AskedPair(
        Asked.make("east", tmp_path, centre, vault),
        Asked.make("west", tmp_path, target_centre(), vault),
    )
    await found.source.start()
    await found.target.start()
    await found.associate()
    await found.enable()
    await eventually(found.replicating)
    yield found
    await found.source.kill()
    await found.target.kill()


async def test_random_schedules_over_real_agents_keep_the_rules_and_end_well(pair: AskedPair) -> None:
    seed = secrets.randbits(32)
    print(f"schedule of seed {seed}")
    chance = random.Random(seed)
    for number in range(STEPS):
        line = await _step(pair, chance, may_kill=number % 6 == 5)
        before, after = line
        print(f"{before}: {after}")
        await _points_are_replays(pair)
    await _heal(pair)


async def _step(pair: AskedPair, chance: random.Random, *, may_kill: bool) -> tuple[str, object]:
    if may_kill:
        site = chance.choice([pair.source, pair.target])
        await site.kill()
        await site.start()
        return f"agent {site.name} is killed and starts again", await site.half(WEB)
    if chance.random() < 0.25:
        site, off = chance.choice([pair.source, pair.target]), chance.random() < 0.5
        await site.ask(ask="fault", fault="LinkDown", off=off)
        return f"LinkDown at {site.name}", "off" if off else "on"
    who, verb, told = chance.choice(VERBS)
    site = pair.source if who == "source" else pair.target
    side, before = ("Primary" if who == "source" else "Replica"), await site.half(WEB)
    answer = await site.tell(verb.value, told, vmID=WEB)
    after = await site.half(WEB)
    # A cycle may come between the verb and the look at it: one row more.
    possible = {end for (start, end) in ALLOWED if start == (side, before)}
    possible |= {end for (start, end) in ALLOWED if start in possible}
    assert after == before or (side, after) in possible, f"{site.name}: {verb.value} led from {before} to {after}"
    return f"{site.name} is told {verb.value}", answer.get(_REFUSED, after)


async def _points_are_replays(pair: AskedPair) -> None:
    """The newest point is a replay of writes, and hides none: the first that it lacks is not older than it says."""
    points = (await pair.target.ask(ask="truth", vmID=WEB))["points"]
    newest = points[-1]
    replay = await pair.target.ask(ask="replay", vmID=WEB, point=newest["id"], disks=str(pair.source.file))
    assert replay["identical"], replay
    truth = await pair.source.ask(ask="truth", vmID=WEB, sequence=newest["sequence"] + 1)
    if truth.get("record"):
        missed, said = datetime.fromisoformat(truth["record"]["time"]), datetime.fromisoformat(newest["sourceTime"])
        assert said <= missed, f"point {newest} hides a write of {missed}"


async def _heal(pair: AskedPair) -> None:
    """Faults clear, a person resumes what is suspended or in error and cleans the test up: all is well."""
    for site in (pair.source, pair.target):
        await site.ask(ask="fault", fault="LinkDown", off=True)
    await pair.target.tell(Verb.STOP_TEST_FAILOVER.value, StopTestFailover(owner="drill"), vmID=WEB)
    goal = (await pair.source.ask(ask="truth", vmID=WEB))["newest"]["sequence"]

    async def well() -> bool:
        for site in (pair.target, pair.source):
            if await site.half(WEB) in ("Suspended", "Error"):
                await site.tell(Verb.RESUME.value, Nothing(), vmID=WEB)
            await site.tell(Verb.RESET_STATISTICS.value, Nothing(), vmID=WEB)
        seen = [await site.seen() for site in (pair.source, pair.target)]
        points = (await pair.target.ask(ask="truth", vmID=WEB))["points"]
        healthy = all(half["state"] == "Replicating" and half["health"] == "Normal" for half in seen)
        return healthy and bool(points[-1]["sequence"] >= goal)

    await eventually(well, 15)
