"""A full disk at the replica: met before it happens, and survived where somebody else filled it."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from secondsite.agent.lab.engine import PeerRefused, TargetStore
from secondsite.agent.lab.engine.errors import NoSpace
from support.engine_pair import BLOCK, Pair, pattern

MEBIBYTE = 1 << 20
SIZES = {"a": 24 * MEBIBYTE}


@pytest.fixture(params=["tmpfs", "ext4"])
def small(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A real file system of 48 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(folder)]
    if request.param == "ext4":
        image = tmp_path / "image"
        image.touch()
        os.truncate(image, 56 * MEBIBYTE)
        make = subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], capture_output=True, text=True, check=False)
        if make.returncode:
            pytest.skip(f"mkfs.ext4: {make.stderr.strip()}")
        command = ["mount", "-o", "loop", str(image), str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no mount here")
    if mounted.returncode:
        pytest.skip(f"a small file system needs the right to mount one: {mounted.stderr.strip()}")
    yield folder
    # Lazily: a test that failed may still hold files open, and must not leave the folder busy.
    subprocess.run(["umount", "-l", str(folder)], check=True)


class SmallPair(Pair):
    """The replica on a file system of its own, 8 MiB of which are the reserve."""

    def __init__(self, folder: Path, small: Path) -> None:
        self.small = small
        super().__init__(folder, SIZES)

    def _open_target(self) -> None:
        root = self.small / "target"
        self.target = TargetStore(root, "vm", clock=self.clock, on_commit=self.committed.append, reserve=8 * MEBIBYTE)

    def write(self, start: int, blocks: int, number: int) -> None:
        for block in range(start, start + blocks):
            self.disks["a"].write(block * BLOCK, pattern(number * 1000 + block))

    def image(self, point: str) -> bytes:
        return self.target.read_point(point, "a", 0, SIZES["a"])


@pytest.fixture
def pair(tmp_path: Path, small: Path) -> Iterator[SmallPair]:
    with SmallPair(tmp_path, small) as pair:
        yield pair


def fill(pair: SmallPair, leave: int) -> Path:
    """Somebody else's file, which leaves this many bytes free."""
    status = pair.target.status()
    assert status.free_bytes is not None
    path = pair.small / "foreign"
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, status.free_bytes - max(leave, MEBIBYTE))
        with contextlib.suppress(OSError):
            # To the last byte: the file system's own needs are not to be foreseen.
            while not leave:
                os.pwrite(file.fileno(), bytes(4096), file.seek(0, os.SEEK_END))
    return path


def test_a_cycle_that_would_fill_the_disk_is_refused_and_every_point_kept(pair: SmallPair) -> None:
    images = {}
    refusal = None
    for number in range(20):
        pair.write(0, 100, number)
        try:
            point = pair.cycle().cycle
        except PeerRefused as refused:
            refusal = refused
            break
        images[point] = pair.disks["a"].read(0, SIZES["a"])
    assert refusal is not None
    assert (refusal.status, refusal.code) == (507, "InsufficientSpace")
    assert f"{8 * MEBIBYTE} are kept in reserve" in refusal.detail
    assert pair.target.out_of_space == refusal.detail
    free = pair.target.status().free_bytes
    assert free is not None
    assert free > 8 * MEBIBYTE
    assert len(images) > 2
    assert {point: pair.image(point) for point in images} == images
    # Merging works inside the reserve; with it the cycle finds room.
    oldest = next(iter(images))
    pair.target.merge(oldest)
    pair.target.merge(list(images)[1])
    assert pair.matches(pair.cycle().cycle)
    assert pair.target.out_of_space == ""
    for point in list(images)[2:]:
        assert pair.image(point) == images[point]


def test_a_disk_that_somebody_else_fills_breaks_the_cycle_and_nothing_more(pair: SmallPair) -> None:
    pair.write(0, 100, 1)
    first = pair.cycle().cycle
    image = pair.disks["a"].read(0, SIZES["a"])
    pair.write(0, 200, 2)
    room = pair.target._space.expect_room
    # As if the disk had filled up right after the look at it.
    pair.target._space.expect_room = lambda *_: None  # type: ignore[method-assign]  # a race, made certain
    foreign = fill(pair, 6 * MEBIBYTE)
    with pytest.raises(PeerRefused) as caught:
        pair.cycle()
    assert (caught.value.status, caught.value.code) == (507, "InsufficientSpace")
    pair.target._space.expect_room = room  # type: ignore[method-assign]  # and over again
    held = pair.target.received_bytes
    with pytest.raises(PeerRefused, match="InsufficientSpace"):
        pair.cycle()
    pair.restart_target()
    assert [point.id for point in pair.target.points()] == [first]
    assert pair.image(first) == image
    foreign.unlink()
    result = pair.cycle()
    assert result.resumed
    assert held > 0
    assert result.wire_bytes < 201 * BLOCK - held // 2
    assert pair.matches(result.cycle)


def test_a_merge_without_room_leaves_the_point_as_it_is(pair: SmallPair) -> None:
    images = {}
    for number in range(3):
        pair.write(0, 100, number)
        images[pair.cycle().cycle] = pair.disks["a"].read(0, SIZES["a"])
    foreign = fill(pair, 2 * MEBIBYTE)
    with pytest.raises(NoSpace, match="bytes there; until then"):
        pair.target.merge(list(images)[1])
    assert {point.id: pair.image(point.id) for point in pair.target.points()} == images
    foreign.unlink()
    pair.target.merge(list(images)[1])


def test_a_completely_full_disk_still_opens_and_reads(pair: SmallPair) -> None:
    pair.write(0, 100, 1)
    point = pair.cycle().cycle
    image = pair.disks["a"].read(0, SIZES["a"])
    foreign = fill(pair, 0)
    pair.restart_target()
    assert pair.image(point) == image
    with pytest.raises(PeerRefused, match="InsufficientSpace"):
        pair.cycle()
    foreign.unlink()
    assert pair.matches(pair.cycle().cycle)
