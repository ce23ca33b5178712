"""One turn: what is done when, and what it waits for. Planner and site are made up."""

from __future__ import annotations

from datetime import timedelta

import pytest

from secondsite.controller.pending import PATIENCE, Grip
from secondsite.controller.ports import Key, Receipt
from secondsite.controller.slots import Line
from secondsite.plan.actions import Action, AddFinalizer, Limit, Slot
from support.turns import KEY, NOON, SEEN, Bench, command


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


async def test_an_object_that_is_gone_needs_no_turn() -> None:
    bench = Bench((command(),))
    bench.catalogue.remove(KEY)
    assert await bench.turn() == []
    assert bench.reports == []
