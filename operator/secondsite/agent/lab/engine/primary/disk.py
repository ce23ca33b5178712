"""A virtual disk at its primary: a sparse file, and the one way in which a guest may touch it."""

import os
import threading
from pathlib import Path
from typing import Protocol

from secondsite.agent.lab.engine.durable import read_into, sync_directory, write_all
from secondsite.agent.lab.engine.errors import EngineError


class WriteObserver(Protocol):
    """Who must know of a write before it happens."""

    def before_write(self, offset: int, length: int) -> None: ...


class SourceDisk:
    """A raw disk image of `size` bytes at `path`, created sparse when it is missing.

    `whole` tells whether the file was there in its full length. Where it was not, it stays short until `extend`: a
    source that tracked the disk must know before it looks like one.
    `lock` is held for the whole of a write, and by whoever freezes the disk: a freeze sees all of a write or nothing.
    """

    def __init__(self, path: Path, size: int) -> None:
        if size <= 0:
            raise EngineError(f"disk {path}: a size of {size} bytes is none; give that of the virtual disk")
        self.path = path
        self.size = size
        self.lock = threading.RLock()
        self._observer: WriteObserver | None = None
        self._closed = False
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        found = os.fstat(self._fd).st_size
        if found > size:
            os.close(self._fd)
            raise EngineError(f"disk {path} holds {found} bytes, more than its size of {size}; correct the size")
        self.whole = found == size
        # A clean close must not be followed by a start without the file.
        sync_directory(path.parent)

    @property
    def fd(self) -> int:
        """Of the file; whoever uses it without `lock` must know that nobody lets the disk rest. -1: it is closed."""
        with self.lock:
            if self._fd < 0 and not self._closed:
                # Not O_CREAT: where somebody removed it, an empty file would pass for it.
                self._fd = os.open(self.path, os.O_RDWR)
            return self._fd

    def rest(self) -> None:
        """Let go of the file until it is read or written again."""
        with self.lock:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    def extend(self) -> None:
        """Give the file its full length; what it lacked reads as zeros."""
        with self.lock:
            if os.fstat(self.fd).st_size < self.size:
                os.ftruncate(self.fd, self.size)
            self.whole = True

    def attach(self, observer: WriteObserver | None) -> None:
        """Tell `observer` of each write from now on; None ends it."""
        with self.lock:
            self._observer = observer

    def expect_unobserved(self) -> None:
        """EngineError while an observer is told: without knowing it would vouch for a point that lacks writes."""
        with self.lock:
            if self._observer is not None:
                raise EngineError(f"disk {self.path} is replicated already; close that replication first")

    def read(self, offset: int, length: int) -> bytes:
        """ValueError outside the disk."""
        self._check(offset, length)
        buffer = bytearray(length)
        with self.lock:
            read_into(self.fd, memoryview(buffer), offset)
        return bytes(buffer)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """ValueError outside the disk."""
        view = memoryview(data).cast("B")
        self._check(offset, len(view))
        if not view:
            return
        with self.lock:
            # Mark first: a kill between the two reports a block too many, never one too few.
            if self._observer is not None:
                self._observer.before_write(offset, len(view))
            write_all(self.fd, view, offset)

    def sync(self) -> None:
        os.fdatasync(self.fd)

    def close(self) -> None:
        with self.lock:
            if not self._closed:
                if not self.whole:
                    self.extend()
                self.rest()
                self._closed = True

    def _check(self, offset: int, length: int) -> None:
        if offset < 0 or length < 0 or offset + length > self.size:
            raise ValueError(f"{length} bytes at {offset} reach outside the disk {self.path} of {self.size} bytes")
