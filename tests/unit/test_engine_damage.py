"""Damage in the replica's files: found by whoever reads, remembered per file, told of the points that see it."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from secondsite.agent.lab.engine import BlockRef, DamagedBlock, PointInUse, Stopped, TokenBucket
from secondsite.agent.lab.engine.replica.scrub import ScrubProgress
from support.engine_damage import SIZES, cycles, damage_block, damaged, disk_folder, flip, layer_path, scrub_files
from support.engine_pair import BLOCK, Pair, pattern


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with Pair(tmp_path, SIZES) as pair:
        yield pair


def test_whoever_reads_a_damaged_block_has_it_remembered(pair: Pair) -> None:
    truth = cycles(pair, 4)
    damage_block(pair, truth.points[1], 1)
    assert damaged(pair.target) == [False] * 4
    with pytest.raises(DamagedBlock):
        pair.target.read_point(truth.points[3], "a", BLOCK, 10)
    assert damaged(pair.target) == [False, True, True, True]
    assert "1 damaged blocks" in pair.target.points()[1].damage
    assert pair.target.damage == [BlockRef("a", 1)]
    pair.restart_target()
    assert damaged(pair.target) == [False, True, True, True]


def test_a_clone_that_meets_damage_has_it_remembered(pair: Pair) -> None:
    truth = cycles(pair, 2)
    damage_block(pair, truth.points[0], 0)
    clone = pair.target.clone(truth.points[1], "c")
    with pytest.raises(DamagedBlock):
        clone.read("a", 0, 10)
    clone.close()
    assert damaged(pair.target) == [True, True]


def test_a_block_that_was_written_again_since_hides_the_damage_below(pair: Pair) -> None:
    truth = cycles(pair, 3)
    damage_block(pair, truth.points[0], 7)
    scrub_files(pair.target)
    assert damaged(pair.target) == [True, False, False]
    assert pair.target.read_point(truth.points[2], "a", 7 * BLOCK, BLOCK) == pattern(102)


def test_scrubbing_the_files_finds_all_damage_once_and_says_how_far_it_is(pair: Pair) -> None:
    truth = cycles(pair, 3)
    pair.target.merge(truth.points[0])
    damage_block(pair, truth.points[1], 7)
    flip(disk_folder(pair) / "base.raw", 5)
    seen: list[ScrubProgress] = []
    result = pair.target.scrub_files(threading.Event(), TokenBucket(), seen.append)
    assert (result.damaged, result.files) == (2, 6)
    assert pair.target.damage == [BlockRef("a", 0), BlockRef("a", 7)]
    assert [item.files for item in seen] == list(range(6))
    assert seen[-1].files_total == 6
    stored = 3 + 3 + 3
    assert result.bytes >= stored * BLOCK


def test_a_scrub_keeps_to_its_budget_and_stops_when_told(pair: Pair) -> None:
    cycles(pair, 2)
    stop = threading.Event()
    with pytest.raises(Stopped):
        pair.target.scrub_files(stop, TokenBucket(1.0), lambda item: stop.set() if item.files else None)


def test_a_scrub_pays_for_every_byte_that_it_reads(pair: Pair) -> None:
    truth = cycles(pair, 3)
    pair.target.merge(truth.points[0])
    paid: list[int] = []

    class Counting(TokenBucket):
        def take(self, count: int, stop: threading.Event) -> None:
            super().take(count, stop)
            paid.append(count)

    assert 0 < pair.target.scrub_files(threading.Event(), Counting()).bytes <= sum(paid)


def test_a_scrub_that_waits_for_its_budget_lets_merges_go_on(pair: Pair) -> None:
    truth = cycles(pair, 4)
    waits: list[bool] = []

    class Slow(TokenBucket):
        def take(self, count: int, stop: threading.Event) -> None:
            super().take(count, stop)
            if len(waits) < 2:
                point = truth.points[len(waits)]
                merger = threading.Thread(target=pair.target.merge, args=(point,), daemon=True)
                merger.start()
                merger.join(10)
                waits.append(not merger.is_alive())

    assert pair.target.scrub_files(threading.Event(), Slow()).damaged == 0
    assert waits == [True, True]
    assert [point.id for point in pair.target.points()] == truth.points[2:]


def test_what_was_mended_from_outside_is_forgotten_by_the_next_scrub(pair: Pair) -> None:
    truth = cycles(pair, 2)
    damage_block(pair, truth.points[0], 0)
    assert pair.target.scrub(truth.points[1]) == [BlockRef("a", 0)]
    damage_block(pair, truth.points[0], 0)
    assert pair.target.scrub(truth.points[1]) == []
    assert damaged(pair.target) == [False, False]


@pytest.mark.parametrize("oldest", [True, False])
def test_damage_moves_with_the_blocks_when_layers_are_merged(pair: Pair, oldest: bool) -> None:
    truth = cycles(pair, 4)
    merged = truth.points[0 if oldest else 1]
    damage_block(pair, merged, 0 if oldest else 1)
    damage_block(pair, merged, 7)
    scrub_files(pair.target)
    pair.target.merge(merged)
    # Into the base all of it goes; into the next layer only what that has not itself.
    assert pair.target.damage == [BlockRef("a", 0), BlockRef("a", 7)] if oldest else [BlockRef("a", 1)]
    pair.restart_target()
    assert damaged(pair.target) == ([True] * 3 if oldest else [False, True, True])


def test_a_disk_that_dies_does_not_fill_the_catalogue(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secondsite.agent.lab.engine.replica.damage.MAX_LISTED_BLOCKS", 2)
    monkeypatch.setattr("secondsite.agent.lab.engine.replica.damage.MAX_WANTED_BLOCKS", 1)
    for block in range(6):
        pair.disks["a"].write(block * BLOCK, pattern(block))
    point = pair.cycle().cycle
    for block in range(6):
        damage_block(pair, point, block)
    assert scrub_files(pair.target).damaged == 6
    assert len(pair.target.damage) == 2
    lines = len((pair.folder / "target/catalog.log").read_bytes().splitlines())
    for block in range(6):
        with pytest.raises(DamagedBlock):
            pair.target.read_point(point, "a", block * BLOCK, 1)
    assert len((pair.folder / "target/catalog.log").read_bytes().splitlines()) == lines
    assert "6 damaged blocks" in pair.target.points()[0].damage
    assert pair.target.status().wanted == {"a": (0,)}


def test_a_layer_that_is_missing_costs_only_the_points_that_need_it(pair: Pair) -> None:
    truth = cycles(pair, 4)
    layer_path(pair, truth.points[2]).unlink()
    pair.restart_target()
    assert damaged(pair.target) == [False, False, True, True]
    assert "missing" in pair.target.points()[2].damage
    for point in truth.points[:2]:
        assert pair.target.read_point(point, "a", 0, SIZES["a"]) == truth.image(point)["a"]
    assert pair.target.read_point(truth.points[3], "a", 7 * BLOCK, BLOCK) == pattern(103)
    with pytest.raises(DamagedBlock):
        pair.target.read_point(truth.points[3], "a", 5 * BLOCK, 1)
    for point in truth.points[1:3]:
        with pytest.raises(PointInUse):
            pair.target.merge(point)
    pair.target.merge(truth.points[0])
    for block in range(8):
        pair.disks["a"].write(block * BLOCK, pattern(200 + block))
    newest = pair.cycle().cycle
    assert pair.matches(newest)
    assert damaged(pair.target) == [False, True, True, False]


@pytest.mark.parametrize("where", ["trailer", "index", "both"])
def test_an_index_is_made_again_from_the_frames(pair: Pair, where: str) -> None:
    truth = cycles(pair, 3)
    path = layer_path(pair, truth.points[1])
    whole = path.read_bytes()
    for offset in {"trailer": (-5,), "index": (-100,), "both": (-5, -100)}[where]:
        flip(path, offset)
    pair.restart_target()
    assert damaged(pair.target) == [False] * 3
    assert path.read_bytes() == whole
    assert pair.target.read_point(truth.points[2], "a", 0, SIZES["a"]) == truth.images[2]["a"]


@pytest.mark.parametrize("offsets", [(-5,), (-40, -5, -60), (-100,), (-88 - 56 - 3,)])
def test_a_merged_layer_is_told_by_its_checksum_or_by_its_content(pair: Pair, offsets: tuple[int, ...]) -> None:
    truth = cycles(pair, 4)
    pair.target.merge(truth.points[1])
    path = layer_path(pair, truth.points[2])
    whole = path.read_bytes()
    for offset in offsets:
        flip(path, offset)
    pair.restart_target()
    assert damaged(pair.target) == [False, False, False]
    assert path.read_bytes() == whole


@pytest.mark.parametrize("offsets", [(-100, -110), (-5, -100)])
def test_a_merged_layer_has_no_second_copy_of_its_index(pair: Pair, offsets: tuple[int, ...]) -> None:
    truth = cycles(pair, 4)
    pair.target.merge(truth.points[1])
    for offset in offsets:
        flip(layer_path(pair, truth.points[2]), offset)
    pair.restart_target()
    assert damaged(pair.target) == [False, True, True]
    assert pair.target.read_point(truth.points[0], "a", 0, SIZES["a"]) == truth.images[0]["a"]


def test_a_layer_cut_short_is_not_taken_for_whole(pair: Pair) -> None:
    truth = cycles(pair, 2)
    path = layer_path(pair, truth.points[1])
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    pair.restart_target()
    assert damaged(pair.target) == [False, True]


@pytest.mark.parametrize("names", [["base.hashes"], ["base.xxh3"], ["base.raw"], ["base.hashes", "base.xxh3"]])
def test_files_of_the_base_that_went_missing_never_read_as_zeros(pair: Pair, names: list[str]) -> None:
    truth = cycles(pair, 3)
    for point in truth.points[:2]:
        pair.target.merge(point)
    pair.target.close()
    for name in names:
        (disk_folder(pair) / name).unlink()
    pair._open_target()
    if len(names) == 1 and names != ["base.raw"]:
        # The other list and the content agree.
        assert pair.target.read_point(truth.points[2], "a", 0, SIZES["a"]) == truth.images[2]["a"]
        scrub_files(pair.target)
        assert damaged(pair.target) == [False]
    else:
        with pytest.raises(DamagedBlock):
            pair.target.read_point(truth.points[2], "a", BLOCK, 1)
        scrub_files(pair.target)
        assert damaged(pair.target) == [True]


def test_a_wiped_piece_of_the_digests_never_reads_as_zeros(pair: Pair) -> None:
    truth = cycles(pair, 3)
    for point in truth.points[:2]:
        pair.target.merge(point)
    path = disk_folder(pair) / "base.hashes"
    path.write_bytes(bytes(path.stat().st_size))
    assert pair.target.read_point(truth.points[2], "a", 0, SIZES["a"]) == truth.images[2]["a"]
    assert path.read_bytes() != bytes(path.stat().st_size)


def test_an_unreadable_sector_is_damage_of_its_block_alone(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = cycles(pair, 1)
    real = os.preadv

    def failing(fd: int, buffers: list[memoryview], offset: int) -> int:
        length = sum(len(buffer) for buffer in buffers)
        if offset <= bad < offset + length and os.fstat(fd).st_ino == inode:
            raise OSError(5, "Input/output error")
        return real(fd, buffers, offset)

    path = layer_path(pair, truth.points[0])
    inode = path.stat().st_ino
    bad = path.read_bytes().index(pattern(100)) + 70
    monkeypatch.setattr(os, "preadv", failing)
    with pytest.raises(DamagedBlock):
        pair.target.read_point(truth.points[0], "a", 0, SIZES["a"])
    assert pair.target.damage == [BlockRef("a", 7)]
    assert pair.target.read_point(truth.points[0], "a", 0, BLOCK) == pattern(0)
