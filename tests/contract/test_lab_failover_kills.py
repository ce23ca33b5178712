"""A lab site dies in the middle of a failover or a change of roles: its next start, or the repeated verb, ends it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from secondsite.agent.lab.engine.roles import demotion, promotion
from secondsite.wire.arguments import Failover
from secondsite.wire.base import Message
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Refusal
from support.lab import LabSite
from support.lab_centres import WEB
from support.lab_deaths import Died, dying
from support.lab_failover import MovingPair, moving_pair
from support.patience import until


@pytest.fixture
async def moving(tmp_path: Path) -> AsyncIterator[MovingPair]:
    async with moving_pair(tmp_path) as found:
        yield found


class Course:
    """Performs verbs while a site dies after the n-th word; tells whether any died."""

    def __init__(self, moving: MovingPair, word: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.moving = moving
        self.word = word
        self.monkeypatch = monkeypatch
        self.deaths = 0

    async def do(
        self, verb: Verb, site: LabSite, arguments: Message | None = None, victim: LabSite | None = None
    ) -> None:
        """To its end, whatever dies meanwhile: the site that acts, or the other one."""
        died = victim or site
        with dying(died, self.word, self.monkeypatch) as death, contextlib.suppress(Died, Refusal):
            await site.do(verb, WEB, arguments)
        if death.happened:
            self.deaths += 1
            await died.restart()
            self.monkeypatch.undo()
            await site.do(verb, WEB, arguments, resumed=died is site)


async def _checked(moving: MovingPair, runs: LabSite, written: int) -> None:
    """It runs there with every write, and the other side follows."""
    assert await moving.sequence(runs) >= written
    now = await moving.writes_on(runs)
    verdict = await moving.live(runs)
    assert (verdict["identical"], verdict["faults"]) == (True, [])
    await moving.caught_up(runs, now)
    assert (await moving.newest_point(moving.other(runs)))["identical"]


async def _learned(primary: LabSite) -> None:
    """That the other side was failed over."""
    await until(lambda: primary.driver.state(WEB) == "Error")


async def test_a_planned_move_survives_a_death_after_any_word(
    moving: MovingPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    await moving.pair.protect()
    source, word, deaths = moving.east, 0, 1
    while deaths:
        word += 1
        course, target = Course(moving, word, monkeypatch), moving.other(source)
        await course.do(Verb.STOP_VM, source)
        written = await moving.sequence(source)
        await course.do(Verb.PREPARE_FAILOVER, source)
        await course.do(Verb.FAILOVER, target, Failover(planned=True))
        back = moving.reverse_arguments(target)
        await course.do(Verb.REVERSE_REPLICATION, target, back, victim=source if word % 2 else target)
        await course.do(Verb.START_VM, target)
        await _checked(moving, target, written)
        source, deaths = target, course.deaths
    assert word > 5


async def test_an_unplanned_failover_and_the_way_back_survive_deaths(
    moving: MovingPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    await moving.pair.protect()
    primary = moving.east
    for word in (1, 2, 4):
        course, target = Course(moving, word, monkeypatch), moving.other(primary)
        await course.do(Verb.FAILOVER, target, Failover())
        await course.do(Verb.START_VM, target)
        await course.do(Verb.CANCEL_FAILOVER, target)
        await course.do(Verb.FAILOVER, target, Failover())
        await course.do(Verb.COMMIT_FAILOVER, target)
        await course.do(Verb.START_VM, target)
        written = await moving.writes_on(target)
        await _learned(primary)
        await primary.do(Verb.STOP_VM, WEB)
        await course.do(Verb.DEMOTE_TO_REPLICA, primary, moving.demote_arguments(primary))
        await course.do(Verb.REVERSE_REPLICATION, target, moving.reverse_arguments(target))
        await course.do(Verb.START_INITIAL_REPLICATION, target)
        await until(lambda: moving.states() == ("Replicating", "Replicating"))
        await _checked(moving, target, written)
        primary = target


@pytest.mark.parametrize(
    ("module", "name"), [(promotion, "finish_promotion"), (demotion, "finish_demotion")], ids=["promotion", "demotion"]
)
async def test_row_29_an_engine_that_stops_half_way_is_finished_at_the_next_start(
    moving: MovingPair, monkeypatch: pytest.MonkeyPatch, module: Any, name: str
) -> None:
    await moving.pair.protect()
    written = await moving.prepare(moving.east)
    await moving.west.do(Verb.FAILOVER, WEB, Failover(planned=True))
    await moving.west.do(Verb.START_VM, WEB)

    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(module, name, broken)
    with pytest.raises(Refusal):
        await moving.west.do(Verb.REVERSE_REPLICATION, WEB, moving.reverse_arguments(moving.west))
    monkeypatch.undo()
    await moving.east.restart()
    await moving.west.restart()
    if moving.west.relation().mode == "Replica":
        await moving.west.do(Verb.REVERSE_REPLICATION, WEB, moving.reverse_arguments(moving.west))
    assert moving.states() == ("Replicating", "Replicating")
    assert moving.shown(moving.west) == ("Production", "Running")
    await _checked(moving, moving.west, written)


@pytest.mark.parametrize("word", [1, 2, 3, 4])
async def test_row_33_the_end_of_a_failed_over_replica_survives_a_death(
    moving: MovingPair, monkeypatch: pytest.MonkeyPatch, word: int
) -> None:
    await moving.pair.protect()
    await moving.unplanned(moving.west)
    written = await moving.writes_on(moving.west)
    course = Course(moving, word, monkeypatch)
    await course.do(Verb.DISABLE_REPLICATION, moving.west)
    assert course.deaths == 1
    assert moving.west.driver.state(WEB) == "Disabled"
    assert moving.shown(moving.west) == ("Production", "Running")
    assert await moving.writes_on(moving.west) > written
    assert (await moving.live(moving.west))["identical"]
