from datetime import timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from secondsite.agent.lab.engine import CycleKind, RecoveryPoint, retention
from support.engine_pair import START

HOUR = 3600.0


def point(number: int, seconds: float, *, pinned: int = 0) -> RecoveryPoint:
    time = START + timedelta(seconds=seconds)
    return RecoveryPoint(f"p{number}", CycleKind.Delta, 1, time, time, 0, pinned)


def after(points: list[RecoveryPoint], now: float, hours: float, pinned: tuple[str, ...] = ()) -> list[str]:
    gone = retention(points, START + timedelta(seconds=now), HOUR, hours * HOUR, pinned)
    return [entry.id for entry in points if entry.id not in gone]


def test_one_an_hour_and_the_newest() -> None:
    points = [point(number, number * 900) for number in range(11)]
    assert after(points, 9000, hours=24) == ["p0", "p4", "p8", "p10"]


def test_without_retention_only_the_newest_stays() -> None:
    assert after([point(number, number * 300) for number in range(5)], 1200, hours=0) == ["p4"]


def test_the_newest_stays_however_old() -> None:
    assert after([point(0, 0), point(1, 300)], 1e9, hours=24) == ["p1"]


def test_points_expire_when_their_age_reaches_the_retention() -> None:
    points = [point(number, number * HOUR) for number in range(4)]
    assert after(points, 3 * HOUR, hours=3) == ["p1", "p2", "p3"]


def test_a_pinned_point_stays_without_moving_the_grid() -> None:
    points = [point(number, number * 900) for number in range(7)]
    assert after(points, 5400, hours=24, pinned=("p1",)) == ["p0", "p1", "p4", "p6"]
    assert after(points, 48 * HOUR, hours=24, pinned=("p1",)) == ["p1", "p6"]


@given(
    gaps=st.lists(st.floats(1, 2 * HOUR), min_size=1, max_size=80),
    hours=st.integers(0, 24),
)
def test_cycle_by_cycle_never_more_kept_than_asked_and_none_further_apart_than_needed(
    gaps: list[float], hours: int
) -> None:
    chain: list[RecoveryPoint] = []
    now = 0.0
    for number, gap in enumerate(gaps):
        now += gap
        chain.append(point(number, now))
        left = after(chain, now, hours)
        chain = [entry for entry in chain if entry.id in left]
        kept, newest = chain[:-1], chain[-1]
        assert newest.id == f"p{number}"
        assert len(kept) <= hours
        # Two neighbours on the grid are never further apart than the spacing plus the cycle that missed it.
        times = [(entry.freeze_time - START).total_seconds() for entry in chain]
        assert all(later - earlier < HOUR + 2 * 2 * HOUR for earlier, later in pairwise(times))
