"""What the benchmarks make of their numbers; they themselves run only when asked for."""

from pathlib import Path

import pytest

from bench import copies, results
from bench.contest import Contest, Timing, WrongOutput, measure
from bench.machine import Quiet
from bench.results import Ratio, Results
from bench.world import MEBIBYTE, World, change, equal_files

GOAL = Ratio("work", "ours", "theirs", 4, 2)


def found(ours: tuple[float, ...], theirs: tuple[float, ...]) -> Results:
    return Results({"ours": Timing("ours", ours), "theirs": Timing("theirs", theirs)})


@pytest.mark.parametrize(
    ("ours", "theirs", "shown", "verdict"),
    [
        ((1.0, 2.0, 3.0), (4.0, 4.0, 9.0), "4.00 / 2.00", "reached"),
        ((1.1, 2.0, 3.0), (4.0, 4.0, 9.0), "3.64 / 2.00", "median reached"),
        ((1.0, 2.1, 3.0), (4.0, 4.0, 9.0), "4.00 / 1.90", "best reached"),
        ((2.0, 2.0, 3.0), (4.0, 3.0, 9.0), "1.50 / 2.00", "median reached"),
        ((2.0, 2.0, 3.0), (3.0, 3.0, 3.0), "1.50 / 1.50", "not reached"),
    ],
)
def test_a_goal_is_reached_by_the_best_and_by_the_median(
    ours: tuple[float, ...], theirs: tuple[float, ...], shown: str, verdict: str
) -> None:
    row = GOAL.row(found(ours, theirs))
    assert (row.found, row.verdict, row.goal) == (shown, verdict, "≥ 4 / 2")


def test_a_missing_peer_names_its_package() -> None:
    rows = results.rows(Results(missing={copies.NBDCOPY: ["libnbd-bin", "nbdkit"]}))
    row = next(row for row in rows if row.against == copies.NBDCOPY)
    assert (row.verdict, row.found) == ("-", "not measured: apt-get install libnbd-bin nbdkit")


def test_a_copy_that_differs_is_no_result() -> None:
    contest = Contest("copy", prepare=lambda: None, run=lambda: None, same=lambda: False)
    with pytest.raises(WrongOutput, match="copy, run 1"):
        measure(contest, 1, Quiet(0))


def test_the_disk_is_sparse_and_changes_where_it_holds_data(tmp_path: Path) -> None:
    world = World(tmp_path, 128 * MEBIBYTE, 64 * MEBIBYTE)
    world.clone_source()
    assert world.copied()
    assert world.source.stat().st_blocks * 512 < 70 * MEBIBYTE
    assert world.copy.stat().st_blocks * 512 < 70 * MEBIBYTE
    before = world.source.stat().st_blocks
    assert list(change(7, world.source)) == list(change(7, world.source))
    world.change()
    assert world.source.stat().st_blocks == before
    assert not equal_files(world.source, world.copy)
