"""An existing copy of the disks as the start of a replica: only what differs goes over the wire."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from secondsite.agent.lab.engine import CycleKind, EngineError, HeadConflict, MapNotTrusted, TargetStore, UnknownPoint
from secondsite.agent.lab.engine.media import adopt as adopting
from secondsite.agent.lab.engine.media.image_formats import ImageRefused
from secondsite.agent.lab.engine.media.seeding import seed
from support.engine_pair import BLOCK, Pair, pattern

BLOCKS = 300
SIZES = {"a": BLOCKS * BLOCK + 4096, "b": 50 * BLOCK}


class Killed(BaseException):
    """In place of SIGKILL."""


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """A source that has never replicated, and a copy of its disks of some time ago; seeded or not yet."""
    with Pair(tmp_path, SIZES) as pair:
        for block in range(0, BLOCKS, 3):
            pair.disks["a"].write(block * BLOCK, pattern(block))
        pair.disks["a"].write(BLOCKS * BLOCK, pattern(9, 4096))
        pair.disks["b"].write(0, pattern(4, 20 * BLOCK))
        pair.target.discard()
        for name, disk in pair.disks.items():
            shutil.copy(disk.path, tmp_path / f"{name}.copy")
        yield pair


def images(pair: Pair, suffix: str = "copy") -> dict[str, Path]:
    return {name: pair.folder / f"{name}.{suffix}" for name in SIZES}


def _seed(pair: Pair, suffix: str = "copy") -> str:
    return seed(pair.folder / "target", "vm", images(pair, suffix))


def change(pair: Pair) -> int:
    """What the guest did since the copy: how many blocks differ."""
    for block in (0, 1, 150, 299):
        pair.disks["a"].write(block * BLOCK + 100, b"later")
    pair.disks["a"].write(3 * BLOCK, bytes(BLOCK))
    pair.disks["b"].write(49 * BLOCK, b"later")
    return 6


def test_only_what_differs_is_sent_and_becomes_the_first_point(pair: Pair) -> None:
    different = change(pair)
    head = _seed(pair)
    pair.restart_target()
    status = pair.client.status("vm")
    assert (status.head, status.stale, status.disks) == (head, True, SIZES)
    assert pair.target.points() == []
    with pytest.raises(HeadConflict):
        pair.cycle()
    assert pair.source.compare(pair.client).blocks_different == different
    cycle = pair.cycle()
    assert (cycle.kind, cycle.blocks) == (CycleKind.Delta, different)
    assert [point.id for point in pair.target.points()] == [cycle.cycle]
    assert pair.matches(cycle.cycle)
    assert not pair.client.status("vm").stale


def test_a_seed_is_no_recovery_point(pair: Pair) -> None:
    head = _seed(pair)
    pair.restart_target()
    store = pair.target
    uses = (
        lambda: store.read_point(head, "a", 0, 1),
        lambda: store.scrub(head),
        lambda: store.clone(head, "c"),
        lambda: store.materialise(head, "a", pair.folder / "out"),
    )
    for use in uses:
        with pytest.raises(UnknownPoint):
            use()


def test_the_seed_goes_into_the_base_and_retention_goes_on_as_ever(pair: Pair) -> None:
    _seed(pair)
    pair.restart_target()
    change(pair)
    pair.source.compare(pair.client)
    points = []
    for turn in range(4):
        pair.disks["a"].write(turn * BLOCK, pattern(800 + turn))
        points.append(pair.cycle().cycle)
        pair.clock.forward(600)
    pair.target.apply_retention(pair.clock.now, 3600, 7200)
    assert [entry.point for entry in pair.target._core.contents.points] == [p.id for p in pair.target.points()]
    pair.restart_target()
    assert len(pair.target.points()) < len(points)
    assert pair.matches(points[-1])


def test_the_compared_seed_survives_a_restart_before_the_cycle(pair: Pair) -> None:
    _seed(pair)
    pair.restart_target()
    different = change(pair)
    pair.source.compare(pair.client)
    pair.restart_source()
    pair.restart_target()
    cycle = pair.cycle()
    assert cycle.blocks == different
    assert pair.matches(cycle.cycle)


def test_seeding_twice_is_seeding_once(pair: Pair) -> None:
    assert _seed(pair) == _seed(pair)
    pair.restart_target()
    pair.source.compare(pair.client)
    pair.cycle()
    pair.target.close()
    (pair.folder / "a.copy").write_bytes(b"x" * 512)
    with pytest.raises(EngineError, match="holds a replica already"):
        _seed(pair)
    pair._open_target()


def test_a_cancelled_comparison_with_a_seed_leaves_nothing_to_trust(pair: Pair) -> None:
    _seed(pair)
    pair.restart_target()
    different = change(pair)

    def told(_done: int, _total: int) -> None:
        raise Killed

    with pytest.raises(Killed):
        pair.source.compare(pair.client, progress=told)
    pair.restart_source()
    with pytest.raises(MapNotTrusted):
        pair.cycle()
    pair.source.compare(pair.client)
    cycle = pair.cycle()
    assert cycle.blocks == different
    assert pair.matches(cycle.cycle)


def test_a_copy_of_another_size_is_not_compared(pair: Pair) -> None:
    with (pair.folder / "b.copy").open("r+b") as file:
        file.truncate(49 * BLOCK)
    _seed(pair)
    pair.restart_target()
    with pytest.raises(EngineError, match="DiskSetChanged"):
        pair.source.compare(pair.client)


def test_what_is_no_disk_is_refused(pair: Pair) -> None:
    (pair.folder / "b.copy").write_bytes(b"QFI\xfb".ljust(512, b"\0"))
    with pytest.raises(ImageRefused, match="qcow"):
        _seed(pair)
    (pair.folder / "b.copy").unlink()
    with pytest.raises(FileNotFoundError):
        _seed(pair)


needs_qemu = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")


@needs_qemu
@pytest.mark.parametrize("image_format", ["vhdx", "vpc"])
def test_hyper_v_images_seed_as_well(pair: Pair, image_format: str) -> None:
    suffix = {"vhdx": "vhdx", "vpc": "vhd"}[image_format]
    options = ["-o", "force_size=on"] if image_format == "vpc" else []
    for name, path in images(pair).items():
        target = pair.folder / f"{name}.{suffix}"
        command = ["qemu-img", "convert", "-f", "raw", "-O", image_format, *options, str(path), str(target)]
        subprocess.run(command, check=True)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(adopting, "make_base", _die)
        with pytest.raises(Killed):
            _seed(pair, suffix)
    _seed(pair, suffix)
    assert not (pair.folder / "target" / "seeding").exists()
    pair.restart_target()
    different = change(pair)
    assert pair.source.compare(pair.client).blocks_different == different
    assert pair.matches(pair.cycle().cycle)
    assert TargetStore.exists(pair.folder / "target")


def _die(*_: object) -> None:
    raise Killed
