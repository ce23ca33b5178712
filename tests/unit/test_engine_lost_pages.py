"""A disk that fails an fdatasync: the kernel marks the pages clean that it lost, and the next one succeeds."""

import os
from pathlib import Path

import numpy as np
import pytest

from secondsite.agent.lab.engine.errors import FramesMissing
from secondsite.agent.lab.engine.port.frames import FrameReader, ReceivedFrame, build_frame, cycle_digest
from secondsite.agent.lab.engine.replica.layer import Layer
from secondsite.agent.lab.engine.replica.part import IncomingPart
from secondsite.wire.peer import BLOCK_BYTES, DiskCommit, DiskPlan

FRAMES = 3
PER_FRAME = 64
PLAN = DiskPlan(size=FRAMES * PER_FRAME * BLOCK_BYTES, blocks=FRAMES * PER_FRAME)


class ForgetfulDisk:
    """What the disk holds of one file, beside what the page cache shows. `fails` is how many syncs lose their pages."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.held = bytearray()
        self.fails = 0
        self.truncates = True
        self._dirty: list[tuple[int, bytes]] = []
        self._pwrite, self._truncate, self._sync = os.pwrite, os.ftruncate, os.fdatasync
        monkeypatch.setattr(os, "pwrite", self._write)
        monkeypatch.setattr(os, "ftruncate", self._cut)
        monkeypatch.setattr(os, "fdatasync", self._make_durable)
        monkeypatch.setattr(os, "posix_fadvise", self._drop_cache)

    def _write(self, fd: int, content: bytes | memoryview, offset: int) -> int:
        self._dirty.append((offset, bytes(content)))
        return self._pwrite(fd, content, offset)

    def _cut(self, fd: int, length: int) -> None:
        if not self.truncates:
            raise OSError(5, "Input/output error")
        del self.held[length:]
        self._dirty = [(offset, content[: length - offset]) for offset, content in self._dirty if offset < length]
        self._truncate(fd, length)

    def _make_durable(self, fd: int) -> None:
        dirty, self._dirty = self._dirty, []
        if self.fails:
            self.fails -= 1
            raise OSError(5, "Input/output error")
        for offset, content in dirty:
            self.held.extend(bytes(max(0, offset + len(content) - len(self.held))))
            self.held[offset : offset + len(content)] = content
        self._sync(fd)

    def _drop_cache(self, fd: int, offset: int, length: int, advice: int) -> None:
        assert (offset, length, advice) == (0, 0, os.POSIX_FADV_DONTNEED)
        self._truncate(fd, 0)
        self._pwrite(fd, self.held, 0)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> ForgetfulDisk:
    return ForgetfulDisk(monkeypatch)


def opened(folder: Path) -> IncomingPart:
    return IncomingPart(folder / "c.part", "c", 1, PLAN)


def frame(sequence: int) -> ReceivedFrame:
    content = memoryview(bytearray(np.random.default_rng(sequence).bytes(PER_FRAME * BLOCK_BYTES)))
    blocks = np.arange(sequence * PER_FRAME, (sequence + 1) * PER_FRAME, dtype=np.int64)
    built = build_frame(blocks, content, sequence=sequence, generation=1, cycle=cycle_digest("c"))
    raw = memoryview(built.head + b"".join(bytes(piece) for piece in built.payload))
    position = 0

    def read(view: memoryview) -> None:
        nonlocal position
        view[:] = raw[position : position + len(view)]
        position += len(view)

    return FrameReader(read).read()


def send(part: IncomingPart, first: int) -> None:
    writer = part.claim(first)
    for sequence in range(first, FRAMES):
        part.append(writer, frame(sequence))


def half_lost(part: IncomingPart, disk: ForgetfulDisk) -> None:
    """One frame durable, two lost."""
    part.append(part.claim(0), frame(0))
    assert part.sync() == 1
    send(part, 1)
    disk.fails = 1
    with pytest.raises(OSError, match="Input/output"):
        part.sync()


def test_what_a_failed_sync_lost_is_not_acknowledged_by_the_next(tmp_path: Path, disk: ForgetfulDisk) -> None:
    part = opened(tmp_path)
    half_lost(part, disk)
    assert part.sync() == part.durable_frames == 1
    send(part, 1)
    assert part.sync() == FRAMES
    assert bytes(disk.held) == (tmp_path / "c.part").read_bytes()
    part.close()


def test_a_failed_seal_is_not_made_good_by_the_next(tmp_path: Path, disk: ForgetfulDisk) -> None:
    part = opened(tmp_path)
    send(part, 0)
    disk.fails = 1
    with pytest.raises(OSError, match="Input/output"):
        part.seal()
    with pytest.raises(FramesMissing):
        part.check_whole(DiskCommit(count=PLAN.blocks, root=""))
    send(part, part.durable_frames)
    part.seal()
    part.close()
    assert bytes(disk.held) == (tmp_path / "c.part").read_bytes()
    assert len(Layer(tmp_path / "c.part").index) == PLAN.blocks


@pytest.mark.parametrize("truncates", [True, False])
def test_a_restart_does_not_take_the_page_cache_for_the_disk(
    tmp_path: Path, disk: ForgetfulDisk, truncates: bool
) -> None:
    part = opened(tmp_path)
    disk.truncates = truncates
    half_lost(part, disk)
    part.close()
    disk.truncates = True
    part = opened(tmp_path)
    assert part.durable_frames == 1
    send(part, 1)
    assert part.sync() == FRAMES
    assert bytes(disk.held) == (tmp_path / "c.part").read_bytes()
    part.close()
