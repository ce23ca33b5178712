"""Stories that once went wrong, and a few that show what the world of two sites in memory can do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from secondsite.agent.lab.engine import CycleKind, EngineError, RecoveryPoint, retention
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Code, Refusal
from support.lab_world import checks, person
from support.lab_world.centres import BETTER
from support.lab_world.commands import message
from support.lab_world.journeys import JOURNEYS
from support.lab_world.side import Side
from support.lab_world.verbs import VerbChecks
from support.lab_world.world import START, World, quiet


@pytest.fixture(autouse=True)
def silent() -> Iterator[None]:
    with quiet():
        yield


def protected(capabilities: tuple[str, ...] = ()) -> World:
    world = World(capabilities)
    person.protect(world)
    return world


def ask(world: World, side: Side, verb: Verb) -> Refusal | EngineError | None:
    outcome = world.perform(side, verb, message(verb, side))
    assert not isinstance(outcome, BaseException) or isinstance(outcome, Refusal | EngineError)
    world.settle()
    return outcome


def test_a_replica_refuses_what_only_a_primary_can_be_asked() -> None:
    world = protected()
    for verb in (Verb.STOP_INITIAL_REPLICATION, Verb.START_INITIAL_REPLICATION):
        outcome = ask(world, world.west, verb)
        assert isinstance(outcome, Refusal)
        assert outcome.code is Code.STATE_CONFLICT


def test_settings_that_are_refused_change_nothing() -> None:
    world = protected()
    ask(world, world.west, Verb.FAILOVER)
    world.wait(7200)
    before = checks.documents(world)
    assert isinstance(ask(world, world.west, Verb.UPDATE_SETTINGS), Refusal)
    assert checks.documents(world) == before


def test_a_crash_of_the_host_leaves_the_reason_of_an_error() -> None:
    world = protected(BETTER)
    ask(world, world.west, Verb.SUSPEND)
    world.wait(900)
    assert world.east.state == "Error"
    world.east.crash()
    world.restart(world.east)
    assert world.east.half is not None
    assert "suspended" in world.east.half.failure


def test_a_lost_answer_to_a_commit_is_one_recovery_point() -> None:
    world = protected()
    assert world.east.guest is not None
    assert world.west.store is not None
    before = len(world.west.store.points())
    world.east.guest.write()
    # Of the messages of a cycle the last is the commit; its answer is lost.
    world.network.link.plan.extend(["ok", "ok", "ok", "ok", "answer lost"])
    world.wait(900)
    assert world.east.half is not None
    assert world.east.half.failures == 1
    world.wait(900)
    assert world.east.half.failures == 0
    assert len(world.west.store.points()) == before + 1


def test_a_primary_that_never_heard_of_its_import_can_only_be_disabled() -> None:
    world = protected()
    for where, verb, told in JOURNEYS["media"]:
        side = world.east if where == "source" else world.west
        assert world.perform(side, verb, told or message(verb, side)) is None
        world.network.link.up = verb is not Verb.EXPORT_INITIAL_REPLICATION
        world.settle()
    for verb in (Verb.FAILOVER, Verb.COMMIT_FAILOVER):
        assert ask(world, world.west, verb) is None
    world.east.crash()
    world.restart(world.east)
    ask(world, world.east, Verb.STOP_VM)
    assert isinstance(ask(world, world.east, Verb.DEMOTE_TO_REPLICA), Refusal)
    person.mend(world, lambda _: None)
    assert [side.half for side in world.sides] == [None, None]


def test_points_that_stand_for_later_times_are_no_more_than_the_retention_asks_for() -> None:
    hour = timedelta(hours=1)
    made = [START + (number + 0.2) * hour for number in range(7)]
    # Nothing changed for most of an hour after each but the last.
    stood = [*(time + 0.9 * hour for time in made[:-1]), made[-1]]
    points = [
        RecoveryPoint(f"p{number}", CycleKind.Delta, 1, until, until, 0, taken_time=time)
        for number, (time, until) in enumerate(zip(made, stood, strict=True))
    ]
    points.append(RecoveryPoint("newest", CycleKind.Delta, 1, START + 6.9 * hour, START + 6.9 * hour, 0))
    gone = retention(points, START + 6.9 * hour, 3600, 4 * 3600, ())
    assert len(points) - len(gone) <= 4 + 1


@pytest.mark.parametrize("name", JOURNEYS)
@pytest.mark.parametrize("capabilities", [(), BETTER], ids=["hyper-v", "better"])
def test_every_way_leads_on_for_whoever_is_killed_on_it(name: str, capabilities: tuple[str, ...]) -> None:
    for acts in range(0, 60, 3):
        world = protected(capabilities)
        source, target = world.east, world.west
        for where, verb, told in JOURNEYS[name]:
            side = source if where == "source" else target
            side.life.fuse = acts
            world.perform(side, verb, told or message(verb, side))
            for each in world.sides:
                each.life.fuse = None
                if not each.up:
                    world.restart(each)
            world.wait(900)
        person.mend(world, lambda _: None)


def test_refusals_along_the_ways_are_clean() -> None:
    world = protected()
    verbs = VerbChecks(world, checks.Ledger())
    for verb in Verb:
        if verb not in (Verb.CHECK_TEST_VM, Verb.REFRESH_INVENTORY, Verb.DISABLE_REPLICATION):
            for side in world.sides:
                verbs.perform(side, verb)
                world.settle()


def test_a_fault_of_a_vm_that_is_gone_can_be_switched_off() -> None:
    world = protected()
    world.west.fault("DuplicateNames", on=True)
    for side in world.sides:
        ask(world, side, Verb.DISABLE_REPLICATION)
    assert ask(world, world.west, Verb.REMOVE_REPLICA) is None
    assert len(world.west.site.estate.faults.all()) == 1
    world.west.fault("DuplicateNames", on=False)
    assert world.west.site.estate.faults.all() == []
