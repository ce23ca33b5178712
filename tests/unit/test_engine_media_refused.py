"""Media that are damaged or another VM's, and exports that may not be: refused, and nothing harmed."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from secondsite.agent.lab.engine import EngineError, MapNotTrusted, TargetStore
from secondsite.agent.lab.engine.media.initial import MediaRefused, export_initial, import_initial, load_manifest
from support.engine_media import contents, filled_pair, point_is
from support.engine_pair import Pair


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with filled_pair(tmp_path) as pair:
        yield pair


@pytest.fixture
def media(tmp_path: Path) -> Path:
    return tmp_path / "media" / "vm"


def _remove(folder: Path) -> None:
    (folder / "b.frames").unlink()


def _shorten(folder: Path) -> None:
    with (folder / "b.frames").open("r+b") as file:
        file.truncate(1000)


def _flip(place: float) -> Callable[[Path], None]:
    def flip(folder: Path) -> None:
        content = bytearray((folder / "a.frames").read_bytes())
        content[int(place * (len(content) - 1))] ^= 4
        (folder / "a.frames").write_bytes(bytes(content))

    return flip


def _exchange(folder: Path) -> None:
    (folder / "a.frames").rename(folder / "c")
    (folder / "b.frames").rename(folder / "a.frames")
    (folder / "c").rename(folder / "b.frames")


def _other_manifest(folder: Path) -> None:
    content = (folder / "manifest.json").read_bytes()
    (folder / "manifest.json").write_bytes(content.replace(b'"generation":1', b'"generation":2'))


def _no_text(folder: Path) -> None:
    content = (folder / "manifest.json").read_bytes()
    (folder / "manifest.json").write_bytes(content.replace(b'"digest":"', b'"digest":"\xff'))


def _no_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_bytes((folder / "manifest.json").read_bytes()[:100])


@pytest.mark.parametrize(
    "damage",
    [
        _remove,
        _shorten,
        _exchange,
        _other_manifest,
        _no_text,
        _no_manifest,
        *(pytest.param(_flip(place), id=f"flip-{place}") for place in (0.0, 0.0001, 0.3, 0.7, 1.0)),
    ],
)
def test_damaged_media_become_no_point_and_good_ones_still_do(
    pair: Pair, media: Path, damage: Callable[[Path], None]
) -> None:
    expected = contents(pair)
    export_initial(pair.source, media)
    bad = media.with_name("bad")
    shutil.copytree(media, bad)
    damage(bad)
    with pytest.raises(MediaRefused):
        import_initial(pair.target, bad)
    assert pair.target.points() == []
    assert point_is(pair, import_initial(pair.target, media), expected)


def test_media_of_another_vm_are_refused(pair: Pair, media: Path, tmp_path: Path) -> None:
    export_initial(pair.source, media)
    other = TargetStore(tmp_path / "other", "vm-2")
    with pytest.raises(MediaRefused, match="vm-2"):
        import_initial(other, media)
    other.close()


def test_an_export_follows_no_link_and_waits_for_no_pipe(pair: Pair, media: Path, tmp_path: Path) -> None:
    expected = contents(pair)
    ours = tmp_path / "ours"
    ours.write_text("a disk of a guest")
    media.mkdir(parents=True)
    (media / "a.frames").symlink_to(ours)
    os.mkfifo(media / "b.frames")
    export_initial(pair.source, media)
    (media / "manifest.json.tmp").symlink_to(ours)
    with pytest.raises(OSError, match="symbolic links"):
        export_initial(pair.source, media)
    (media / "manifest.json.tmp").unlink()
    export_initial(pair.source, media)
    assert ours.read_text() == "a disk of a guest"
    assert point_is(pair, import_initial(pair.target, media), expected)


def test_an_export_writes_over_no_other_vms(pair: Pair, media: Path) -> None:
    export_initial(pair.source, media)
    pair.source.vm_id = "vm-2"
    with pytest.raises(EngineError, match="choose another folder"):
        export_initial(pair.source, media)
    assert load_manifest(media).vm == "vm"


def test_what_cannot_be_exported(pair: Pair, media: Path) -> None:
    pair.source.distrust()
    with pytest.raises(MapNotTrusted):
        export_initial(pair.source, media)
    pair.source._change(trusted=True)
    pair.cycle()
    with pytest.raises(EngineError, match="replicated already"):
        export_initial(pair.source, media)
