"""The open files of one disk's tracking; see `tracker` for what they mean."""

import mmap
import os
from pathlib import Path

import numpy as np

from secondsite.agent.lab.engine.blocks import Bytes
from secondsite.wire.peer import DIGEST_BYTES


def map_file(path: Path, length: int) -> mmap.mmap:
    """A file of `length` bytes in memory that outlives the process; created as zeros."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.ftruncate(fd, length)
        # A store into a hole of a full file system would end the process.
        os.posix_fallocate(fd, 0, length)
        return mmap.mmap(fd, length)
    finally:
        os.close(fd)


class Maps:
    """`current`, `frozen` and `digests` in memory, `saved` as a descriptor. What holds a map keeps it readable."""

    __slots__ = ("current", "current_bytes", "digests", "digests_bytes", "frozen", "frozen_bytes", "saved")

    def __init__(self, folder: Path, name: str, count: int) -> None:
        self.current_bytes = map_file(folder / f"{name}.current", count)
        self.frozen_bytes = map_file(folder / f"{name}.frozen", count)
        self.digests_bytes = map_file(folder / f"{name}.digests", count * DIGEST_BYTES)
        self.current: Bytes = np.frombuffer(self.current_bytes, dtype=np.uint8)
        self.frozen: Bytes = np.frombuffer(self.frozen_bytes, dtype=np.uint8)
        self.digests: Bytes = np.frombuffer(self.digests_bytes, dtype=np.uint8).reshape(count, DIGEST_BYTES)
        self.saved = os.open(folder / f"{name}.saved", os.O_RDWR | os.O_CREAT, 0o600)

    @property
    def quiet(self) -> bool:
        """Whether nothing has changed and nothing is owed."""
        return not (self.current.any() or self.frozen.any())

    def sync(self) -> None:
        """Make all durable."""
        for memory in (self.current_bytes, self.frozen_bytes, self.digests_bytes):
            memory.flush()
        os.fsync(self.saved)

    def close(self) -> None:
        """Let go of the files."""
        os.close(self.saved)
        self.saved = -1
