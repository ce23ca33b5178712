"""The demo's claims can fail: each is shown a world in which it does not hold."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from secondsite.sandbox import rehearsal_story, replication_story, restart_story
from secondsite.sandbox.eyes import Metrics, SiteEye, Truth
from secondsite.sandbox.show import Show
from secondsite.sandbox.stage import VM, Stage, Verdict
from secondsite.wire import inventory
from secondsite.wire.facts import Operation, Relation
from secondsite.wire.feed import Changes, OperationEntry, RelationEntry, TestNetworkEntry

NOW = datetime.now(UTC)
WEB = VM("web01", "5a3e1f60", "newyork", "chicago")
POINT = 'secondsite_protected_vm_last_recovery_point_timestamp_seconds{vm_namespace="recovery",vm="web01"} '


def relation(**more: Any) -> Relation:
    facts: dict[str, Any] = {
        "vm_id": WEB.id,
        "vm_name": WEB.name,
        "mode": "Primary",
        "state": "Replicating",
        "health": "Normal",
        "peer_site": "chicago",
        "time": NOW,
    }
    return Relation(**(facts | more))


def operation(key: str, intent: str, state: Any = "Succeeded") -> Operation:
    return Operation(key=key, verb="Suspend", intent=intent, attempt=1, state=state, start_time=NOW, vm_id=WEB.id)


class Feed:
    """A site's client that gives one whole answer."""

    def __init__(self, *entries: Any) -> None:
        self._entries = entries

    async def changes(self, cursor: str, wait: float) -> Changes:
        return Changes(instance="i", cursor="i.1", whole=True, more=False, time=NOW, entries=self._entries)


def stage(**eyes: Any) -> Stage:
    show = Show(io.StringIO())
    return Stage(cast("Any", None), cast("Any", SimpleNamespace(**eyes)), show, Verdict(), (WEB,))


def answering(value: Any) -> Callable[..., Any]:
    async def answer(*_: Any) -> Any:
        return value

    return answer


@pytest.mark.parametrize(("ahead_seconds", "surplus"), [(2.0, -2.0), (-0.5, 0.5)])
async def test_a_lag_that_is_reported_too_small_counts_against_the_claim(ahead_seconds: float, surplus: float) -> None:
    missing_since = NOW - timedelta(seconds=5)
    reported = (missing_since + timedelta(seconds=ahead_seconds)).timestamp()
    truth = Truth("p", 7, missing_since)
    found: list[float] = []
    it = stage(truth=answering(truth), metrics=answering(Metrics(f"{POINT}{reported}\n")))
    await replication_story._sample(it, found)
    assert found == [pytest.approx(surplus, abs=0.01)]


async def test_a_point_that_came_while_it_was_looked_is_no_sample() -> None:
    points = iter([Truth("p", 7, NOW), Truth("q", 9, NOW)])

    async def truth(*_: Any) -> Truth:
        return next(points)

    found: list[float] = []
    await replication_story._sample(stage(truth=truth, metrics=answering(Metrics(f"{POINT}1\n"))), found)
    assert found == []


@pytest.mark.parametrize(
    ("after", "operations", "held"),
    [
        ({"newyork": 3, "chicago": 2}, [("a", "1", "Succeeded"), ("b", "2", "Succeeded")], True),
        ({"newyork": 4, "chicago": 2}, [("a", "1", "Succeeded")], False),
        ({"newyork": 3, "chicago": 2}, [("a", "1", "Succeeded"), ("b", "1", "Succeeded")], False),
        ({"newyork": 3, "chicago": 2}, [("a", "1", "Failed"), ("b", "1", "Succeeded")], True),
    ],
)
async def test_work_that_was_begun_or_done_twice_counts_against_the_claim(
    after: dict[str, int], operations: list[tuple[str, str, str]], *, held: bool
) -> None:
    entries = [OperationEntry(id=key, revision=1, facts=operation(key, *rest)) for key, *rest in operations]
    eye = SiteEye(cast("Any", Feed(*entries)))
    await eye.look()
    it = stage(begun=answering(after), sites={"newyork": eye})
    await restart_story._nothing_twice(it, {"newyork": 3, "chicago": 2})
    assert it.verdict.held is held


async def test_what_a_test_leaves_behind_is_found() -> None:
    network = inventory.TestNetwork(id="t", name="rehearsal", vms=(WEB.id,))
    eye = SiteEye(cast("Any", Feed(TestNetworkEntry(id="t", revision=1, facts=network))))
    await eye.look()
    assert rehearsal_story._left_behind(stage(sites={"chicago": eye})) == ["network rehearsal"]


@pytest.mark.parametrize(
    ("half", "complaint"),
    [
        (relation(state="Error"), "web01: Primary is Error, Normal"),
        (relation(health="Critical"), "web01: Primary is Replicating, Critical"),
        (None, "web01: a half is gone"),
    ],
)
async def test_a_test_that_disturbs_replication_is_noticed(half: Relation | None, complaint: str) -> None:
    machine = inventory.VM(WEB.id, "web01", "Production", "hv01", "Running")
    healthy = {Relation: {WEB.id: relation()}, inventory.VM: {WEB.id: machine}}
    eye = SimpleNamespace(all=lambda fact: healthy.get(fact, {}))
    it = stage(sites={"newyork": eye, "chicago": eye}, look=answering(None))
    watch = rehearsal_story._Watch(it)
    await watch.look()
    assert watch.complaints == []
    healthy[Relation] = {WEB.id: half} if half else {}
    await watch.look()
    assert complaint in watch.complaints


def test_one_claim_that_did_not_hold_decides() -> None:
    verdict = Verdict()
    assert not verdict.held
    verdict.add("one", "1", held=True)
    assert verdict.held
    verdict.add("two", "2", held=False)
    assert not verdict.held
    text = io.StringIO()
    Show(text).draw(verdict.table())
    assert [line.split() for line in text.getvalue().splitlines() if "two" in line] == [["two", "2", "NO"]]


async def test_a_site_is_followed_like_the_operator_follows_it() -> None:
    gone = [RelationEntry(id="a", revision=1, facts=relation()), RelationEntry(id="b", revision=2, facts=relation())]
    eye = SiteEye(cast("Any", Feed(*gone)))
    await eye.look()
    assert set(eye.all(Relation)) == {"a", "b"}
    eye.client = cast("Any", Feed(gone[0]))
    await eye.look()
    assert set(eye.all(Relation)) == {"a"}


def test_progress_is_told_seldom_off_a_terminal() -> None:
    text = io.StringIO()
    show = Show(text)
    for percent in range(100):
        show.progress(f"copied: {percent} %")
    show.progress("compared: 1")
    show.say("done")
    assert [line.split("  ")[-1] for line in text.getvalue().splitlines()] == ["copied: 0 %", "compared: 1", "done"]
