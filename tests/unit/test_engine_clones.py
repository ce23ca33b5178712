"""Writable clones of a point: private, durable, and in nobody's way but that point's."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from secondsite.agent.lab.engine import CloneInfo, EngineError, PointInUse, UnknownClone, UnknownPoint
from support.engine_pair import BLOCK, Pair
from support.engine_points import SIZES, cycles, image


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with Pair(tmp_path, SIZES) as pair:
        yield pair


def test_the_newest_and_the_pinned_are_not_merged(pair: Pair) -> None:
    points, images = cycles(pair, 3)
    with pytest.raises(PointInUse, match="newest"):
        pair.target.merge(points[2])
    clone = pair.target.clone(points[0], "test-1")
    assert [point.pinned for point in pair.target.points()] == [1, 0, 0]
    with pytest.raises(PointInUse, match="clone"):
        pair.target.merge(points[0])
    assert pair.target.apply_retention(pair.clock.now, 3600, 0) == [points[1]]
    assert image(pair.target, points[0]) == images[0]
    clone.close()
    pair.target.drop_clone("test-1")
    pair.target.drop_clone("test-1")
    assert pair.target.apply_retention(pair.clock.now, 3600, 0) == [points[0]]
    assert [point.id for point in pair.target.points()] == [points[2]]


def test_a_clone_is_writable_private_and_outlives_the_process(pair: Pair) -> None:
    points, images = cycles(pair, 3)
    clone = pair.target.clone(points[1], "test-1")
    assert clone.read("a", 0, SIZES["a"]) == images[1]["a"]
    clone.write("a", BLOCK - 3, b"across")
    clone.write("b", SIZES["b"] - 4, b"tail")
    expected = images[1]["a"][: BLOCK - 3] + b"across" + images[1]["a"][BLOCK + 3 :]
    clone.close()
    pair.restart_target()
    assert pair.target.clones() == [CloneInfo("test-1", points[1])]
    clone = pair.target.open_clone("test-1")
    assert clone.read("a", 0, SIZES["a"]) == expected
    assert clone.read("b", 0, SIZES["b"]) == images[1]["b"][:-4] + b"tail"
    assert clone.disks == SIZES
    clone.close()
    assert [image(pair.target, point) for point in points] == images


def test_a_clone_stands_still_while_points_around_it_are_merged(pair: Pair) -> None:
    points, images = cycles(pair, 5)
    clone = pair.target.clone(points[2], "c")
    for gone in (points[1], points[3], points[0]):
        pair.target.merge(gone)
        assert clone.read("a", 0, SIZES["a"]) == images[2]["a"]
    clone.close()
    pair.restart_target()
    clone = pair.target.open_clone("c")
    assert clone.read("a", 0, SIZES["a"]) == images[2]["a"]
    clone.close()


def test_a_clone_id_names_one_clone(pair: Pair) -> None:
    points, _ = cycles(pair, 2)
    pair.target.clone(points[0], "c").close()
    pair.target.clone(points[0], "c").close()
    with pytest.raises(EngineError, match="choose another id"):
        pair.target.clone(points[1], "c")
    with pytest.raises(UnknownClone):
        pair.target.open_clone("d")
    with pytest.raises(UnknownPoint):
        pair.target.clone("nothing", "e")
    with pytest.raises(EngineError, match="not usable"):
        pair.target.clone(points[0], "../escape")


def test_an_open_clone_is_not_dropped_under_its_guest(pair: Pair) -> None:
    (point,), _ = cycles(pair, 1)
    clone = pair.target.clone(point, "c")
    with pytest.raises(PointInUse, match="is open"):
        pair.target.drop_clone("c")
    clone.write("a", 0, b"still here")
    clone.close()
    assert pair.target.clones() == [CloneInfo("c", point)]
    pair.target.drop_clone("c")
    assert pair.target.clones() == []
