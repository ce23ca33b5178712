"""The disk that is copied: 2 GiB, half of it holes; how it changes; whether a copy equals it."""

import itertools
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from secondsite.agent.lab.engine import BLOCK_BYTES
from secondsite.agent.lab.engine.durable import data_extents, write_all

MEBIBYTE = 1 << 20
CHANGED_BLOCKS = 328
_STEP = 4 * MEBIBYTE


@dataclass
class World:
    """`source` is the disk, `output` the folder for copies of it, which every timed run finds empty or in step.

    `compressible`: half of what it holds is like an operating system's files, else all is random.
    """

    folder: Path
    size: int
    data_bytes: int
    compressible: bool = True
    changes: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.output.mkdir()
        _make_disk(self.source, self.size, self.data_bytes, compressible=self.compressible)

    @property
    def source(self) -> Path:
        return self.folder / "source.raw"

    @property
    def output(self) -> Path:
        return self.folder / "output"

    @property
    def copy(self) -> Path:
        """Where tools that write a plain image put it."""
        return self.output / "copy.raw"

    def clear(self) -> None:
        """Remove what the run before wrote: the next one reuses its memory, if it follows at once."""
        shutil.rmtree(self.output)
        self.output.mkdir()

    def clear_for_tool(self) -> None:
        """An empty sparse image, for servers that cannot make one."""
        self.clear()
        with self.copy.open("wb") as file:
            file.truncate(self.size)

    def read_source(self) -> None:
        """Bring the disk into memory, so that no run pays for what an earlier one found there."""
        buffer = memoryview(bytearray(_STEP))
        with self.source.open("rb", buffering=0) as file:
            for start, end in data_extents(file.fileno(), self.size):
                file.seek(start)
                while (left := end - file.tell()) > 0 and file.readinto(buffer[:left]):
                    pass

    def copied(self) -> bool:
        return equal_files(self.source, self.copy)

    def clone_source(self) -> None:
        """The copy in step with the disk, as an earlier replication left it."""
        self.clear_for_tool()
        with self.source.open("rb") as source, self.copy.open("r+b", buffering=0) as target:
            for start, end in data_extents(source.fileno(), self.size):
                target.seek(start)
                while (position := target.tell()) < end:
                    os.sendfile(target.fileno(), source.fileno(), position, min(_STEP, end - position))
        sync_file(self.copy)

    def change(self) -> None:
        """The next change, written straight to the file: nobody tracks it."""
        with self.source.open("r+b", buffering=0) as file:
            for offset, content in change(next(self.changes), self.source):
                write_all(file.fileno(), content, offset)
            os.fdatasync(file.fileno())


def change(number: int, disk: Path) -> Iterator[tuple[int, bytes]]:
    """(offset, content) of whole blocks: 1 % of the disk, at random, where it holds data. The same for a number."""
    generator = np.random.default_rng(number)
    for block in sorted(generator.choice(_data_blocks(disk), CHANGED_BLOCKS, replace=False).tolist()):
        yield block * BLOCK_BYTES, generator.bytes(BLOCK_BYTES)


def sync_file(path: Path) -> None:
    """Part of the timed span: what is not on the disk yet is no replica."""
    fd = os.open(path, os.O_RDWR)
    try:
        os.fdatasync(fd)
    finally:
        os.close(fd)


def equal_files(one: Path, other: Path) -> bool:
    """Bit for bit."""
    first, second = bytearray(_STEP), bytearray(_STEP)
    with one.open("rb", buffering=0) as left, other.open("rb", buffering=0) as right:
        while count := left.readinto(first):
            if right.readinto(second) != count or first != second:
                return False
        return right.read(1) == b""


def _data_blocks(disk: Path) -> list[int]:
    with disk.open("rb") as file:
        extents = data_extents(file.fileno(), disk.stat().st_size)
    return [block for start, end in extents for block in range(-(-start // BLOCK_BYTES), end // BLOCK_BYTES)]


def _make_disk(path: Path, size: int, data_bytes: int, *, compressible: bool) -> None:
    """Runs of 1 to 8 MiB with holes between them, every other one like an operating system's files."""
    generator = np.random.default_rng(0)
    files = _os_like()
    with path.open("wb") as file:
        file.truncate(size)
        for number, (start, length) in enumerate(_runs(generator, size, data_bytes)):
            file.seek(start)
            file.write(_take(files, length) if compressible and number % 2 else generator.bytes(length))
    sync_file(path)


def _runs(generator: np.random.Generator, size: int, data_bytes: int) -> list[tuple[int, int]]:
    lengths: list[int] = []
    while (left := data_bytes // MEBIBYTE - sum(lengths)) > 0:
        lengths.append(min(left, int(generator.integers(1, 9))))
    cuts = np.sort(generator.integers(0, (size - data_bytes) // MEBIBYTE + 1, len(lengths))).tolist()
    before = itertools.accumulate(lengths, initial=0)
    return [
        ((cut + used) * MEBIBYTE, length * MEBIBYTE) for cut, used, length in zip(cuts, before, lengths, strict=False)
    ]


def _take(files: Iterator[bytes], length: int) -> bytes:
    content = bytearray()
    while len(content) < length:
        content += next(files)
    return bytes(content[:length])


def _os_like() -> Iterator[bytes]:
    """Programs, libraries and text: those that Python came with."""
    paths = [path for path in sorted(Path(os.__file__).parent.rglob("*")) if path.is_file()]
    paths.append(Path(sys.executable))
    while True:
        yield from (path.read_bytes() for path in paths)
