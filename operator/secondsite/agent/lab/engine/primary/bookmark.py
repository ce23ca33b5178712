"""How far a comparison has come on one disk: 24 bytes that outlive the process, but not the host."""

import mmap
from pathlib import Path
from types import TracebackType
from typing import Self

from blake3 import blake3

from secondsite.agent.lab.engine.primary.maps import map_file

_KEY_BYTES = 16
_LENGTH = _KEY_BYTES + 8


class Bookmark:
    """A file in memory, like the maps that it speaks of: nothing is synced, and nothing needs to be.

    Its key names what was compared with what, in which life of the host: after a power cut it fits no more.
    """

    def __init__(self, path: Path) -> None:
        self._memory: mmap.mmap = map_file(path, _LENGTH)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._memory.close()

    def find(self, subject: str) -> int:
        """The block to go on with: 0 unless this very comparison was begun before."""
        key = blake3(subject.encode()).digest(length=_KEY_BYTES)
        if self._memory[:_KEY_BYTES] != key:
            # In this order: a kill between the two leaves the old key with nothing done.
            self.move(0)
            self._memory[:_KEY_BYTES] = key
        return int.from_bytes(self._memory[_KEY_BYTES:], "little")

    def move(self, block: int) -> None:
        """All blocks before this one were compared, and marked where they differ."""
        self._memory[_KEY_BYTES:] = block.to_bytes(8, "little")


def bookmark_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.compared"
