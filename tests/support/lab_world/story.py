"""Random schedules as stories: each rule does one thing to the world and says so in words."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import ClassVar

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from secondsite.agent.lab.events import Event
from secondsite.agent.lab.faults import Fault
from secondsite.agent.lab.table import TABLE
from secondsite.errors import SecondsiteError
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Refusal
from support.lab_world import checks, person
from support.lab_world.centres import BETTER
from support.lab_world.commands import message
from support.lab_world.journeys import JOURNEYS
from support.lab_world.side import Side
from support.lab_world.verbs import VerbChecks
from support.lab_world.world import World

SIDES = st.sampled_from(("east", "west"))
# A command hangs in the driver, above what is looked at here.
FAULTS = tuple(fault.value for fault in Fault if fault is not Fault.COMMAND_HANGS)
BUSY_HOURS = "hours in which the guest writes in every cycle"
SPANS = {"a moment": 1.0, "one cycle": 900.0, "an hour": 3600.0, "a day": 86400.0}
# CheckTestVM waits between its probes: the driver's, and changes nothing.
VERBS = tuple(verb for verb in Verb if verb not in (Verb.CHECK_TEST_VM, Verb.REFRESH_INVENTORY))
_EVENTS = {event.value: event for event in Event}


class Story(RuleBasedStateMachine):
    """Both halves, the link between them, their agents' lives, and whoever commands them."""

    capabilities: ClassVar[Sequence[str]] = ()
    converges: ClassVar[bool] = True
    first: ClassVar[str | None] = None
    """The way, or the fault and an hour of it, or hours of writes, that every story begins with; None: any way."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.capabilities)
        self.ledger = checks.Ledger()
        self.verbs = VerbChecks(self.world, self.ledger)

    def tell(self, line: str) -> None:
        """A line of the story, and what it led to."""
        self.world.settle()
        halves = " | ".join(checks.described(side.half) if side.up else "dead" for side in self.world.sides)
        note(f"{line}  [{halves}]")

    @initialize(protected=st.sampled_from((True, True, True, False)), first=st.sampled_from((None, *JOURNEYS)))
    def begin(self, protected: bool, first: str | None) -> None:
        if protected or self.first:
            person.protect(self.world)
        self.tell("a VM is protected" if protected else "nothing is replicated yet")
        first = self.first or first
        if first in JOURNEYS:
            self._go(first, len(JOURNEYS[first]), pause=bool(self.first), twice=False)
        elif first == BUSY_HOURS:
            for _ in range(32):
                self.guest_writes(1)
                self.world.wait(900)
            self.tell(first)
        elif first:
            for side in self.world.sides:
                self.tell(f"{first} is on at {side.name}: {_switched(side, first, on=True)}")
            self.world.wait(3600)

    @rule(count=st.integers(1, 4))
    def guest_writes(self, count: int) -> None:
        for side in self.world.living:
            for _ in range(count if side.guest else 0):
                side.guest.write()  # type: ignore[union-attr]  # asked for in the line above
        self.tell(f"the guest writes {count}")

    @rule(span=st.sampled_from(tuple(SPANS)))
    def time_passes(self, span: str) -> None:
        self.world.wait(SPANS[span])
        self.tell(f"{span} passes")

    @rule(name=SIDES, data=st.data(), twice=st.booleans())
    def sensible_verb(self, name: str, data: st.DataObject, twice: bool) -> None:
        side = self._side(name)
        if side.up:
            allowed = [verb for verb in VERBS if _listed(side, verb)]
            self._do(side, data.draw(st.sampled_from(allowed)), twice=twice)

    @rule(name=SIDES, verb=st.sampled_from(VERBS))
    def any_verb(self, name: str, verb: Verb) -> None:
        side = self._side(name)
        if side.up:
            self._do(side, verb, twice=False)

    @rule(name=st.sampled_from(tuple(JOURNEYS)), steps=st.integers(1, 7), pause=st.booleans(), twice=st.booleans())
    def journey(self, name: str, steps: int, pause: bool, twice: bool) -> None:
        self._go(name, steps, pause=pause, twice=twice)

    @rule(name=SIDES, verb=st.sampled_from(VERBS), acts=st.integers(0, 12))
    def killed_in_a_verb(self, name: str, verb: Verb, acts: int) -> None:
        side = self._side(name)
        if side.up:
            side.life.fuse = acts
            outcome = self.world.perform(side, verb, message(verb, side))
            side.life.fuse = None
            self.verbs.noted(verb, outcome)
            self.tell(f"{name} is told {verb.value}, and is killed after {acts} durable acts: {_said(outcome)}")

    @rule(name=SIDES, acts=st.integers(0, 9))
    def killed_at_work(self, name: str, acts: int) -> None:
        side = self._side(name)
        if side.up:
            side.life.fuse = acts
            self.world.wait(900)
            side.kill()
            self.tell(f"agent {name} is killed after {acts} durable acts of the next cycle")

    @rule(name=SIDES)
    def starts(self, name: str) -> None:
        side = self._side(name)
        if not side.up:
            outcome = self.world.restart(side)
            self.tell(f"agent {name} starts again: {_said(outcome)}")

    @rule(fates=st.lists(st.sampled_from(("ok", "ok", "lost", "answer lost")), min_size=1, max_size=5))
    def link_loses(self, fates: list[str]) -> None:
        self.world.network.link.plan.extend(fates)  # type: ignore[arg-type]  # hypothesis widens literals
        self.tell(f"the link will do with its next messages: {', '.join(fates)}")

    @rule(up=st.booleans())
    def link(self, up: bool) -> None:
        self.world.network.link.up = up
        self.tell(f"the link goes {'up' if up else 'down'}")

    @rule(seconds=st.sampled_from((0, 60, 400)))
    def link_slow(self, seconds: int) -> None:
        self.world.network.link.seconds_per_call = seconds
        self.tell(f"the link takes {seconds} s for a message")

    @rule(count=st.integers(1, 3))
    def writes_under_way(self, count: int) -> None:
        for side in self.world.living:
            if side.guest:
                self.world.network.link.during.extend([side.guest.write] * count)
        self.tell(f"the guest will write {count} while the next cycle is sent")

    @rule(name=SIDES, full=st.booleans())
    def disk_full(self, name: str, full: bool) -> None:
        self._side(name).files.full = full
        self.tell(f"the storage of {name} is {'full' if full else 'no longer full'}")

    @rule(name=SIDES, fault=st.sampled_from(FAULTS), on=st.booleans())
    def fault(self, name: str, fault: str, on: bool) -> None:
        side = self._side(name)
        # Whoever asks for another meanwhile waits for its end.
        if side.up and (not side.settling or (fault == Fault.VMMS_RESTART and not on)):
            self.ledger.skewed |= fault == "ClockSkew"
            self.tell(f"{fault} is {'on' if on else 'off'} at {name}: {_switched(side, fault, on=on)}")

    @rule(name=SIDES)
    def host_crashes(self, name: str) -> None:
        side = self._side(name)
        side.crash()
        outcome = self.world.restart(side)
        self.tell(f"the host of {name} crashes and comes back: {_said(outcome)}")

    @invariant()
    def all_holds(self) -> None:
        checks.every(self.world, self.ledger, clock_stood=self.world.elapsed == self.world.pulsed)

    def teardown(self) -> None:
        # A story that has failed is over.
        if self.converges and sys.exc_info()[0] is None:
            person.mend(self.world, note)

    def _go(self, name: str, steps: int, *, pause: bool, twice: bool) -> None:
        source, target = self.world.source, self.world.other(self.world.source)
        for where, verb, told in JOURNEYS[name][:steps]:
            side = source if where == "source" else target
            if side.up:
                outcome = self.verbs.perform(side, verb, told, twice=twice)
                self.tell(f"{name}: {side.name} is told {verb.value}: {_said(outcome)}")
                self.all_holds()
            if pause:
                self.world.wait(900)

    def _side(self, name: str) -> Side:
        return self.world.east if name == "east" else self.world.west

    def _do(self, side: Side, verb: Verb, *, twice: bool) -> None:
        outcome = self.verbs.perform(side, verb, twice=twice)
        self.tell(f"{side.name} is told {verb.value}{', and again' if twice else ''}: {_said(outcome)}")


class BetterStory(Story):
    """The same where both sites can do what Hyper-V cannot."""

    capabilities = BETTER


def _switched(side: Side, fault: str, *, on: bool) -> str:
    try:
        side.fault(fault, on=on)
    except (SecondsiteError, Refusal) as error:
        return f"refused: {error}"
    return "done"


def _listed(side: Side, verb: Verb) -> bool:
    half, event = side.half, _EVENTS.get(verb.value)
    place = (half.side, half.state) if half else ("None", "Disabled")
    return any(row.event is event and row.side == place[0] and place[1] in row.before for row in TABLE)


def _said(outcome: object) -> str:
    if isinstance(outcome, Refusal):
        return f"refused, {outcome.code.value}: {outcome.detail}"
    return "done" if outcome is None else f"{type(outcome).__name__}: {outcome}"
