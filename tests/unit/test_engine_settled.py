"""What the source's own files must bear: a kill right after a commit, and files of an open cycle that went missing."""

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from secondsite.agent.lab.engine import HeadConflict
from support.engine_pair import BLOCK, Pair, pattern

SIZES = {"data": 150 * BLOCK, "system": 3 * BLOCK}


def written(pair: Pair) -> Pair:
    for block in range(150):
        pair.disks["data"].write(block * BLOCK, pattern(block))
    pair.disks["system"].write(BLOCK, b"system")
    return pair


def killed_before_the_state(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reply came, the maps are released, and the state still names the cycle."""
    change = pair.source._change

    def until_the_head(**changes: Any) -> None:
        if "head" in changes:
            raise KeyboardInterrupt
        change(**changes)

    with monkeypatch.context() as patched:
        patched.setattr(pair.source, "_change", until_the_head)
        with pytest.raises(KeyboardInterrupt):
            pair.cycle()
    pair.restart_source()


def emptied(pair: Pair, _backup: Path) -> None:
    pair.target.discard()
    pair._open_target()


def put_back(pair: Pair, backup: Path) -> None:
    pair.target.discard()
    shutil.copytree(backup, pair.folder / "target")
    pair._open_target()


def test_a_kill_after_the_commit_sends_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with written(Pair(tmp_path, SIZES)) as pair:
        killed_before_the_state(pair, monkeypatch)
        assert pair.source.head == pair.target.head
        pair.disks["data"].write(7 * BLOCK, b"since")
        result = pair.cycle()
        assert (result.blocks, result.resumed) == (1, False)
        assert pair.matches(result.cycle)


@pytest.mark.parametrize("replaced", [emptied, put_back])
def test_a_replica_that_was_replaced_meanwhile_is_a_conflict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replaced: Callable[[Pair, Path], None]
) -> None:
    with written(Pair(tmp_path, SIZES)) as pair:
        if replaced is put_back:
            pair.cycle()
            shutil.copytree(tmp_path / "target", tmp_path / "backup")
            pair.disks["data"].write(3 * BLOCK, b"written for the second point")
        killed_before_the_state(pair, monkeypatch)
        replaced(pair, tmp_path / "backup")
        with pytest.raises(HeadConflict):
            pair.cycle()
        pair.source.abandon()
        with pytest.raises(HeadConflict):
            pair.cycle()
        pair.source.compare(pair.client)
        assert pair.matches(pair.cycle().cycle)


@pytest.mark.parametrize("kind", ["saved", "digests"])
def test_a_cycle_without_its_image_is_given_up(tmp_path: Path, kind: str) -> None:
    with written(Pair(tmp_path, SIZES, rate=4 << 20)) as pair:
        stop = threading.Event()
        running = pair.start_cycle(stop)
        while not pair.source.progress().bytes_acknowledged:
            assert not running.done()
            stop.wait(0.01)
        pair.disks["data"].write(149 * BLOCK, b"over what is owed")
        stop.set()
        assert running.exception() is not None
        pair.restart_source()
        assert pair.source.open_cycle is not None
        (tmp_path / "source" / f"data.{kind}").unlink()
        pair.restart_source()
        assert pair.source.map_trusted
        assert pair.source.open_cycle is None
        pair.bucket.rate = None
        result = pair.cycle()
        assert not result.resumed
        assert pair.matches(result.cycle)
