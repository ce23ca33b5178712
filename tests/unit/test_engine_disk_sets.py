"""Disks that come and go under a running replication: each point has those that the VM had."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from secondsite.agent.lab.engine import (
    EngineError,
    MapNotTrusted,
    PeerRefused,
    change_disks,
    fail_over,
    prepare_promotion,
    promote,
)
from secondsite.agent.lab.engine.check import fsck
from secondsite.agent.lab.engine.primary import disk_sets
from secondsite.agent.lab.engine.replica.catalogue import Committed, Event
from secondsite.agent.lab.engine.replica.core import StoreCore
from support.engine_pair import BLOCK, Pair, pattern

SIZES = {"a": 40 * BLOCK, "b": 30 * BLOCK + 512, "c": 20 * BLOCK}


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with Pair(tmp_path, {"a": SIZES["a"], "b": SIZES["b"]}) as found:
        found.disks["a"].write(0, pattern(1))
        found.disks["b"].write(5 * BLOCK, pattern(2))
        found.cycle()
        yield found


def choose(pair: Pair, *names: str) -> None:
    """Replicate these disks from now on."""
    pair.source.close()
    for disk in pair.disks.values():
        disk.close()
    pair.sizes = {name: SIZES[name] for name in names}
    for name, size in pair.sizes.items():
        # The disks of a VM are there before they are replicated.
        if not (file := pair.folder / f"{name}.raw").exists() or file.stat().st_size < size:
            with file.open("ab") as grown:
                grown.truncate(size)
    change_disks(pair.folder / "source", pair.sizes)
    pair._open_source()


def images(pair: Pair) -> dict[str, bytes]:
    return {name: disk.read(0, disk.size) for name, disk in pair.disks.items()}


def points(pair: Pair) -> dict[str, dict[str, bytes]]:
    """Every disk of every point, as it is read from the replica."""
    return {
        point.id: {
            name: pair.target.read_point(point.id, name, 0, size)
            for name, size in pair.target.disks_at(point.id).items()
        }
        for point in pair.target.points()
    }


def test_a_disk_that_comes_is_sent_whole_and_older_points_know_nothing_of_it(pair: Pair) -> None:
    before = points(pair)
    pair.disks["a"].write(3 * BLOCK, pattern(3))
    (pair.folder / "c.raw").write_bytes(pattern(7) * 20)
    choose(pair, "a", "b", "c")
    result = pair.cycle()
    assert result.blocks == 20 + 1
    assert points(pair) == before | {result.cycle: images(pair)}
    assert pair.target.disks == pair.sizes
    pair.disks["c"].write(0, pattern(9))
    assert pair.cycle().blocks == 1
    with pytest.raises(KeyError):
        pair.target.read_point(next(iter(before)), "c", 0, 1)


def test_a_disk_that_goes_stays_in_older_points_and_vanishes_with_the_last_of_them(pair: Pair) -> None:
    before = points(pair)
    choose(pair, "a")
    first = pair.cycle().cycle
    pair.disks["a"].write(0, pattern(4))
    second = pair.cycle().cycle
    assert {point: set(disks) for point, disks in points(pair).items()} == {
        **{point: {"a", "b"} for point in before},
        first: {"a"},
        second: {"a"},
    }
    assert points(pair) | before == points(pair)
    folder = pair.folder / "target" / "disks" / "b"
    assert folder.is_dir()
    for point in before:
        pair.target.merge(point)
    assert not folder.exists()
    pair.restart_target()
    assert points(pair)[second] == images(pair)


def test_a_disk_that_comes_back_shows_nothing_of_what_it_was(pair: Pair) -> None:
    choose(pair, "a")
    pair.cycle()
    (pair.folder / "b.raw").unlink()
    choose(pair, "a", "b")
    pair.disks["b"].write(BLOCK, pattern(8))
    before = points(pair)
    result = pair.cycle()
    assert points(pair) == before | {result.cycle: images(pair)}


def test_a_change_that_is_taken_back_before_its_cycle_is_none(pair: Pair) -> None:
    choose(pair, "a", "c")
    choose(pair, "a", "b")
    result = pair.cycle()
    assert points(pair)[result.cycle] == images(pair)
    assert pair.target.disks == pair.sizes


def test_a_cycle_that_was_open_is_given_up_and_what_it_held_is_owed(pair: Pair) -> None:
    pair.disks["a"].write(7 * BLOCK, pattern(5))
    pair.source._open_cycle(None)
    choose(pair, "a", "b", "c")
    result = pair.cycle()
    assert not result.resumed
    assert points(pair)[result.cycle] == images(pair)


def test_another_size_is_refused_at_both_sides(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.source.close()
    with pytest.raises(EngineError, match="sizes of disks cannot change"):
        change_disks(pair.folder / "source", {"a": SIZES["a"] + BLOCK, "b": SIZES["b"]})
    with pytest.raises(EngineError, match="sizes of disks cannot change"):
        change_disks(pair.folder / "source", {})
    change_disks(pair.folder / "elsewhere", {"a": 1})
    choose(pair, "a")
    pair.cycle()
    monkeypatch.setitem(SIZES, "b", SIZES["b"] + BLOCK)
    choose(pair, "a", "b")
    with pytest.raises(PeerRefused, match="recovery points here have it"):
        pair.cycle()


def test_a_kill_in_the_middle_of_a_change_is_repeated(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {name: SIZES[name] for name in ("a", "c")}
    pair.source.close()
    with monkeypatch.context() as patch:
        patch.setattr(disk_sets, "save_state", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            change_disks(pair.folder / "source", wanted)
    for disk in pair.disks.values():
        disk.close()
    pair._open_source()
    assert pair.source.map_trusted
    choose(pair, "a", "c")
    result = pair.cycle()
    assert points(pair)[result.cycle] == images(pair)


def test_a_kill_of_the_replica_right_before_the_commit_of_a_change(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    before = points(pair)
    choose(pair, "a", "c")
    log = StoreCore.log

    def dies(core: StoreCore, event: Event) -> None:
        if isinstance(event, Committed):
            raise OSError("killed")
        log(core, event)

    with monkeypatch.context() as patch:
        patch.setattr(StoreCore, "log", dies)
        with pytest.raises((PeerRefused, OSError)):
            pair.cycle()
    pair.restart_target()
    assert points(pair) == before
    result = pair.cycle()
    pair.restart_target()
    assert points(pair) == before | {result.cycle: images(pair)}


def test_clones_of_older_points_have_the_older_disks_and_a_failover_too(pair: Pair) -> None:
    (old,) = points(pair)
    choose(pair, "a")
    pair.cycle()
    clone = pair.target.clone(old, "test")
    assert set(clone.disks) == {"a", "b"}
    clone.close()
    pair.target.close()
    assert fsck.check(pair.folder / "target").clean
    pair._open_target()
    promoted = fail_over(pair.target, old, "test", 2)
    assert set(promoted.disks) == {"a", "b"}
    promoted.close()


@pytest.mark.parametrize("seed", range(6))
def test_any_order_of_changes_cycles_kills_and_merges(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    truth: dict[str, dict[str, bytes]] = {}
    with Pair(tmp_path, {"a": SIZES["a"]}) as pair:
        for step in range(40):
            match chance.choice(["write", "write", "cycle", "cycle", "change", "source", "target", "merge"]):
                case "write":
                    disk = pair.disks[chance.choice(sorted(pair.disks))]
                    disk.write(chance.randrange(disk.size // BLOCK) * BLOCK, pattern(step + 1))
                case "cycle":
                    truth[pair.cycle().cycle] = images(pair)
                case "change":
                    choose(pair, "a", *chance.sample(["b", "c"], chance.randrange(3)))
                case "source":
                    pair.restart_source(clean=chance.random() < 0.5)
                case "target":
                    pair.restart_target()
                case "merge" if len(found := pair.target.points()) > 1:
                    pair.target.merge(chance.choice(found[:-1]).id)
            there = points(pair)
            assert there == {point: truth[point] for point in there}
        pair.target.close()
        assert fsck.check(tmp_path / "target").clean
        pair._open_target()


def test_a_map_lost_after_a_change_is_made_again_by_a_comparison(pair: Pair) -> None:
    choose(pair, "a", "c")
    pair.disks["c"].write(3 * BLOCK, pattern(6))
    pair.source.distrust()
    with pytest.raises(MapNotTrusted):
        pair.cycle()
    assert pair.source.compare(pair.client).blocks_compared == 40
    before = points(pair)
    result = pair.cycle()
    assert result.blocks == 20
    assert points(pair) == before | {result.cycle: images(pair)}


@pytest.mark.parametrize("older", [False, True])
def test_a_promotion_takes_the_disks_of_its_point_and_leaves_nothing_behind(pair: Pair, older: bool) -> None:
    (old,) = points(pair)
    choose(pair, "a")
    pair.disks["a"].write(0, pattern(11))
    new = pair.cycle().cycle
    point = old if older else new
    truth = points(pair)[point]
    fail_over(pair.target, point, "clone", 2).close()
    prepare_promotion(pair.target)
    paths = {name: pair.folder / f"promoted-{name}.raw" for name in truth}
    promote(pair.target, pair.folder / "tracking", paths, prepared=True)
    assert {name: path.read_bytes() for name, path in paths.items()} == truth
    assert not (pair.folder / "target" / "disks").exists()
