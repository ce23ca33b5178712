"""Recovery points over days, as primary and replica make and keep them together: one an hour, every n-th quiesced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondsite.agent.lab import consistency
from secondsite.agent.lab.clock import LabClock
from secondsite.agent.lab.counters import Window
from secondsite.agent.lab.datacentre import Knobs
from secondsite.agent.lab.engine import Consistency, CycleKind, CycleResult, RecoveryPoint, retention
from secondsite.agent.lab.relation import point_fact
from secondsite.agent.lab.state import Half
from secondsite.wire.facts import Replication

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
APPLICATION, CRASH = Consistency.ApplicationConsistent, Consistency.CrashConsistent


@dataclass(frozen=True)
class Case:
    interval: int
    kept_hours: int
    quiesced_hours: int
    hurry: float
    lost: frozenset[int] = frozenset()
    """Cycles that fail."""


@st.composite
def cases(draw: st.DrawFn) -> Case:
    kept = draw(st.integers(0, 24))
    return Case(
        interval=draw(st.sampled_from([300, 900])),
        kept_hours=kept,
        quiesced_hours=draw(st.integers(0, min(kept, 12))),
        hurry=draw(st.sampled_from([1.0, 60.0])),
        lost=draw(st.frozensets(st.integers(1, 160), max_size=30)),
    )


def play(case: Case, hours: int) -> tuple[list[RecoveryPoint], datetime]:
    """What the replica has after so many hours of the lab."""
    clock = LabClock(case.hurry, Knobs())
    half, points, now = _half(case), [], START
    for cycle in range(hours * 3600 // case.interval):
        now = START + timedelta(seconds=cycle * case.interval / case.hurry)
        if cycle in case.lost:
            continue
        kind = APPLICATION if consistency.wanted(half, clock, now) else CRASH
        half = msgspec.structs.replace(half, initial_done=True, **consistency.noted(_result(kind, now)))
        points.append(RecoveryPoint(str(cycle), CycleKind.Delta, 1, now, now, 0, consistency=kind))
        kept_for = clock.retention_seconds(case.kept_hours)
        gone = set(retention(points, now, clock.point_spacing_seconds, kept_for, set()))
        points = [point for point in points if point.id not in gone]
    return points, now


@settings(max_examples=60, deadline=None)
@given(cases())
def test_never_more_than_the_retention_and_the_newest(case: Case) -> None:
    points, now = play(case, 40)
    extra = 1 if case.quiesced_hours else 0
    assert len(points) - 1 <= case.kept_hours + extra
    oldest = now - timedelta(hours=case.kept_hours / case.hurry)
    assert all(point.freeze_time > oldest for point in points[:-1])
    if not case.kept_hours:
        assert len(points) == 1


@settings(max_examples=40, deadline=None)
@given(cases())
def test_kept_points_are_an_hour_apart_and_leave_no_hole(case: Case) -> None:
    whole = Case(case.interval, case.kept_hours, 0, case.hurry)
    points, now = play(whole, 40)
    hour, cycle = (timedelta(seconds=seconds / case.hurry) for seconds in (3600, case.interval))
    assert all(hour <= later.freeze_time - point.freeze_time < hour + cycle for point, later in pairwise(points[:-1]))
    assert len(points) - 1 == whole.kept_hours
    assert points[-1].freeze_time == now


@pytest.mark.parametrize("hours", [1, 2, 4, 12])
def test_every_nth_is_application_consistent(hours: int) -> None:
    points, _ = play(Case(300, 24, hours, 1.0), 60)
    quiesced = [point.freeze_time for point in points if point.consistency is APPLICATION]
    assert len(quiesced) in (24 // hours, 24 // hours + 1)
    assert {later - time for time, later in pairwise(quiesced)} == {timedelta(hours=hours)}


def test_latest_only_means_one_point() -> None:
    points, now = play(Case(300, 0, 0, 1.0), 30)
    assert [point.freeze_time for point in points] == [now]


@pytest.mark.parametrize(
    ("kind", "told"),
    [(CRASH, "CrashConsistent"), (APPLICATION, "AppConsistent"), (Consistency.Synced, "Synced")],
)
def test_a_point_is_told_by_its_kind(kind: Consistency, told: str) -> None:
    point = RecoveryPoint("p", CycleKind.Delta, 1, START, START, 0, consistency=kind)
    assert point_fact("web", point).type == told


def test_the_point_of_a_planned_failover_stays_as_the_newest() -> None:
    points = [*_chain(30), RecoveryPoint("s", CycleKind.Delta, 1, START, START, 0, consistency=Consistency.Synced)]
    gone = retention(points, START + timedelta(days=9), 3600, 24 * 3600, set())
    assert [point.id for point in points if point.id not in gone] == ["s"]


def _chain(count: int) -> Sequence[RecoveryPoint]:
    times = [START - timedelta(minutes=5 * (count - number)) for number in range(count)]
    return [RecoveryPoint(str(number), CycleKind.Delta, 1, time, time, 0) for number, time in enumerate(times)]


def _result(kind: Consistency, now: datetime) -> CycleResult:
    return CycleResult("c", CycleKind.Delta, now, now, 0, 0, 0, 0, resumed=False, consistency=kind)


def _half(case: Case) -> Half:
    wish = Replication(
        case.interval, retention_hours=case.kept_hours, app_consistent_interval_hours=case.quiesced_hours
    )
    return Half(
        vm_id="vm",
        vm_name="web",
        side="Primary",
        state="Replicating",
        peer_site="west",
        association="a",
        settings=wish,
        disks=(),
        window=Window(start=START),
    )
