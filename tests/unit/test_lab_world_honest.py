"""The engines in memory do what the real one does: the same short schedules, verb by verb, over both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from secondsite.wire.arguments import Nothing, StartTestFailover, StopTestFailover
from secondsite.wire.base import Message
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Refusal
from support.lab import LabPair, running_pair
from support.lab_centres import WEB, source_centre
from support.lab_world import person
from support.lab_world.commands import message
from support.lab_world.world import World, quiet
from support.patience import until

Step = tuple[str, str]
"""Who (source, target, guest), and what: a verb, or how many writes."""

# What depends on how long things took, which is the one thing that differs.
_TIMED = frozenset({"behind-over-one-hour", "missed-over-20-percent", "latency-over-5-minutes", "cannot-deliver"})

SCHEDULES: dict[str, Sequence[Step]] = {
    "suspensions": (
        ("guest", "3"),
        ("source", "Suspend"),
        ("guest", "2"),
        ("target", "StopInitialReplication"),
        ("source", "Resume"),
        ("target", "Suspend"),
        ("guest", "1"),
        ("source", "PrepareFailover"),
        ("target", "Resume"),
        ("source", "Resume"),
    ),
    "a rehearsal and a resynchronization": (
        ("guest", "2"),
        ("target", "StartTestFailover"),
        ("guest", "2"),
        ("target", "StopTestFailover"),
        ("source", "crash"),
        ("target", "Resume"),
        ("source", "Resynchronize"),
        ("guest", "1"),
    ),
    "a failover that is called off": (
        ("guest", "2"),
        ("target", "Failover"),
        ("target", "CancelFailover"),
        ("source", "Resume"),
        ("guest", "1"),
    ),
}


@pytest.mark.parametrize("name", SCHEDULES)
async def test_both_engines_tell_the_same_story(name: str, tmp_path: Path) -> None:
    centre = source_centre()
    centre["vms"][0]["guest"]["writesPerSecond"] = 0
    with quiet():
        world = World()
        person.protect(world, writes=0)
        async with running_pair(tmp_path, source=centre) as pair:
            await pair.protect(disks=1)
            for who, what in SCHEDULES[name]:
                refused = _in_memory(world, who, what), await _really(pair, who, what)
                assert refused[0] == refused[1], f"{who} {what}: refused in memory, really: {refused}"
                wanted = tuple(side.state for side in world.sides)
                await until(lambda wanted=wanted: pair.states() == wanted)  # type: ignore[misc]  # bound at once
                await until(lambda: _remembered(world) == _newest(pair))
                assert _reasons(world.east.relation, world.west.relation) == _reasons(
                    pair.source.relation(), pair.target.relation()
                )


def _in_memory(world: World, who: str, what: str) -> bool:
    outcome: object = None
    side = world.west if who == "target" else world.east
    if who == "guest" and world.east.guest:
        for _ in range(int(what)):
            world.east.guest.write()
    elif what == "crash":
        primary = world.east.site.estate.primaries[side.command(Verb.SUSPEND).vm_id]
        with primary.quiet():
            primary.distrust()
    else:
        outcome = world.perform(side, Verb(what), message(Verb(what), side))
    world.wait(900)
    return isinstance(outcome, Refusal)


async def _really(pair: LabPair, who: str, what: str) -> bool:
    site = pair.target if who == "target" else pair.source
    if who == "guest":
        for _ in range(int(what)):
            pair.source.driver._at.estate.guests[WEB].write_one()
    elif what == "crash":
        await pair.source.ask(ask="crash", vmID=WEB)
    else:
        try:
            await site.do(Verb(what), WEB, _told(Verb(what)))
        except Refusal:
            return True
    return False


def _told(verb: Verb) -> Message:
    made: dict[Verb, Message] = {
        Verb.START_TEST_FAILOVER: StartTestFailover(owner="drill-1"),
        Verb.STOP_TEST_FAILOVER: StopTestFailover(owner="drill-1"),
    }
    plain = {Verb.FAILOVER, Verb.RESYNCHRONIZE}
    east = World().east
    return made.get(verb) or (message(verb, east) if verb in plain else Nothing())


def _remembered(world: World) -> int:
    """How many writes the newest point in memory holds."""
    store = world.west.store
    return store.held.points[-1].image.get(("SCSI-0-0", 0), 0) if store and store.held.points else 0


def _newest(pair: LabPair) -> int:
    """The same of the real replica."""
    reply = pair.target.driver._at.socket._answer({"ask": "truth", "vmID": WEB})
    return int(reply["points"][-1]["sequence"])


def _reasons(*facts: Any) -> list[set[str]]:
    return [{str(reason) for reason in fact.health_reasons} - _TIMED for fact in facts]
