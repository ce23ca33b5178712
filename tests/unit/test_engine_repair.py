"""Damaged blocks mended: by the store itself where it can, from the other side where that still holds them."""

import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from secondsite.agent.lab.engine import BlockRef, PeerRefused
from secondsite.agent.lab.engine.port.frames import build_frame, cycle_digest
from secondsite.agent.lab.engine.primary.mending import repair_digest
from secondsite.agent.lab.engine.replica.layer import Layer
from secondsite.wire.peer import Repaired
from support.engine_damage import (
    SIZES,
    Truth,
    cycles,
    damage_block,
    damaged,
    disk_folder,
    flip,
    layer_path,
    scrub_files,
)
from support.engine_pair import BLOCK, Pair, pattern


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with Pair(tmp_path, SIZES) as pair:
        yield pair


def all_true(pair: Pair, truth: Truth) -> bool:
    return all(
        pair.target.read_point(point, name, 0, size) == truth.image(point)[name]
        for point in truth.points
        for name, size in SIZES.items()
    )


def test_the_next_cycle_brings_a_damaged_block_again(pair: Pair) -> None:
    truth = cycles(pair, 3)
    before = layer_path(pair, truth.points[1]).read_bytes()
    damage_block(pair, truth.points[1], 1)
    scrub_files(pair.target)
    assert pair.target.status().wanted == {"a": (1,)}
    pair.cycle()
    assert pair.target.status().wanted == {}
    assert damaged(pair.target) == [False] * 4
    assert layer_path(pair, truth.points[1]).read_bytes() == before
    assert all_true(pair, truth)
    pair.restart_target()
    assert damaged(pair.target) == [False] * 4


def test_the_base_is_mended_from_the_other_side_too(pair: Pair) -> None:
    truth = cycles(pair, 3)
    pair.target.merge(truth.points[0])
    truth.forget(truth.points[0])
    flip(disk_folder(pair) / "base.raw", 17)
    scrub_files(pair.target)
    assert damaged(pair.target) == [True, True]
    pair.cycle()
    assert damaged(pair.target) == [False] * 3
    assert all_true(pair, truth)


def test_what_the_guest_changed_since_stays_damaged_and_is_offered_once(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    offers: list[str] = []
    repair = pair.target.repair

    def counted(disk: str, blocks: Iterable[tuple[int, memoryview | bytes]]) -> int:
        offers.append(disk)
        return repair(disk, blocks)

    monkeypatch.setattr(pair.target, "repair", counted)
    truth = cycles(pair, 2)
    damage_block(pair, truth.points[0], 0)
    scrub_files(pair.target)
    pair.disks["a"].write(0, pattern(77))
    pair.cycle()
    assert damaged(pair.target) == [True, True, False]
    assert pair.target.status().wanted == {"a": (0,)}
    assert offers == ["a"]
    pair.cycle()
    assert offers == ["a"]
    # Back again, as a guest may: now it fits.
    pair.disks["a"].write(0, pattern(0))
    pair.cycle()
    assert damaged(pair.target) == [False] * 5
    assert all_true(pair, truth)


def test_a_block_damaged_twice_is_mended_twice(pair: Pair) -> None:
    truth = cycles(pair, 2)
    for _ in range(2):
        damage_block(pair, truth.points[0], 0)
        scrub_files(pair.target)
        pair.cycle()
        assert not any(damaged(pair.target))
        pair.cycle()
    assert all_true(pair, truth)


def test_a_block_that_is_zero_now_was_not_what_is_missing(pair: Pair) -> None:
    truth = cycles(pair, 2)
    damage_block(pair, truth.points[0], 0)
    scrub_files(pair.target)
    pair.disks["a"].write(0, bytes(BLOCK))
    point = pair.cycle().cycle
    assert pair.target.read_point(point, "a", 0, BLOCK) == bytes(BLOCK)
    assert damaged(pair.target) == [True, True, False]


def test_the_store_mends_from_another_layer_of_its_own(pair: Pair) -> None:
    truth = cycles(pair, 2)
    pair.disks["b"].write(0, pattern(0) + b"x")
    pair.disks["a"].write(5 * BLOCK, pattern(0))
    pair.cycle()
    damage_block(pair, truth.points[0], 0)
    assert pair.target.read_point(truth.points[0], "a", 0, BLOCK) == pattern(0)
    assert damaged(pair.target) == [False] * 3
    assert scrub_files(pair.target).damaged == 0


@pytest.mark.parametrize("name", ["base.hashes", "base.xxh3"])
def test_a_damaged_digest_of_the_base_is_outvoted(pair: Pair, name: str) -> None:
    truth = cycles(pair, 3)
    pair.target.merge(truth.points[0])
    truth.forget(truth.points[0])
    path = disk_folder(pair) / name
    before = path.read_bytes()
    for byte in (0, 16 * 4 + 3, 16 * 7):
        flip(path, byte)
    assert all_true(pair, truth)
    result = scrub_files(pair.target)
    assert result.damaged == 0
    assert path.read_bytes() == before


def test_a_scrub_puts_index_trailer_and_frame_heads_right(pair: Pair) -> None:
    truth = cycles(pair, 2)
    path = layer_path(pair, truth.points[0])
    before = path.read_bytes()
    for offset in (-3, -100, 5, 70):
        flip(path, offset)
    assert scrub_files(pair.target).mended > 0
    assert path.read_bytes() == before


def test_nothing_is_taken_that_does_not_fit(pair: Pair) -> None:
    truth = cycles(pair, 2)
    damage_block(pair, truth.points[0], 0)
    scrub_files(pair.target)
    content = layer_path(pair, truth.points[0]).read_bytes()
    assert offer(pair, {0: pattern(50), 3: pattern(3)}) == 0
    assert layer_path(pair, truth.points[0]).read_bytes() == content
    assert offer(pair, {0: pattern(0)}) == 1
    assert all_true(pair, truth)


def test_frames_of_a_cycle_and_unknown_disks_are_refused(pair: Pair) -> None:
    cycles(pair, 1)
    with pytest.raises(PeerRefused, match="UnknownDisk"):
        offer(pair, {0: pattern(0)}, disk="c")
    with pytest.raises(Exception, match="belongs to another"):
        offer(pair, {0: pattern(0)}, named=cycle_digest("x"))


def offer(pair: Pair, blocks: dict[int, bytes], disk: str = "a", named: bytes | None = None) -> int:
    frame = build_frame(
        np.array(sorted(blocks), dtype=np.int64),
        memoryview(bytearray(b"".join(blocks[block] for block in sorted(blocks)))),
        sequence=0,
        generation=0,
        cycle=named or repair_digest("vm", disk),
    )
    with pair.client.session() as peer:
        stream = peer.put_repairs("vm", disk)
        stream.send(frame, pair.bucket, threading.Event(), lambda *_: None)
        return stream.end(Repaired).blocks


def test_a_repair_is_seen_by_a_clone_that_is_open(pair: Pair) -> None:
    truth = cycles(pair, 2)
    damage_block(pair, truth.points[0], 0)
    clone = pair.target.clone(truth.points[1], "c")
    scrub_files(pair.target)
    pair.cycle()
    assert clone.read("a", 0, SIZES["a"]) == truth.images[1]["a"]
    clone.close()


def test_damage_is_asked_for_newest_first(pair: Pair) -> None:
    truth = cycles(pair, 3)
    for point, block in zip(truth.points, (0, 1, 2), strict=True):
        damage_block(pair, point, block)
    scrub_files(pair.target)
    assert pair.target.damage == [BlockRef("a", block) for block in range(3)]
    assert pair.target.status().wanted == {"a": (0, 1, 2)}
    assert Layer(layer_path(pair, truth.points[0])).lost == ""
