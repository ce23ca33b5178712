"""One turn: what is done when, what is held back, and what a failure becomes. Planner and site are made up."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from secondsite.api.kind import Kind, Object
from secondsite.api.protectedvm import PROTECTED_VM
from secondsite.controller.catalogue import Catalogue, Entry
from secondsite.controller.kinds import Row
from secondsite.controller.kube import ApiError, ApiUnreachable
from secondsite.controller.limits import Limiter
from secondsite.controller.machines import Machines
from secondsite.controller.observe import Observer
from secondsite.controller.outcomes import judge
from secondsite.controller.pending import PATIENCE, Grip, Pending
from secondsite.controller.ports import Key, Receipt
from secondsite.controller.queue import WorkQueue
from secondsite.controller.slots import Line
from secondsite.controller.turn import Clocks, Turns
from secondsite.errors import NotYet, SiteRefused, SiteUnreachable, SpecRefused, Superseded
from secondsite.plan.actions import (
    Action,
    AddFinalizer,
    Command,
    Dissociate,
    Finding,
    Limit,
    Plan,
    Report,
    Slot,
    Trouble,
)
from secondsite.plan.observed import Contact, SiteView
from secondsite.wire.arguments import Nothing
from secondsite.wire.operations import Verb

KEY = Key("ProtectedVM", "recovery", "web")
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
BODY = {
    "metadata": {
        "name": "web",
        "namespace": "recovery",
        "uid": "u1",
        "resourceVersion": "1",
        "generation": 1,
        "creationTimestamp": "2026-11-21T10:00:00Z",
    },
    "spec": {"vm": {"siteRef": {"name": "newyork"}, "cloud": "gold", "name": "web"}, "policyRef": {"name": "gold"}},
}


def command(intent: str = "one", *, site: str = "newyork", slot: Slot | None = None) -> Command:
    return Command(site, Verb.SUSPEND, "vm-1", intent, Nothing(), slot=slot)


SEEN = Receipt("newyork", "i", 7)


class Sites:
    """Mirrors that have told nothing yet but how far they have come."""

    def __init__(self) -> None:
        self.revision = 0

    def view(self, namespace: str, name: str) -> SiteView:
        return SiteView(name=name, contact=Contact())

    def reached(self, namespace: str, receipt: Receipt) -> bool:
        return self.revision >= receipt.revision


@dataclass
class Bench:
    """A turn with everything around it in the test's hand."""

    actions: tuple[Action, ...] = ()
    due: datetime | None = None
    leading: bool = True
    answer: Callable[[Action], Receipt | None] = lambda _action: None
    now: float = 1000.0
    done: list[Action] = field(default_factory=list)
    reports: list[tuple[Report, bool]] = field(default_factory=list)
    troubles: tuple[Trouble, ...] = ()
    sites: Any = field(default_factory=Sites)

    def __post_init__(self) -> None:
        self.catalogue = Catalogue()
        self.catalogue.take(PROTECTED_VM, BODY)
        self.queue = WorkQueue(chance=random.Random(1))
        self.pending = Pending(self.sites.reached)
        self.limiter = Limiter(self.sites)
        row = Row(PROTECTED_VM, lambda _observer, obj, _now: obj, self.plan, self.judge)
        self.turns = Turns(
            table={"ProtectedVM": row},
            catalogue=self.catalogue,
            observer=Observer(self.catalogue, self.sites, self.sites, Machines(), self.sites),
            queue=self.queue,
            pending=self.pending,
            limiter=self.limiter,
            performer=self,
            reporter=self,
            clocks=Clocks(lambda: NOON + timedelta(seconds=self.now - 1000), lambda: self.now),
            may_act=lambda _key, _action: self.leading,
        )

    def plan(self, _world: object) -> Plan:
        return Plan(self.actions, self.due)

    def judge(self, _world: object, _plan: Plan, troubles: tuple[Trouble, ...]) -> Report:
        self.troubles = troubles
        return Report((Finding("Ready", "False" if troubles else "True", "Told"),))

    async def perform(self, kind: Kind[Any, Any], key: Key, action: Action, obj: Object[Any]) -> Receipt | None:
        self.done.append(action)
        return self.answer(action)

    def submit(self, entry: Entry, report: Report, *, conditions_only: bool = False) -> None:
        self.reports.append((report, conditions_only))

    async def turn(self, after: float = 0.0) -> list[Action]:
        """One turn, some seconds later; returns what was done in it."""
        self.now += after
        before = len(self.done)
        self.queue.add(KEY)
        assert self.queue.take() == KEY
        work = self.turns.look(KEY)
        if work is not None:
            await self.turns.act(work)
        self.queue.done(KEY)
        return self.done[before:]

    def fails(self, error: Exception) -> None:
        def answer(_action: Action) -> Receipt | None:
            raise error

        self.answer = answer

    @property
    def next_turn(self) -> float | None:
        """In how many seconds the key is due."""
        due = self.queue.wake_due(self.now - 1)
        return None if due is None else due - self.now


async def test_without_anything_to_do_a_turn_only_reports() -> None:
    bench = Bench(due=NOON + timedelta(seconds=90))
    assert await bench.turn() == []
    assert [report.findings[0].status for report, _ in bench.reports] == ["True"]
    assert bench.next_turn == pytest.approx(90)


async def test_a_due_time_that_has_passed_makes_no_busy_loop() -> None:
    bench = Bench(due=NOON - timedelta(hours=1))
    await bench.turn()
    assert bench.next_turn == pytest.approx(0.2)


async def test_nothing_is_done_without_the_lease_but_reporting_goes_on() -> None:
    bench = Bench((command(),), leading=False)
    assert await bench.turn() == []
    assert len(bench.reports) == 1


async def test_the_lease_is_looked_at_before_every_action() -> None:
    bench = Bench((command("one"), command("two")))

    def lose(_action: Action) -> Receipt | None:
        bench.leading = False
        return None

    bench.answer = lose
    assert await bench.turn() == [command("one")]


async def test_after_a_command_nobody_plans_until_the_mirror_shows_it() -> None:
    bench = Bench((command(),), answer=lambda _: SEEN)
    await bench.turn()
    assert await bench.turn(1) == []
    assert not bench.pending.settle(bench.now)
    bench.sites.revision = 7
    assert bench.pending.settle(bench.now) == {KEY}
    assert await bench.turn() == [command()]


async def test_a_mirror_that_never_shows_it_does_not_block_for_ever() -> None:
    bench = Bench((command(),), answer=lambda _: SEEN)
    await bench.turn()
    assert bench.pending.settle(bench.now + PATIENCE + 1) == {KEY}


async def test_commands_for_one_vm_wait_for_each_other_whoever_sends_them() -> None:
    bench = Bench((command(),))
    other = Key("TestFailover", "recovery", "drill")
    machine = ("recovery", "vm-1")
    assert bench.pending.grip(other, machine)
    assert await bench.turn() == []
    assert bench.troubles[0].kind == "NotYet"
    assert bench.pending.let_go(Grip(other, machine)) == {KEY}
    assert await bench.turn(1) == [command()]


async def test_what_failed_is_held_back_longer_each_time_and_reported_meanwhile() -> None:
    bench = Bench((command(),))
    bench.fails(SiteRefused("No", "Do this", code="Internal"))
    assert await bench.turn() == [command()]
    assert await bench.turn(0.5) == [], "held back"
    assert [(one.kind, one.code, one.remedy) for one in bench.troubles] == [("SiteRefused", "Internal", "Do this")]
    assert await bench.turn(1) == [command()]
    assert await bench.turn(1.5) == [], "held back for twice as long"
    assert bench.troubles[0].since == NOON, "since the first time"
    bench.answer = lambda _: None
    assert await bench.turn(1) == [command()]
    assert bench.troubles == ()


async def test_news_from_where_it_failed_lifts_the_delay() -> None:
    bench = Bench((command(),))
    bench.fails(SiteUnreachable("Nobody there"))
    await bench.turn()
    bench.turns.forgive(KEY)
    assert await bench.turn() == [command()]


async def test_what_is_planned_no_more_troubles_no_more() -> None:
    bench = Bench((command("one"),))
    bench.fails(SiteRefused("No", code="Internal"))
    await bench.turn()
    bench.actions = ()
    await bench.turn(0.1)
    assert bench.troubles == ()


async def test_a_silent_site_is_asked_once_a_turn_and_the_others_are_served() -> None:
    bench = Bench((Dissociate("newyork", "a"), Dissociate("newyork", "b"), Dissociate("chicago", "c")))

    def answer(action: Action) -> Receipt | None:
        if isinstance(action, Dissociate) and action.site == "newyork":
            raise SiteUnreachable("Nobody there")
        return None

    bench.answer = answer
    assert await bench.turn() == [Dissociate("newyork", "a"), Dissociate("chicago", "c")]


async def test_what_no_feed_tells_of_is_looked_at_again_soon() -> None:
    bench = Bench((AddFinalizer("secondsite.dev/release"),))
    await bench.turn()
    assert bench.next_turn == pytest.approx(0.5)


async def test_who_has_no_place_waits_in_line_with_its_number() -> None:
    slot = Slot(Limit.INITIAL_REPLICATIONS, ("newyork", "chicago"))
    bench = Bench((command(slot=slot),))
    line_of = bench.limiter.slots
    for name in ("a", "b", "c"):
        other = Key("ProtectedVM", "recovery", name)
        born = NOON - timedelta(days=9)
        waiting = Line.of("recovery", slot)
        line_of.ask(waiting, other, name, priority=50, created=born, uid=name, capacity=3)
    assert await bench.turn() == []
    assert (bench.troubles[0].kind, bench.troubles[0].message) == (
        "Queued",
        "Place 1 of 1 for initialReplications between chicago and newyork",
    )
    line_of.seen(Line.of("recovery", slot), Key("ProtectedVM", "recovery", "a"), "a")
    assert line_of.callable() == {KEY}
    assert await bench.turn() == [command(slot=slot)]


async def test_a_place_is_given_back_when_its_command_fails() -> None:
    slot = Slot(Limit.INITIAL_REPLICATIONS, ("newyork", "chicago"))
    bench = Bench((command(slot=slot),))
    bench.fails(SiteRefused("No", code="Internal"))
    await bench.turn()
    assert not any(state.granted for state in bench.limiter.slots._lines.values())


@pytest.mark.parametrize("broken", ["plan", "judge"])
async def test_a_defect_is_reported_as_one_and_the_rest_of_the_status_stays(broken: str) -> None:
    bench = Bench()

    def explode(*_: object) -> Any:
        raise ZeroDivisionError

    bench.turns.table = {
        "ProtectedVM": Row(
            PROTECTED_VM,
            lambda _observer, obj, _now: obj,
            explode if broken == "plan" else bench.plan,
            explode if broken == "judge" else bench.judge,
        )
    }
    await bench.turn()
    report, conditions_only = bench.reports[0]
    assert conditions_only
    assert [(one.type, one.status, one.reason) for one in report.findings] == [("Ready", "Unknown", "InternalError")]
    first = bench.next_turn
    await bench.turn(2)
    second = bench.next_turn
    assert first is not None
    assert second is not None
    assert second > 1.5 * first, "it backs off"


async def test_a_defect_of_an_action_is_a_trouble_of_its_own_kind() -> None:
    bench = Bench((command(),))
    bench.fails(ZeroDivisionError())
    await bench.turn()
    assert (bench.troubles[0].kind, bench.troubles[0].code) == ("Bug", "InternalError")


async def test_a_spec_that_cannot_be_read_is_said_so() -> None:
    bench = Bench()
    metadata = {**BODY["metadata"], "generation": 2, "resourceVersion": "2"}
    bench.catalogue.take(PROTECTED_VM, {"metadata": metadata, "spec": {"policyRef": {"name": "gold"}}})
    await bench.turn()
    report, conditions_only = bench.reports[0]
    assert conditions_only
    assert (report.findings[0].status, report.findings[0].reason) == ("False", "SpecRefused")
    assert "vm" in report.findings[0].message


async def test_an_object_that_is_gone_needs_no_turn() -> None:
    bench = Bench((command(),))
    bench.catalogue.remove(KEY)
    assert await bench.turn() == []
    assert bench.reports == []


@pytest.mark.parametrize(
    ("error", "kind", "level", "delay"),
    [
        (SpecRefused("x"), "Refused", "warning", 60),
        (NotYet("x", delay=7), "NotYet", "debug", 7),
        (SiteUnreachable("x"), "SiteUnreachable", "info", 1),
        (SiteRefused("x", code="Settling"), "SiteRefused", "info", 1),
        (SiteRefused("x", code="StateConflict"), "SiteRefused", "info", 0.5),
        (SiteRefused("x", code="PoolExhausted"), "SiteRefused", "warning", 15),
        (SiteRefused("x", code="Fenced"), "NotYet", "info", 1),
        (SiteRefused("x", code="NobodyKnowsThis"), "SiteRefused", "info", 1),
        (Superseded("x"), "NotYet", "info", 1),
        (ApiError("x", status=403, reason="Forbidden", message="x"), "NotYet", "warning", 1),
        (ApiUnreachable("x"), "NotYet", "warning", 1),
        (RuntimeError("x"), "Bug", "error", 2),
    ],
)
def test_the_table_of_failures(error: Exception, kind: str, level: str, delay: float) -> None:
    outcome = judge(error)
    assert (outcome.kind, outcome.level, outcome.delay(1)) == (kind, level, delay)
    assert outcome.delay(50) == outcome.longest
