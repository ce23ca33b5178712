"""The files of a clone: one that is missing is not read as zeros or as the point, and what a write costs."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from secondsite.agent.lab.engine import StoreDamaged
from secondsite.agent.lab.engine.check import fsck
from secondsite.agent.lab.engine.replica import clone as module
from secondsite.agent.lab.engine.replica.clone import written_blocks
from support.engine_damage import SIZES, cycles, damage_block
from support.engine_pair import BLOCK, Pair, pattern


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with Pair(tmp_path, SIZES) as pair:
        yield pair


def folder(pair: Pair) -> Path:
    return pair.folder / "target/clones/c"


@pytest.mark.parametrize("name", ["a.map", "a.raw", "b.map", "b.raw"])
def test_a_missing_file_is_found_and_its_clone_does_not_open(pair: Pair, name: str) -> None:
    point = cycles(pair, 1).points[0]
    clone = pair.target.clone(point, "c")
    clone.write("a", 0, b"a guest's own")
    clone.close()
    pair.target.close()
    assert fsck.check(pair.folder / "target").clean
    (folder(pair) / name).unlink()
    (finding,) = fsck.check(pair.folder / "target").findings
    assert (finding.where, finding.what) == (folder(pair) / name, "the file is missing")
    pair._open_target()
    with pytest.raises(StoreDamaged, match=f"{name} is missing"):
        pair.target.open_clone("c")
    pair.target.drop_clone("c")
    pair.target.clone(point, "c").close()


def test_a_promotion_does_not_take_a_lost_map_for_an_idle_guest(pair: Pair) -> None:
    clone = pair.target.clone(cycles(pair, 1).points[0], "c")
    clone.write("a", 0, b"a guest's own")
    clone.close()
    assert written_blocks(folder(pair), "a").tolist() == [0]
    (folder(pair) / "a.map").unlink()
    with pytest.raises(FileNotFoundError):
        written_blocks(folder(pair), "a")


def test_all_files_are_there_before_the_catalogue_names_the_clone(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    point = cycles(pair, 1).points[0]

    def killed(_event: object) -> None:
        assert sorted(path.name for path in folder(pair).iterdir()) == ["a.map", "a.raw", "b.map", "b.raw"]
        raise OSError(5, "killed here")

    with monkeypatch.context() as patched:
        patched.setattr(pair.target.core, "log", killed)
        with pytest.raises(OSError, match="killed here"):
            pair.target.clone(point, "c")
    pair.restart_target()
    assert list((pair.folder / "target/clones").iterdir()) == []


def test_only_the_first_touch_of_a_block_copies_and_syncs(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    clone = pair.target.clone(cycles(pair, 8).points[-1], "c")
    calls: list[tuple[str, int]] = []

    def fdatasync(fd: int) -> None:
        calls.append(("sync", 0))
        os.fdatasync(fd)

    def write_all(fd: int, content: memoryview, offset: int) -> None:
        calls.append(("write", len(content)))
        os.pwrite(fd, content, offset)

    watched: Any = SimpleNamespace(**{name: getattr(os, name) for name in dir(os) if not name.startswith("__")})
    watched.fdatasync = fdatasync
    monkeypatch.setattr(module, "os", watched)
    monkeypatch.setattr(module, "write_all", write_all)
    clone.write("a", 2 * BLOCK + 4096, pattern(50, 4096))
    assert calls == [("write", BLOCK), ("write", 4096), ("sync", 0)]
    calls.clear()
    clone.write("a", 2 * BLOCK + 8192, pattern(51, 4096))
    assert calls == [("write", 4096)]
    expected = bytearray(pattern(2))
    expected[4096:12288] = pattern(50, 4096) + pattern(51, 4096)
    assert clone.read("a", 2 * BLOCK, BLOCK) == bytes(expected)
    # Over the end of what is its own, into blocks that are not.
    clone.write("a", 3 * BLOCK - 100, pattern(52, BLOCK + 200))
    image = pattern(2) + pattern(3) + pattern(4)
    whole = bytearray(image)
    whole[:BLOCK] = expected
    whole[BLOCK - 100 : 2 * BLOCK + 100] = pattern(52, BLOCK + 200)
    assert clone.read("a", 2 * BLOCK, 3 * BLOCK) == bytes(whole)
    clone.close()


def test_a_damaged_block_in_the_middle_of_a_write_need_not_be_readable(pair: Pair) -> None:
    point = cycles(pair, 4).points[-1]
    clone = pair.target.clone(point, "c")
    damage_block(pair, pair.target.points()[2].id, 2)
    clone.write("a", 2 * BLOCK - 10, pattern(60, BLOCK + 20))
    assert clone.read("a", 2 * BLOCK - 10, BLOCK + 20) == pattern(60, BLOCK + 20)
    last = SIZES["b"] - 2 * BLOCK
    clone.write("b", 2 * BLOCK, pattern(61, last))
    assert clone.read("b", 2 * BLOCK, last) == pattern(61, last)
    clone.close()
