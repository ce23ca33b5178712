"""A disk's file that is missing or too short: no map vouches for what is made in its place."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from secondsite.agent.lab.engine import MapNotTrusted, ReplicationSource, SourceDisk, Stopped
from support.engine_pair import BLOCK, Pair, pattern

SIZE = 40 * BLOCK


def shortened(path: Path) -> None:
    os.truncate(path, SIZE - 1)


def lost(path: Path) -> None:
    path.unlink()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with Pair(tmp_path, {"data": SIZE, "system": 3 * BLOCK}) as pair:
        for block in range(40):
            pair.disks["data"].write(block * BLOCK, pattern(block))
        yield pair


def harm(pair: Pair, how: Callable[[Path], None]) -> None:
    pair.source.close()
    pair.disks["data"].close()
    how(pair.folder / "data.raw")


def reopen(pair: Pair) -> None:
    pair._open_source()


@pytest.mark.parametrize("how", [shortened, lost])
def test_only_a_comparison_leads_on(pair: Pair, how: Callable[[Path], None], caplog: pytest.LogCaptureFixture) -> None:
    first = pair.cycle().cycle
    before = pair.target.read_point(first, "data", 0, SIZE)
    harm(pair, how)
    reopen(pair)
    assert not pair.source.map_trusted
    assert str(pair.folder / "data.raw") in caplog.text
    with pytest.raises(MapNotTrusted, match="the file of a disk"):
        pair.cycle()
    pair.source.compare(pair.client)
    assert pair.matches(pair.cycle().cycle)
    assert pair.target.read_point(first, "data", 0, SIZE) == before


def test_it_stays_so_after_a_kill_at_any_moment(pair: Pair) -> None:
    """The disk is opened first, and whole only once the state says that the map is not to be trusted."""
    pair.cycle()
    harm(pair, lost)
    SourceDisk(pair.folder / "data.raw", SIZE)
    pair.disks["data"] = SourceDisk(pair.folder / "data.raw", SIZE)
    assert not pair.disks["data"].whole
    reopen(pair)
    assert (pair.folder / "data.raw").stat().st_size == SIZE
    pair.restart_source(clean=True)
    assert pair.disks["data"].whole
    assert not pair.source.map_trusted


def test_an_interrupted_comparison_does_not_go_on(pair: Pair) -> None:
    pair.cycle()
    pair.source.distrust()

    def stop_at_the_second_disk(done: int, _total: int) -> None:
        if done > 40:
            raise Stopped("half way")

    with pytest.raises(Stopped):
        pair.source.compare(pair.client, progress=stop_at_the_second_disk)
    harm(pair, lost)
    reopen(pair)
    assert pair.source.compare(pair.client).blocks_different == 40


def test_a_disk_that_is_new_is_no_lost_one(tmp_path: Path) -> None:
    with Pair(tmp_path, {"data": SIZE}) as pair:
        assert (tmp_path / "data.raw").stat().st_size == SIZE
        assert pair.source.map_trusted
        pair.restart_source()
        assert pair.source.map_trusted


def test_a_disk_that_somebody_else_makes_anew(pair: Pair) -> None:
    first = pair.cycle().cycle
    harm(pair, lost)
    root = pair.folder / "source"
    ReplicationSource.distrust_at(root)
    (pair.folder / "data.raw").write_bytes(bytes(SIZE))
    reopen(pair)
    with pytest.raises(MapNotTrusted):
        pair.cycle()
    assert pair.source.head == first
    ReplicationSource.distrust_at(pair.folder / "nothing")
