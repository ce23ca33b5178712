"""Clones of recovery points in memory, and the disks of a VM that runs from one."""

from __future__ import annotations

from pathlib import Path

from secondsite.agent.lab.engine import EngineError
from support.lab_world.images import Image, Key, MemoryDisk


class MemoryClone:
    """A writable copy of a point."""

    def __init__(self, clone_id: str, point_id: str, image: Image, own: Image, sizes: dict[str, int]) -> None:
        self.clone_id = clone_id
        self.point_id = point_id
        self.disks = sizes
        self.closed = False
        self._image = image
        self.own = own

    @property
    def image(self) -> Image:
        """What the guest of the clone sees."""
        return self._image | self.own

    def write(self, key: Key, value: int) -> None:
        self.own[key] = value

    def read(self, disk: str, offset: int, length: int) -> bytes:
        """Its content is numbers, not bytes: a probe finds no file system there."""
        raise EngineError(f"disk {disk} of clone {self.clone_id} cannot be read as bytes")

    def sync(self) -> None:
        """All that was written is in the files."""

    def close(self) -> None:
        self.closed = True


class MemoryCloneDisk(MemoryDisk):
    """A disk of a VM that runs from a clone. Closing one closes the whole clone."""

    def __init__(self, clone: MemoryClone, name: str) -> None:
        blocks = {block: value for (disk, block), value in clone.image.items() if disk == name}
        super().__init__(name, clone.disks[name], Path(name), blocks)
        self._clone = clone

    def write(self, block: int, value: int) -> None:
        super().write(block, value)
        self._clone.write((self.name, block), value)

    def close(self) -> None:
        self._clone.close()
