"""Comparing the disks with the replica: the way back without a map, and without giving up a point."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from secondsite.agent.lab.engine import CycleKind, HashBasis, HeadConflict, Stopped
from secondsite.agent.lab.engine.blocks import Blocks
from secondsite.agent.lab.engine.primary import compare as comparing
from secondsite.agent.lab.engine.primary.bookmark import Bookmark
from secondsite.agent.lab.engine.primary.tracker import DiskTracker
from secondsite.wire.peer import MAX_PAGE_BLOCKS
from support.engine_compared import BLOCKS, STEP, lose_map, replicated_pair, write
from support.engine_pair import BLOCK, Pair, pattern


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    with replicated_pair(tmp_path, monkeypatch) as pair:
        yield pair


@pytest.mark.parametrize("basis", list(HashBasis))
def test_the_lost_map_is_found_again_and_every_point_stays(pair: Pair, basis: HashBasis) -> None:
    write(pair, 3, 600)
    points = [pair.source.head, pair.cycle().cycle]
    write(pair, 0, 64, 255, 256, 512, 1099)
    pair.disks["a"].write(10 * BLOCK, bytes(BLOCK))
    pair.disks["a"].write(BLOCKS * BLOCK + 4000, b"end")
    pair.disks["b"].write(99 * BLOCK, b"b")
    lose_map(pair)
    told: list[tuple[int, int]] = []
    result = pair.source.compare(pair.client, basis=basis, progress=lambda done, total: told.append((done, total)))
    total = BLOCKS + 1 + 100
    assert (result.blocks_compared, result.blocks_different) == (total, 9)
    assert told[-1] == (total, total)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    cycle = pair.cycle()
    assert (cycle.kind, cycle.blocks) == (CycleKind.Delta, 9)
    assert [point.id for point in pair.target.points()] == [*points, cycle.cycle]
    assert pair.matches(cycle.cycle)


def test_marks_that_rest_on_nothing_send_nothing(pair: Pair) -> None:
    """The map of a host that crashed is not read: what equals the replica is not sent, marked or not."""
    pair.disks["a"].write(9 * BLOCK, pattern(9))
    write(pair, 5)
    pair.source.distrust()
    assert pair.source.compare(pair.client).blocks_different == 1
    assert pair.cycle().blocks == 1


@pytest.mark.parametrize("basis", list(HashBasis))
def test_a_disk_of_several_pages(tmp_path: Path, basis: HashBasis) -> None:
    """With the real sizes of steps and pages: 4 GiB of a disk are one page of stored hashes."""
    blocks = (0, 1023, 1024, 4095, 4096, MAX_PAGE_BLOCKS - 1, MAX_PAGE_BLOCKS, MAX_PAGE_BLOCKS + 5000)
    with Pair(tmp_path, {"a": (MAX_PAGE_BLOCKS + 5001) * BLOCK}) as pair:
        pair.disks["a"].write(7 * BLOCK, pattern(7))
        pair.cycle()
        write(pair, *blocks)
        lose_map(pair)
        assert pair.source.compare(pair.client, basis=basis).blocks_different == len(blocks)
        cycle = pair.cycle()
        assert cycle.blocks == len(blocks)
        for block in (7, *blocks):
            found = pair.target.read_point(cycle.cycle, "a", block * BLOCK, BLOCK)
            assert found == pair.disks["a"].read(block * BLOCK, BLOCK)


def test_it_finds_nothing_where_nothing_differs(pair: Pair) -> None:
    lose_map(pair)
    assert pair.source.compare(pair.client).blocks_different == 0
    assert pair.cycle().blocks == 0


def test_it_is_the_way_back_from_a_replica_without_common_point(pair: Pair) -> None:
    pair.source._change(head="somebody-elses")
    write(pair, 7)
    with pytest.raises(HeadConflict):
        pair.cycle()
    pair.source.compare(pair.client)
    assert pair.source.head == pair.target.head
    assert pair.matches(pair.cycle().cycle)
    assert len(pair.target.points()) == 2


def test_an_empty_replica_gets_an_initial_copy(pair: Pair) -> None:
    pair.target.discard()
    pair.restart_target()
    with pytest.raises(HeadConflict):
        pair.cycle()
    assert pair.source.compare(pair.client).blocks_compared == 0
    cycle = pair.cycle()
    assert cycle.kind is CycleKind.Initial
    assert pair.matches(cycle.cycle)


def test_the_open_cycle_is_given_up_and_its_blocks_stay_owed(pair: Pair) -> None:
    write(pair, 7)
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        pair.cycle(stop)
    assert pair.source.open_cycle is not None
    write(pair, 8)
    pair.source.compare(pair.client)
    assert pair.source.open_cycle is None
    cycle = pair.cycle()
    assert cycle.blocks == 2
    assert pair.matches(cycle.cycle)


def test_a_damaged_block_is_sent_anew_when_the_replica_reads(pair: Pair) -> None:
    path = pair.folder / "target" / "disks" / "a" / "layers" / f"{pair.source.head}.lay"
    stored = bytearray(path.read_bytes())
    stored[stored.index(pattern(50)) + 1000] ^= 1
    path.write_bytes(bytes(stored))
    assert pair.source.compare(pair.client, basis=HashBasis.Read).blocks_different == 1
    assert pair.matches(pair.cycle().cycle)


def test_writes_before_and_behind_the_comparison_are_sent(pair: Pair) -> None:
    """And nothing else: one that was compared already, one that is compared with its new content."""
    lose_map(pair)

    def told(done: int, _total: int) -> None:
        if done == 10 * STEP:
            write(pair, 5, 600)

    assert pair.source.compare(pair.client, progress=told).blocks_different == 1
    cycle = pair.cycle()
    assert cycle.blocks == 2
    assert pair.matches(cycle.cycle)


class BusyGuest(threading.Thread):
    """Writes to random blocks until it is told to stop; `wrote` counts."""

    def __init__(self, pair: Pair, seed: int) -> None:
        super().__init__()
        self._disk = pair.disks["a"]
        self._random = np.random.default_rng(seed)
        self.stop = threading.Event()
        self.wrote = 0
        self.some = threading.Event()

    def run(self) -> None:
        while not self.stop.is_set():
            block = int(self._random.integers(0, BLOCKS))
            self._disk.write(block * BLOCK + 512, pattern(int(self._random.integers(0, 60000)), 8192))
            self.wrote += 1
            if self.wrote >= 50:
                self.some.set()


@pytest.mark.parametrize("basis", list(HashBasis))
def test_a_guest_may_write_meanwhile(pair: Pair, basis: HashBasis) -> None:
    for seed in range(3):
        write(pair, *range(seed, 120, 7), seed=seed * 1000)
        lose_map(pair)
        guest = BusyGuest(pair, seed)
        guest.start()
        try:
            assert guest.some.wait(30)
            pair.source.compare(pair.client, basis=basis)
        finally:
            guest.stop.set()
            guest.join()
        cycle = pair.cycle()
        assert pair.matches(cycle.cycle)


def mark_nothing_in_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    real = DiskTracker.mark

    def mark(self: DiskTracker, blocks: Blocks) -> None:
        real(self, blocks[(blocks < 576) | (blocks >= 640)])

    monkeypatch.setattr(DiskTracker, "mark", mark)


def read_no_holes_that_were_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secondsite.agent.lab.engine.primary.disk_scan.data_extents", lambda *_: [(0, 64 * BLOCK)])


def move_before_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bookmark, "find", lambda _self, _subject: 640)


def test_a_comparison_that_took_marks_back_would_be_caught(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    real = comparing.Comparison._compare_with

    def compared(self: comparing.Comparison, head: str) -> None:
        real(self, head)
        for tracker in pair.source.trackers.values():
            tracker.forget()

    monkeypatch.setattr(comparing.Comparison, "_compare_with", compared)
    with pytest.raises(AssertionError):
        test_writes_before_and_behind_the_comparison_are_sent(pair)


@pytest.mark.parametrize("mutant", [mark_nothing_in_one_step, read_no_holes_that_were_filled, move_before_mark])
def test_a_broken_comparison_would_be_caught(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, mutant: Callable[[pytest.MonkeyPatch], None]
) -> None:
    """The measure of the tests above: each of these mutants leaves a point that does not match."""
    write(pair, 5, 600, 900)
    lose_map(pair)
    mutant(monkeypatch)
    pair.source.compare(pair.client)
    assert not pair.matches(pair.cycle().cycle)
