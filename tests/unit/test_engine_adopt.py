"""Disk files that become the base of a replica."""

import os
from pathlib import Path

import pytest

from secondsite.agent.lab.engine import EngineError, StoreLocked, TargetStore, UnknownPoint, record
from secondsite.agent.lab.engine.blocks import xxh3
from secondsite.agent.lab.engine.durable import replace_file, sync_directory
from secondsite.agent.lab.engine.media import adopt as adopting
from secondsite.agent.lab.engine.media.adopt import adopt
from support.engine_pair import BLOCK, START, pattern

SIZE = 40 * BLOCK + 4096


class Killed(BaseException):
    """In place of SIGKILL."""


def _image(path: Path, seed: int = 0) -> bytes:
    with path.open("wb") as file:
        file.truncate(SIZE)
        for block in (0, 1, 5, 39):
            file.seek(block * BLOCK)
            file.write(pattern(block + seed))
        file.seek(40 * BLOCK)
        file.write(pattern(77 + seed, 4096))
    return path.read_bytes()


def _adopt(root: Path, disks: dict[str, Path], *, stale: bool = False, move: bool = False, point: str = "p0") -> None:
    adopt(root, "vm", disks, point=point, generation=3, freeze_time=START, stale=stale, move=move)


@pytest.mark.parametrize("move", [True, False])
def test_the_disks_are_the_point_byte_for_byte(tmp_path: Path, move: bool) -> None:
    images = {name: tmp_path / f"{name}.raw" for name in ("a", "b")}
    expected = {name: _image(path, seed) for seed, (name, path) in enumerate(images.items())}
    _adopt(tmp_path / "store", images, move=move)
    assert [path.exists() for path in images.values()] == [not move] * 2
    store = TargetStore(tmp_path / "store", "vm")
    assert (store.head, store.disks) == ("p0", {"a": SIZE, "b": SIZE})
    assert [point.id for point in store.points()] == ["p0"]
    assert store.scrub("p0") == []
    for name, content in expected.items():
        assert store.read_point("p0", name, 0, SIZE) == content
    store.close()


def test_holes_stay_holes_and_both_lists_are_written(tmp_path: Path) -> None:
    content = _image(tmp_path / "a.raw")
    _adopt(tmp_path / "store", {"a": tmp_path / "a.raw"})
    folder = tmp_path / "store" / "disks" / "a"
    assert (folder / "base.raw").stat().st_blocks * 512 <= 6 * BLOCK
    lists = {kind: (folder / f"base.{kind}").read_bytes() for kind in ("hashes", "xxh3")}
    assert {len(found) for found in lists.values()} == {41 * 16}
    expected = b"".join(xxh3(content[at : at + BLOCK].ljust(BLOCK, b"\0")) for at in range(0, SIZE, BLOCK))
    assert lists["xxh3"] == expected


def test_a_stale_disk_is_the_head_but_no_point(tmp_path: Path) -> None:
    _image(tmp_path / "a.raw")
    _adopt(tmp_path / "store", {"a": tmp_path / "a.raw"}, stale=True)
    store = TargetStore(tmp_path / "store", "vm")
    assert (store.head, store.points()) == ("p0", [])
    for use in (lambda: store.read_point("p0", "a", 0, 1), lambda: store.scrub("p0"), lambda: store.clone("p0", "c")):
        with pytest.raises(UnknownPoint):
            use()
    store.close()


@pytest.mark.parametrize("move", [True, False])
def test_killed_anywhere_it_goes_on(tmp_path: Path, move: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dies before each durable step in turn, and is called again."""
    monkeypatch.setattr("secondsite.agent.lab.engine.media.adopt_disk.STEP_BLOCKS", 16)
    deaths = 0
    while _dies_and_goes_on(tmp_path / str(deaths), deaths, move, monkeypatch):
        deaths += 1
    assert deaths > 10


def _dies_and_goes_on(folder: Path, steps: int, move: bool, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether it died; the point is whole afterwards."""
    folder.mkdir()
    images = {name: folder / f"{name}.raw" for name in ("a", "b")}
    expected = {name: _image(path, seed) for seed, (name, path) in enumerate(images.items())}
    left = iter(range(steps))

    def replace(path: Path, content: bytes) -> None:
        if next(left, None) is None:
            raise Killed
        replace_file(path, content)

    def sync(path: Path) -> None:
        if next(left, None) is None:
            raise Killed
        sync_directory(path)

    died = False
    with monkeypatch.context() as patched:
        for module in (adopting, record):
            patched.setattr(module, "replace_file", replace)
        patched.setattr(adopting, "sync_directory", sync)
        try:
            _adopt(folder / "store", images, move=move)
        except Killed:
            died = True
    _adopt(folder / "store", images, move=move)
    store = TargetStore(folder / "store", "vm")
    assert store.scrub("p0") == []
    assert all(store.read_point("p0", name, 0, SIZE) == content for name, content in expected.items())
    assert [path.exists() for path in images.values()] == [not move] * 2
    store.close()
    return died


def test_an_interrupted_adoption_is_not_taken_for_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _image(tmp_path / "a.raw")

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(adopting, "make_base", die)
        with pytest.raises(Killed):
            _adopt(tmp_path / "store", {"a": tmp_path / "a.raw"}, move=True)
    with pytest.raises(EngineError, match="interrupted"):
        TargetStore(tmp_path / "store", "vm")
    with pytest.raises(EngineError, match="interrupted"):
        _adopt(tmp_path / "store", {"a": tmp_path / "a.raw"}, move=True, point="other")
    _adopt(tmp_path / "store", {"a": tmp_path / "a.raw"}, move=True)
    TargetStore(tmp_path / "store", "vm").close()


def test_it_writes_over_no_replica(tmp_path: Path) -> None:
    _image(tmp_path / "a.raw")
    _adopt(tmp_path / "store", {"a": tmp_path / "a.raw"})
    with pytest.raises(EngineError, match="holds a replica already"):
        _adopt(tmp_path / "store", {"a": tmp_path / "a.raw"}, point="p1")
    store = TargetStore(tmp_path / "store", "vm")
    with pytest.raises(StoreLocked):
        _adopt(tmp_path / "store", {"a": tmp_path / "a.raw"})
    store.close()


def test_a_store_without_points_may_adopt(tmp_path: Path) -> None:
    TargetStore(tmp_path / "store", "vm").close()
    content = _image(tmp_path / "a.raw")
    _adopt(tmp_path / "store", {"a": tmp_path / "a.raw"})
    store = TargetStore(tmp_path / "store", "vm")
    assert store.read_point("p0", "a", 0, SIZE) == content
    store.close()


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for path in (tmp_path / "empty", tmp_path):
        with pytest.raises(EngineError, match="no disk image"):
            _adopt(tmp_path / "store", {"a": path})
    with pytest.raises(FileNotFoundError):
        _adopt(tmp_path / "store", {"a": tmp_path / "missing"})
    assert not os.path.lexists(tmp_path / "store" / "adopting.json")
