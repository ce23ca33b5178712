"""When a cycle is to be application-consistent, and what is made of its outcome."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from secondsite.agent.lab import consistency, counters
from secondsite.agent.lab.clock import LabClock
from secondsite.agent.lab.datacentre import Knobs
from secondsite.agent.lab.engine import Consistency, CycleKind, CycleResult, RecoveryPoint
from secondsite.agent.lab.state import Half
from secondsite.wire.facts import Replication

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
CLOCK = LabClock(1, Knobs())
APPLICATION, CRASH = Consistency.ApplicationConsistent, Consistency.CrashConsistent


def half(hours: int = 4, **changes: object) -> Half:
    settings = Replication(interval_seconds=300, app_consistent_interval_hours=hours)
    made = Half(
        vm_id="vm",
        vm_name="web",
        side="Primary",
        state="Replicating",
        peer_site="west",
        association="a",
        settings=settings,
        disks=(),
        window=counters.Window(start=NOW),
        initial_done=True,
    )
    return msgspec.structs.replace(made, **changes)


def after(outcome: CycleResult) -> Half:
    return msgspec.structs.replace(half(), **consistency.noted(outcome))


def result(kind: Consistency, error: str | None = None) -> CycleResult:
    return CycleResult("c", CycleKind.Delta, NOW, NOW, 0, 0, 0, 0, resumed=False, consistency=kind, quiesce_error=error)


@pytest.mark.parametrize(
    ("hours", "last", "wanted"),
    [
        (0, None, False),
        (4, None, True),
        (4, 4 * HOUR, True),
        (4, 4 * HOUR - timedelta(seconds=1), False),
        (1, HOUR, True),
        (12, 11 * HOUR, False),
        (4, -HOUR, True),
    ],
)
def test_every_so_many_hours(hours: int, last: timedelta | None, wanted: bool) -> None:
    """A clock that was set back by an hour does not put it off for five."""
    before = NOW - last if last is not None else None
    assert consistency.wanted(half(hours, app_consistent_time=before), CLOCK, NOW) is wanted


def test_the_first_copy_is_left_alone() -> None:
    assert not consistency.wanted(half(initial_done=False), CLOCK, NOW)


@pytest.mark.parametrize(("hurry", "seconds"), [(1, 4 * 3600), (60, 240)])
def test_the_lab_hurries_here_too(hurry: float, seconds: float) -> None:
    clock = LabClock(hurry, Knobs())
    for early, wanted in ((1, False), (0, True)):
        made = half(app_consistent_time=NOW - timedelta(seconds=seconds - early))
        assert consistency.wanted(made, clock, NOW) is wanted


def test_never_nearer_than_two_kept_points() -> None:
    clock = LabClock(1, Knobs(point_spacing_seconds=2 * 3600))
    assert not consistency.wanted(half(1, app_consistent_time=NOW - HOUR), clock, NOW)
    assert consistency.wanted(half(1, app_consistent_time=NOW - 2 * HOUR), clock, NOW)


def test_a_failed_attempt_is_repeated_in_an_hour_not_in_a_cycle() -> None:
    failed = after(result(CRASH, "VSS failed"))
    assert failed.quiesce_failure == "VSS failed"
    assert not consistency.wanted(failed, CLOCK, NOW + HOUR / 2)
    assert consistency.wanted(failed, CLOCK, NOW + HOUR)


def test_a_success_silences_the_failure_before_it() -> None:
    window = counters.Window(start=NOW).not_quiesced()
    failed = after(result(CRASH, "VSS failed"))
    assert consistency.failing(failed, window)
    assert not consistency.failing(failed, counters.Window(start=NOW)), "the statistics were reset"
    unwanted = msgspec.structs.replace(failed, settings=half(0).settings)
    assert not consistency.failing(unwanted, window)
    well = msgspec.structs.replace(failed, **consistency.noted(result(APPLICATION)))
    assert not consistency.failing(well, window)
    assert well.app_consistent_time == NOW
    assert not consistency.wanted(well, CLOCK, NOW + HOUR)


def test_a_cycle_of_which_nothing_was_asked_notes_nothing() -> None:
    assert consistency.noted(result(CRASH)) == {}


def test_a_failure_of_vss_is_counted_apart() -> None:
    window = counters.Window(start=NOW).delivered(1, 1, 30).not_quiesced()
    assert (window.success, window.missed, window.errors, window.quiesce_failures) == (1, 0, 1, 1)


def test_the_newest_that_is_whole() -> None:
    def point(number: int, kind: Consistency, *, damaged: bool = False) -> RecoveryPoint:
        return RecoveryPoint(str(number), CycleKind.Delta, 1, NOW, NOW, 0, damaged=damaged, consistency=kind)

    chain = [point(0, APPLICATION), point(1, APPLICATION, damaged=True), point(2, CRASH)]
    found = consistency.newest(chain)
    assert found is not None
    assert found.id == "0"
    assert consistency.newest(chain[1:]) is None
