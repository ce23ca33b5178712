"""What a failure becomes: held back and reported, forgiven, or a defect that costs nobody else his turn."""

from __future__ import annotations

from typing import Any

import pytest

from secondsite.api.protectedvm import PROTECTED_VM
from secondsite.controller.kinds import Row
from secondsite.controller.kube import ApiError, ApiUnreachable
from secondsite.controller.outcomes import judge
from secondsite.controller.ports import Receipt
from secondsite.errors import NotYet, SiteRefused, SiteUnreachable, SpecRefused, Superseded
from secondsite.plan.actions import Action, Dissociate, Limit, Slot
from support.turns import BODY, KEY, NOON, Bench, command


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
