"""A guest whose disks can be told from its version table: sector content = f(disk, sector, version).

The table lies in shared memory files, so it survives `kill -9` like the disks do; a snapshot of it, taken under the
locks of a freeze, is the truth about the recovery point of that freeze, and the start of that about its clones.
"""

import contextlib
import mmap
import os
import random
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from secondsite.agent.lab.engine import Freeze, TargetStore

SECTOR = 4096
_PER_BLOCK = 65536 // SECTOR
_WORDS = SECTOR // 8
_STEP = np.arange(_WORDS, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)

Versions = NDArray[np.uint32]
Read = Callable[[str, int, int], bytes]


class Writable(Protocol):
    """A disk of a VM, or of a clone. The lock is one that a thread may take twice."""

    @property
    def size(self) -> int: ...

    @property
    def lock(self) -> contextlib.AbstractContextManager[bool]: ...

    def write(self, offset: int, data: bytes) -> None: ...


def content(disk: int, sectors: NDArray[np.int64], versions: Versions) -> bytes:
    """What these sectors hold: zeros for version 0 and every fifth one, else words that differ in every way.

    On every other disk the second half of a sector repeats one word: frames of such a disk go compressed.
    """
    seed = sectors.astype(np.uint64) * np.uint64(1_000_003) + versions.astype(np.uint64) * np.uint64(7_919)
    words = (seed[:, None] + np.uint64(disk + 1)) * np.uint64(0xD6E8FEB86659FD93) + _STEP[None, :]
    if disk % 2 == 0:
        words[:, _WORDS // 2 :] = words[:, :1]
    words[versions % 5 == 0] = 0
    return words.tobytes()


def shared(path: Path, count: int) -> Versions:
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.ftruncate(fd, count * 4)
    memory = mmap.mmap(fd, count * 4)
    os.close(fd)
    return np.frombuffer(memory, dtype=np.uint32)


class TruthfulGuest:
    """Writes random runs of sectors; `at_freeze` saves the version tables."""

    def __init__(self, folder: Path, disks: Mapping[str, Writable], seed: int) -> None:
        self._folder = folder
        self._disks = dict(sorted(disks.items()))
        self._random = random.Random(seed)
        self.versions = {name: shared(folder / f"{name}.versions", d.size // SECTOR) for name, d in self._disks.items()}
        # disk number + 1, first sector, count of the write under way; disk 0 is none
        self._intent = shared(folder / "intent", 3)

    def repair(self) -> None:
        """Finish the write in which an earlier life of this guest was killed."""
        number, first, count = (int(value) for value in self._intent)
        if number:
            self._put(number - 1, first, count, raise_version=False)

    def write_once(self, *, longest: int = 40) -> None:
        number = self._random.randrange(len(self._disks))
        name = list(self._disks)[number]
        sectors = len(self.versions[name])
        # The edges of the disk, too, and a few places more often than the rest.
        first = self._random.choice(
            [self._random.randrange(sectors), self._random.randrange(min(64, sectors)), sectors - 1]
        )
        self._put(number, first, min(self._random.randint(1, longest), sectors - first), raise_version=True)

    def fill(self, share: float) -> None:
        """Data in the first part of each disk, before anything is replicated."""
        for number, name in enumerate(self._disks):
            count = int(len(self.versions[name]) * share)
            for first in range(0, count, 256):
                self._put(number, first, min(256, count - first), raise_version=True)

    def _put(self, number: int, first: int, count: int, *, raise_version: bool) -> None:
        name = list(self._disks)[number]
        disk, versions = self._disks[name], self.versions[name]
        with disk.lock:
            self._intent[1:] = first, count
            self._intent[0] = number + 1
            if raise_version:
                versions[first : first + count] += 1
            run = np.arange(first, first + count)
            disk.write(first * SECTOR, content(number, run, versions[first : first + count]))
            self._intent[0] = 0

    def at_freeze(self, freeze: Freeze) -> None:
        path = truth_path(self._folder, freeze.cycle)
        temporary = path.with_suffix(".tmp")
        with temporary.open("wb") as file:
            np.savez(file, *self.versions.values())
        temporary.rename(path)


def truth_path(folder: Path, point_id: str) -> Path:
    return folder / f"{point_id}.truth.npz"


def truth_of(folder: Path, point_id: str) -> list[Versions]:
    """Per disk, in the order of their names, the version of each sector at the freeze."""
    with np.load(truth_path(folder, point_id)) as truth:
        return [truth[f"arr_{number}"] for number in range(len(truth.files))]


def wrong_in_point(store: TargetStore, point_id: str, folder: Path) -> int:
    """How many blocks of 64 KiB of a point differ from the truth of its freeze."""
    return wrong_blocks(partial(store.read_point, point_id), store.disks, truth_of(folder, point_id))


def wrong_blocks(read: Read, disks: Mapping[str, int], tables: list[Versions]) -> int:
    """How many blocks of 64 KiB differ from what the version tables say."""
    return sum(
        _wrong_in_disk(read, name, number, versions)
        for number, (name, versions) in enumerate(zip(sorted(disks), tables, strict=True))
    )


def _wrong_in_disk(read: Read, name: str, number: int, versions: Versions) -> int:
    wrong: set[int] = set()
    step = 1024
    for first in range(0, len(versions), step):
        part = versions[first : first + step]
        expected = content(number, np.arange(first, first + len(part)), part)
        found = read(name, first * SECTOR, len(expected))
        if found != expected:
            differs = np.frombuffer(found, np.uint8) != np.frombuffer(expected, np.uint8)
            sectors = np.flatnonzero(differs.reshape(-1, SECTOR).any(axis=1)) + first
            wrong.update((sectors // _PER_BLOCK).tolist())
    return len(wrong)
