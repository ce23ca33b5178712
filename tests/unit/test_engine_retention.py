from datetime import timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from secondsite.agent.lab.engine import Consistency, CycleKind, RecoveryPoint, retention
from support.engine_pair import START

HOUR = 3600.0
H = timedelta(hours=1)


def point(number: int, seconds: float, *, pinned: int = 0, app: bool = False, damaged: bool = False) -> RecoveryPoint:
    time = START + timedelta(seconds=seconds)
    kind = Consistency.ApplicationConsistent if app else Consistency.CrashConsistent
    return RecoveryPoint(f"p{number}", CycleKind.Delta, 1, time, time, 0, pinned, damaged, consistency=kind)


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


def test_an_application_consistent_point_takes_the_place_of_the_one_before_it() -> None:
    points = [point(number, number * 900, app=number == 6) for number in range(11)]
    assert after(points, 9000, hours=24) == ["p0", "p6", "p10"]
    assert after([points[0], points[6], points[10], point(11, 9900)], 9900, hours=24) == ["p0", "p6", "p10", "p11"]


def test_a_pinned_point_gives_up_its_place_but_stays() -> None:
    points = [point(0, 0), point(1, HOUR), point(2, 1.5 * HOUR, app=True), point(3, 2 * HOUR)]
    assert after(points, 2 * HOUR, hours=24, pinned=("p1",)) == ["p0", "p1", "p2", "p3"]


def test_a_damaged_application_consistent_point_has_no_claim() -> None:
    points = [point(0, 0), point(1, 900, app=True, damaged=True), point(2, 1800)]
    assert after(points, 1800, hours=24) == ["p0", "p2"]


def test_the_newest_application_consistent_point_stays_until_there_is_a_newer_one() -> None:
    close = [point(0, 0, app=True), point(1, 900, app=True), point(2, 1800)]
    assert after(close, 1800, hours=24) == ["p0", "p1", "p2"]
    assert after([*close, point(3, 2700, app=True)], 2700, hours=24) == ["p0", "p3"]
    lonely = [point(0, 0, app=True), *(point(number, number * HOUR) for number in range(1, 5))]
    assert after(lonely, 4 * HOUR, hours=5)[0] == "p0"
    assert after(lonely, 4 * HOUR, hours=4)[0] == "p1", "its time is over"


def test_a_clock_that_was_set_back_costs_no_point() -> None:
    ahead = [point(number, number * HOUR) for number in range(4)] + [point(4, 9000 * HOUR)]
    back = [point(number, number * HOUR) for number in range(5, 10)]
    assert after([*ahead, *back], 9 * HOUR, hours=24) == [f"p{number}" for number in range(10)]


@given(
    cycles=st.lists(st.tuples(st.floats(60, 2 * HOUR), st.booleans()), min_size=1, max_size=80),
    hours=st.integers(1, 24),
    patient=st.booleans(),
)
def test_application_consistent_points_cost_no_further_place(
    cycles: list[tuple[float, bool]], hours: int, patient: bool
) -> None:
    chain: list[RecoveryPoint] = []
    now, last = 0.0, -1e9
    for number, (gap, wanted) in enumerate(cycles):
        now += gap
        app = wanted and (now - last >= HOUR or not patient)
        last = now if app else last
        chain.append(point(number, now, app=app))
        left = after(chain, now, hours)
        was = [entry for entry in chain if entry.consistency is Consistency.ApplicationConsistent]
        chain = [entry for entry in chain if entry.id in left]
        young = [entry.id for entry in was if (START + timedelta(seconds=now) - entry.freeze_time) < hours * H]
        # Who waits an hour between two of them, as the primary does, keeps them all and pays nothing for it.
        assert set(young[-1:] if not patient else young) <= set(left)
        assert len(chain[:-1]) <= hours + (0 if patient else 1)


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
