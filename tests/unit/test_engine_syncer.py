"""Frames are made durable while others arrive; what the disk lost meanwhile is said, and sent again."""

import io
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from secondsite.agent.lab.engine.port import syncer
from secondsite.agent.lab.engine.port.frames import FrameReader, ReceivedFrame, build_frame, cycle_digest
from secondsite.agent.lab.engine.port.syncer import Syncer
from secondsite.agent.lab.engine.replica.part import IncomingPart
from secondsite.wire.peer import BLOCK_BYTES, DiskPlan

FRAMES = 6
PLAN = DiskPlan(size=FRAMES * BLOCK_BYTES, blocks=FRAMES)
DEADLINE_SECONDS = 10.0


class SlowDisk:
    """An fdatasync that waits until it is told to go on, and may fail then."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.goes_on = threading.Event(), threading.Event()
        self.fails = False
        self._sync = os.fdatasync
        monkeypatch.setattr(os, "fdatasync", self._wait)
        monkeypatch.setattr(syncer, "_SYNC_BYTES", 1)

    def _wait(self, fd: int) -> None:
        self.begun.set()
        assert self.goes_on.wait(DEADLINE_SECONDS)
        if self.fails:
            self.fails = False
            raise OSError(5, "Input/output error")
        self._sync(fd)


def frame(sequence: int) -> ReceivedFrame:
    content = memoryview(bytearray(np.random.default_rng(sequence).bytes(BLOCK_BYTES)))
    blocks = np.array([sequence], dtype=np.int64)
    built = build_frame(blocks, content, sequence=sequence, generation=1, cycle=cycle_digest("c"))
    stream = io.BytesIO(built.head + b"".join(built.payload))
    return FrameReader(lambda view: view.__setitem__(slice(None), stream.read(len(view)))).read()


@pytest.fixture
def part(tmp_path: Path) -> IncomingPart:
    return IncomingPart(tmp_path / "c.part", "c", 1, PLAN)


def send(part: IncomingPart, disk: SlowDisk, *, while_syncing: int) -> None:
    """One frame that the disk is asked to keep, and more before it answers."""
    writer = part.claim(0)
    with Syncer(part) as running:
        for sequence in range(1 + while_syncing):
            part.append(writer, frame(sequence))
            running.came(BLOCK_BYTES)
            assert disk.begun.wait(DEADLINE_SECONDS)
        assert part.durable_frames == 0
        disk.goes_on.set()


def test_frames_arrive_while_the_disk_works(part: IncomingPart, monkeypatch: pytest.MonkeyPatch) -> None:
    send(part, SlowDisk(monkeypatch), while_syncing=FRAMES - 1)
    assert part.durable_frames == FRAMES
    part.close()


def test_what_came_while_a_sync_failed_is_lost_with_it(part: IncomingPart, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = SlowDisk(monkeypatch)
    disk.fails = True
    with pytest.raises(OSError, match="Input/output"):
        send(part, disk, while_syncing=2)
    assert part.durable_frames == 0
    assert part.path.stat().st_size == 0
    send_again = part.claim(0)
    part.append(send_again, frame(0))
    assert part.sync() == 1
    part.close()


def send_until_thrown_out(part: IncomingPart) -> None:
    writer = part.claim(0)
    with Syncer(part) as running:
        part.append(writer, frame(0))
        running.came(BLOCK_BYTES)
        while True:
            part.append(writer, frame(0))


def test_the_failure_is_said_and_not_what_follows_from_it(part: IncomingPart, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = SlowDisk(monkeypatch)
    disk.fails = True
    disk.goes_on.set()
    with pytest.raises(OSError, match="Input/output"):
        send_until_thrown_out(part)
    part.close()


def test_a_slow_disk_slows_the_link_down(part: IncomingPart, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = SlowDisk(monkeypatch)
    monkeypatch.setattr(syncer, "_MOST_BYTES", 3 * BLOCK_BYTES)
    came: list[int] = []

    def receive() -> None:
        writer = part.claim(0)
        with Syncer(part) as running:
            for sequence in range(FRAMES):
                part.append(writer, frame(sequence))
                running.came(BLOCK_BYTES)
                came.append(sequence)

    receiver = threading.Thread(target=receive)
    receiver.start()
    assert disk.begun.wait(DEADLINE_SECONDS)
    receiver.join(0.2)
    assert receiver.is_alive()
    assert len(came) <= 3
    disk.goes_on.set()
    receiver.join(DEADLINE_SECONDS)
    assert part.durable_frames == FRAMES
    part.close()
