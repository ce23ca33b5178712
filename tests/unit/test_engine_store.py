"""The replica's points: each the VM as it was, merged, restarted, damaged, discarded."""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from secondsite.agent.lab.engine import BlockRef, CycleKind, DamagedBlock, StoreLocked, TargetStore, UnknownPoint
from secondsite.agent.lab.engine.replica import core
from secondsite.agent.lab.engine.replica.layer import Layer
from support.engine_pair import BLOCK, Pair, pattern
from support.engine_points import SIZES, cycles, image


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with Pair(tmp_path, SIZES) as pair:
        yield pair


def test_each_point_is_the_vm_as_it_was(pair: Pair) -> None:
    points, images = cycles(pair, 4)
    assert [image(pair.target, point) for point in points] == images
    described = pair.target.points()
    assert [point.id for point in described] == points == [point.id for point in pair.committed]
    assert [point.kind for point in described] == [CycleKind.Initial, *[CycleKind.Delta] * 3]
    assert [(b.freeze_time - a.freeze_time).total_seconds() for a, b in pairwise(described)] == [60.0] * 3
    assert pair.target.head == points[-1]
    assert pair.target.disks == SIZES


def test_everything_is_there_after_a_restart(pair: Pair) -> None:
    points, images = cycles(pair, 3)
    before = pair.target.points()
    pair.restart_target()
    assert pair.target.points() == before
    assert [image(pair.target, point) for point in points] == images


def test_merging_takes_a_point_away_and_leaves_the_others_as_they_were(pair: Pair) -> None:
    points, images = cycles(pair, 5)
    wanted = dict(zip(points, images, strict=True))
    for gone in (points[2], points[0], points[1]):
        pair.target.merge(gone)
        del wanted[gone]
        assert {point.id: image(pair.target, point.id) for point in pair.target.points()} == wanted
        with pytest.raises(UnknownPoint):
            pair.target.read_point(gone, "a", 0, 1)
    pair.restart_target()
    assert {point.id: image(pair.target, point.id) for point in pair.target.points()} == wanted
    layers = sorted(path.stem for path in (pair.folder / "target/disks/a/layers").iterdir())
    assert layers == sorted(wanted)


def test_a_merged_layer_says_what_it_holds(pair: Pair) -> None:
    points, _ = cycles(pair, 3)
    pair.target.merge(points[1])
    layers = [Layer(pair.folder / "target/disks" / name / "layers" / f"{points[2]}.lay") for name in SIZES]
    assert layers[0].index["block"].tolist() == [1, 2, 7]
    assert pair.target.points()[-1].bytes == sum(layer.bytes for layer in layers)


def test_zero_blocks_overwrite_data_through_layers_and_base(pair: Pair) -> None:
    pair.disks["a"].write(0, pattern(1, 3 * BLOCK))
    first = pair.cycle().cycle
    pair.disks["a"].write(BLOCK, bytes(BLOCK))
    second = pair.cycle().cycle
    third = pair.cycle().cycle
    assert pair.target.read_point(second, "a", 0, 3 * BLOCK) == pair.disks["a"].read(0, 3 * BLOCK)
    pair.target.merge(first)
    pair.target.merge(second)
    assert pair.matches(third)
    base = (pair.folder / "target/disks/a/base.raw").read_bytes()
    assert base == pair.disks["a"].read(0, 8 * BLOCK)


def damage(path: Path, position: int) -> None:
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)
        file.seek(position)
        file.write(bytes([byte[0] ^ 1]))


def test_a_damaged_block_is_reported_and_never_served(pair: Pair) -> None:
    points, images = cycles(pair, 3)
    path = pair.folder / "target/disks/a/layers" / f"{points[1]}.lay"
    layer = Layer(path)
    damage(path, int(layer.index["offset"][0]) + 5)
    assert layer.index["block"][0] == 1
    with pytest.raises(DamagedBlock) as caught:
        pair.target.read_point(points[1], "a", BLOCK + 100, 1)
    assert (caught.value.point, caught.value.disk, caught.value.block) == (points[1], "a", 1)
    assert pair.target.read_point(points[1], "a", 7 * BLOCK, BLOCK) == pattern(101)
    assert pair.target.scrub(points[1]) == [BlockRef("a", 1)]
    assert pair.target.scrub(points[0]) == []
    # The newer point sees the same block.
    assert [point.damaged for point in pair.target.points()] == [False, True, True]
    clone = pair.target.clone(points[1], "c")
    with pytest.raises(DamagedBlock):
        clone.write("a", BLOCK, b"x")
    clone.close()
    with pytest.raises(DamagedBlock):
        pair.target.materialise(points[2], "a", pair.folder / "out")
    pair.restart_target()
    # The newer point sees the same block.
    assert [point.damaged for point in pair.target.points()] == [False, True, True]
    assert image(pair.target, points[0]) == images[0]


def test_damage_does_not_become_truth_by_merging(pair: Pair) -> None:
    points, _ = cycles(pair, 4)
    for merged in (points[0], points[1]):
        path = pair.folder / "target/disks/a/layers" / f"{merged}.lay"
        damage(path, int(Layer(path).index["offset"][0]))
        pair.target.merge(merged)
    assert pair.target.scrub(points[2]) == [BlockRef("a", 0), BlockRef("a", 1)]


def test_materialise_is_whole_and_sparse(pair: Pair, tmp_path: Path) -> None:
    pair.disks["a"].write(5 * BLOCK + 7, b"lonely")
    point = pair.cycle().cycle
    for name, size in SIZES.items():
        pair.target.materialise(point, name, tmp_path / name)
        assert (tmp_path / name).read_bytes() == pair.disks[name].read(0, size)
    assert (tmp_path / "a").stat().st_blocks * 512 <= 2 * BLOCK


def test_a_store_is_open_once(pair: Pair) -> None:
    with pytest.raises(StoreLocked):
        TargetStore(pair.folder / "target", "vm")


def test_a_discarded_replica_is_gone_and_can_begin_anew(pair: Pair) -> None:
    cycles(pair, 2)
    pair.target.discard()
    assert not TargetStore.exists(pair.folder / "target")
    assert not (pair.folder / "target").exists()
    pair._open_target()
    assert pair.target.points() == []
    pair.source.discard()
    pair._open_source()
    assert pair.cycle().kind is CycleKind.Initial


def test_the_log_stays_short_however_much_happens(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    points, images = cycles(pair, 2)
    log = pair.folder / "target/catalog.log"

    def come_and_go(times: int) -> int:
        for _ in range(times):
            pair.target.clone(points[0], "c").close()
            pair.target.drop_clone("c")
        return len(log.read_bytes().splitlines())

    long = come_and_go(100)
    monkeypatch.setattr(core, "_SPARE_EVENTS", 20)
    pair.restart_target()
    assert len(log.read_bytes().splitlines()) < 10 < long
    assert come_and_go(100) < 30
    pair.restart_target()
    assert [image(pair.target, point) for point in points] == images


def test_a_scrub_beside_a_commit_costs_the_catalogue_no_line(pair: Pair) -> None:
    points, _ = cycles(pair, 1)
    done = threading.Event()

    def scrub() -> None:
        while not done.is_set():
            pair.target.scrub(points[0])

    with ThreadPoolExecutor(1) as pool:
        scrubbing = pool.submit(scrub)
        try:
            made = [pair.cycle().cycle for _ in range(20)]
        finally:
            done.set()
        scrubbing.result()
    pair.restart_target()
    assert [point.id for point in pair.target.points()] == points + made


def test_what_the_catalogue_does_not_name_is_removed(pair: Pair) -> None:
    points, _ = cycles(pair, 2)
    folder = pair.folder / "target"
    strays = [folder / "disks/a/layers/x.lay", folder / "disks/a/incoming/x.part", folder / "clones/x/a.raw"]
    for stray in strays:
        stray.parent.mkdir(exist_ok=True)
        stray.write_bytes(os.urandom(100))
    pair.restart_target()
    assert not any(stray.exists() for stray in strays)
    assert pair.matches(points[1])


def test_layers_of_random_points_read_like_the_disk(pair: Pair) -> None:
    random = np.random.default_rng(7)
    images = {}
    for _ in range(12):
        for _ in range(int(random.integers(0, 4))):
            offset = int(random.integers(0, SIZES["a"] - 2 * BLOCK))
            pair.disks["a"].write(offset, random.bytes(int(random.integers(1, 2 * BLOCK))))
        images[pair.cycle().cycle] = pair.disks["a"].read(0, SIZES["a"])
    while len(images) > 1:
        gone = list(images)[int(random.integers(0, len(images) - 1))]
        pair.target.merge(gone)
        del images[gone]
        for point, expected in images.items():
            offset = int(random.integers(0, SIZES["a"] - 1000))
            assert pair.target.read_point(point, "a", offset, 1000) == expected[offset : offset + 1000]
    assert pair.matches(next(iter(images)))
