"""Seconds outside the RPO target, against a plain model that looks at every single second."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondsite.agent.lab import rpo
from secondsite.agent.lab.counters import Window
from secondsite.agent.lab.engine import CycleKind, RecoveryPoint
from secondsite.agent.lab.state import Half
from secondsite.wire.facts import Replication

START = datetime(2026, 3, 1, 23, 50, tzinfo=UTC)
TARGET = 90


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def point(source: float, arrives: float) -> RecoveryPoint:
    return RecoveryPoint(f"p{arrives}", CycleKind.Delta, 1, at(source), at(arrives), 0)


def fresh(target: int = TARGET) -> Half:
    return Half(
        vm_id="vm",
        vm_name="web",
        side="Replica",
        state="Replicating",
        peer_site="east",
        association="a",
        settings=Replication(interval_seconds=30, rpo_target_seconds=target),
        disks=(),
        window=Window(start=START),
    )


def changed(half: Half, changes: dict[str, object]) -> Half:
    """As it is after a restart, too: nothing but what is stored counts."""
    return msgspec.json.decode(msgspec.json.encode(msgspec.structs.replace(half, **changes)), type=Half)


def after(*points: tuple[float, float], target: int = TARGET) -> Half:
    half = fresh(target)
    for source, arrives in points:
        half = changed(half, rpo.arrived(half, point(source, arrives)))
    return half


@dataclass(frozen=True)
class Arrival:
    source: int
    """Seconds before its arrival; negative where the source's clock is ahead."""


@dataclass(frozen=True)
class Retarget:
    seconds: int


@dataclass(frozen=True)
class Restart:
    unnoted: bool
    """Whether a point became durable that the killed agent did not note."""


steps = st.lists(
    st.tuples(
        st.integers(0, 4000),
        st.one_of(
            st.builds(Arrival, st.integers(-200, 3000)),
            st.builds(Retarget, st.sampled_from([0, 60, 90, 600, 3600])),
            st.builds(Restart, st.booleans()),
        ),
    ),
    max_size=12,
)


@given(steps, st.integers(0, 4000))
def test_it_counts_what_a_look_at_every_second_counts(story: list[tuple[int, object]], rest: int) -> None:
    half, clock, target, newest = fresh(), 0, TARGET, None
    model: dict[str, int] = {}
    for pause, step in [*story, (rest, None)]:
        for second in range(clock, clock + pause):
            if newest is not None and target and second + 1 - newest > target:
                day = at(second).date().isoformat()
                model[day] = model.get(day, 0) + 1
        clock += pause
        if isinstance(step, Arrival):
            newest = clock - step.source
            half = changed(half, rpo.arrived(half, point(newest, clock)))
        elif isinstance(step, Retarget):
            half = changed(half, rpo.settled(half, at(clock)))
            target = step.seconds
            settings = Replication(interval_seconds=30, rpo_target_seconds=target)
            half = changed(half, {"settings": settings})
        elif isinstance(step, Restart) and step.unnoted and newest is not None and clock - 5 > newest:
            newest = clock - 5
            half = changed(half, rpo.caught_up(half, [point(-9000, -9000), point(newest, clock)]))
    settled = msgspec.structs.replace(half, **rpo.settled(half, at(clock)))
    assert dict(settled.rpo) == model
    if target:
        told = dict(rpo.told(half, at(clock)) or ())
        behind = sum(model.values()) - sum(told.values())
        assert 0 <= behind < 60, "of an open span only whole minutes are told"
    else:
        assert rpo.told(half, at(clock)) is None


def test_nothing_is_outside_while_points_come_in_time() -> None:
    half = after((0, 10), (60, 70), (140, 150))
    assert half.rpo == ()
    assert rpo.told(half, at(150)) == ()


def test_exactly_the_target_is_inside() -> None:
    assert after((0, 10), (80, 90)).rpo == ()
    assert after((0, 10), (80, 91)).rpo == (("2026-03-01", 1.0),)


def test_time_before_the_first_point_counts_nothing() -> None:
    assert rpo.told(fresh(), at(86400)) == ()
    assert after((0, 7000)).rpo == ()


def test_a_first_point_that_is_old_already_counts_from_its_arrival() -> None:
    assert after((0, 400), (401, 410)).rpo == (("2026-03-01", 10.0),)


def test_a_span_is_split_at_the_midnights_of_utc() -> None:
    half = after((0, 10), (1, 600 + 86400 + 30))
    assert half.rpo == (("2026-03-01", 510.0), ("2026-03-02", 86400.0), ("2026-03-03", 30.0))


def test_a_changed_target_counts_from_its_arrival() -> None:
    half = after((0, 10))
    half = changed(half, rpo.settled(half, at(300)))
    half = changed(half, {"settings": Replication(interval_seconds=30, rpo_target_seconds=3600)})
    assert rpo.told(half, at(599)) == (("2026-03-01", 210),)


def test_an_open_span_is_news_once_a_minute() -> None:
    half = after((0, 10))
    told = [rpo.told(half, at(90 + second)) for second in range(180)]
    assert [len(set(map(str, told))), told[59], told[60], told[179]] == [
        3,
        (),
        (("2026-03-01", 60),),
        (("2026-03-01", 120),),
    ]


def test_thirty_five_days_are_kept() -> None:
    half = fresh()
    for day in range(60):
        seconds = day * 86400
        half = changed(half, rpo.arrived(half, point(seconds, seconds)))
        half = changed(half, rpo.arrived(half, point(seconds + 99, seconds + 100)))
        half = changed(half, rpo.settled(half, at(seconds + 100)))
        half = changed(half, {"rpo_source_time": None})
    days = [day for day, _ in half.rpo]
    assert len(days) == 35
    assert days[-1] == "2026-04-29"


def test_a_clock_that_is_set_back_counts_nothing_twice() -> None:
    half = after((0, 10), (1, 300))
    assert half.rpo == (("2026-03-01", 210.0),)
    half = changed(half, rpo.arrived(half, point(2, 200)))
    half = changed(half, rpo.arrived(half, point(3, 300)))
    assert half.rpo == (("2026-03-01", 210.0),)


def test_a_clock_of_the_source_that_is_ahead_counts_nothing() -> None:
    assert after((500, 10), (1000, 500)).rpo == ()


def test_a_point_that_was_noted_is_not_taken_up_again() -> None:
    half = after((0, 10))
    assert rpo.caught_up(half, [point(0, 10)]) == {}
    assert rpo.caught_up(half, []) == {}
    assert rpo.caught_up(msgspec.structs.replace(half, side="Primary"), [point(5, 20)]) == {}
    seed = RecoveryPoint("s", CycleKind.Seed, 1, at(5), at(20), 0)
    assert rpo.caught_up(half, [seed]) == {}, "disks of a former primary, not a point that came"


@pytest.mark.parametrize(("target", "seconds"), [(0, 60), (TARGET, 410 + 60)])
def test_without_a_target_nothing_is_told_and_a_later_one_does_not_look_back(target: int, seconds: int) -> None:
    half = after((0, 10), target=target)
    half = changed(half, rpo.settled(half, at(500)))
    half = changed(half, {"settings": Replication(interval_seconds=30, rpo_target_seconds=60)})
    assert rpo.told(half, at(560)) == (("2026-03-01", seconds),)
