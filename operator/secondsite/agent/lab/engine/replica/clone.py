"""A thin clone of a recovery point: reads fall through to the point, writes stay private."""

import os
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from secondsite.agent.lab.engine.blocks import Blocks, block_count, block_span, runs
from secondsite.agent.lab.engine.durable import make_directory, read_into, sync_directory, write_all
from secondsite.agent.lab.engine.errors import StoreDamaged
from secondsite.agent.lab.engine.primary.maps import map_file
from secondsite.agent.lab.engine.replica.layer import COPY_BYTES, copy_blocks
from secondsite.agent.lab.engine.replica.view import DiskView
from secondsite.wire.peer import BLOCK_BYTES


class PrivateDisk:
    """One disk of a clone: a sparse file for the blocks that were written, and a map that says which they are."""

    def __init__(self, folder: Path, view: DiskView) -> None:
        self._view = view
        self._lock = threading.Lock()
        for path, length in private_files(folder, view.disk, view.size).items():
            _expect(path, length)
        self._map = map_file(folder / f"{view.disk}.map", block_count(view.size))
        self._written = np.frombuffer(self._map, dtype=np.uint8)
        self._fd = os.open(folder / f"{view.disk}.raw", os.O_RDWR)

    @property
    def size(self) -> int:
        return self._view.size

    def read(self, offset: int, length: int) -> bytes:
        self._check(offset, length)
        with self._lock:
            first, end = block_span(offset, max(1, length))
            if not self._written[first:end].any():
                return self._view.read(offset, length)
            if self._written[first:end].all():
                own = memoryview(bytearray(length))
                read_into(self._fd, own, offset)
                return bytes(own)
            content = b"".join(bytes(self._block(block)) for block in range(first, end))
        start = offset - first * BLOCK_BYTES
        return content[start : start + length]

    def write(self, offset: int, data: bytes | memoryview) -> None:
        view = memoryview(data).cast("B")
        self._check(offset, len(view))
        if not view:
            return
        with self._lock:
            first, end = block_span(offset, len(view))
            # Only at the edges can a block be touched in part.
            for block in {first, end - 1}:
                if not self._written[block]:
                    self._copy_up(block, offset, offset + len(view))
            write_all(self._fd, view, offset)
            self._mark(first, end)

    @property
    def closed(self) -> bool:
        return self._fd < 0

    def sync(self) -> None:
        with self._lock:
            os.fdatasync(self._fd)
            self._map.flush()

    def close(self) -> None:
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    def _copy_up(self, block: int, start: int, end: int) -> None:
        """Bring over what a write from `start` to `end` leaves of a block. DamagedBlock."""
        place = block * BLOCK_BYTES
        # What is overwritten as a whole need not be readable: so a guest mends a damaged block.
        whole = start <= place and end >= min(place + BLOCK_BYTES, self.size)
        content = memoryview(bytearray(BLOCK_BYTES)) if whole else self._view.read_blocks(block, 1)
        if not whole or end < place + BLOCK_BYTES:
            write_all(self._fd, content, place)

    def _mark(self, first: int, end: int) -> None:
        """Last: until now the blocks read as they were, which an unfinished write may."""
        if not self._written[first:end].all():
            # The mark may reach the disk at any time, and then vouches for bytes around what was written.
            os.fdatasync(self._fd)
            self._written[first:end] = 1

    def _block(self, block: int) -> memoryview:
        if not self._written[block]:
            return self._view.read_blocks(block, 1)
        content = memoryview(bytearray(BLOCK_BYTES))
        read_into(self._fd, content, block * BLOCK_BYTES)
        return content

    def _check(self, offset: int, length: int) -> None:
        if offset < 0 or length < 0 or offset + length > self.size:
            raise ValueError(f"{length} bytes at {offset} reach outside disk {self._view.disk} of {self.size} bytes")


class Clone:
    """All disks of a VM at one recovery point, writable without touching it. Survives restarts; see `TargetStore`.

    What comes from the point is verified at every read (DamagedBlock); what the clone itself wrote is as safe as any
    disk. StoreDamaged when one of its files is missing or not as long as it was made: what a guest wrote is lost.
    """

    def __init__(self, clone_id: str, point_id: str, folder: Path, views: Mapping[str, DiskView]) -> None:
        self.clone_id = clone_id
        self.point_id = point_id
        self._disks = {name: PrivateDisk(folder, view) for name, view in views.items()}

    @property
    def disks(self) -> dict[str, int]:
        """Name and size in bytes."""
        return {name: disk.size for name, disk in self._disks.items()}

    def read(self, disk: str, offset: int, length: int) -> bytes:
        """KeyError for an unknown disk, ValueError outside of it, DamagedBlock."""
        return self._disks[disk].read(offset, length)

    def write(self, disk: str, offset: int, data: bytes | memoryview) -> None:
        """KeyError for an unknown disk, ValueError outside of it, DamagedBlock under a partial write."""
        self._disks[disk].write(offset, data)

    @property
    def closed(self) -> bool:
        return all(disk.closed for disk in self._disks.values())

    def sync(self) -> None:
        """A guest's flush: what it wrote survives a power cut."""
        for disk in self._disks.values():
            disk.sync()

    def close(self) -> None:
        for disk in self._disks.values():
            disk.close()


def written_blocks(folder: Path, disk: str) -> Blocks:
    """Which blocks of a disk a clone has of its own, ascending; nobody need have it open. FileNotFoundError."""
    return np.flatnonzero(np.fromfile(folder / f"{disk}.map", dtype=np.uint8))


def copy_written(folder: Path, disk: str, target: int) -> Blocks:
    """Copy what a clone has of its own to the same places of another file; which blocks these are."""
    blocks = written_blocks(folder, disk)
    if len(blocks):
        buffer = memoryview(bytearray(COPY_BYTES))
        source = os.open(folder / f"{disk}.raw", os.O_RDONLY)
        try:
            for _, block, count in runs(blocks):
                copy_blocks(source, block * BLOCK_BYTES, target, block * BLOCK_BYTES, count, buffer)
        finally:
            os.close(source)
    return blocks


def private_files(folder: Path, disk: str, size: int) -> dict[Path, int]:
    """The files of one disk of a clone, and how many bytes each has."""
    count = block_count(size)
    return {folder / f"{disk}.map": count, folder / f"{disk}.raw": count * BLOCK_BYTES}


def prepare_folder(folder: Path, sizes: Mapping[str, int]) -> None:
    """Durably all files of a clone that the catalogue does not name yet: once it does, one that is missing is lost."""
    make_directory(folder.parent)
    shutil.rmtree(folder, ignore_errors=True)
    make_directory(folder)
    for disk, size in sizes.items():
        map_file(folder / f"{disk}.map", block_count(size)).flush()
        fd = os.open(folder / f"{disk}.raw", os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.ftruncate(fd, block_count(size) * BLOCK_BYTES)
            os.fsync(fd)
        finally:
            os.close(fd)
    sync_directory(folder)


def _expect(path: Path, length: int) -> None:
    found = path.stat().st_size if path.exists() else None
    if found != length:
        said = "is missing" if found is None else f"has {found} bytes instead of {length}"
        raise StoreDamaged(
            f"{path} {said}: what was written to this clone is lost; put the file back, or drop the clone and make it "
            "anew"
        )
