"""The disks of a guest: what it knows of them, how they are called, and their content when they are new."""

from __future__ import annotations

import threading
from collections.abc import Collection
from pathlib import Path
from typing import Protocol

from secondsite.agent.lab import layout
from secondsite.agent.lab.datacentre import Machine
from secondsite.agent.lab.engine import SourceDisk
from secondsite.agent.lab.slots import slot_id


class GuestDisk(Protocol):
    """What a guest knows of a disk."""

    @property
    def size(self) -> int:
        """Bytes."""

    @property
    def lock(self) -> threading.RLock:
        """Held for the whole of a write."""

    def read(self, offset: int, length: int) -> bytes:
        """ValueError outside of the disk."""

    def write(self, offset: int, data: bytes) -> None:
        """ValueError outside of the disk."""

    def sync(self) -> None:
        """What was written survives a power cut."""

    def close(self) -> None:
        """May be repeated."""


def disk_ids(machine: Machine) -> list[str]:
    """The engine's names of all disks of a VM, in the file's order: the first holds the guest's log."""
    return [slot_id(disk.slot) for disk in machine.disks]


def make_disks(machine: Machine, folder: Path, but: Collection[str]) -> None:
    """Make the disks of a VM that are not there, all `but` those."""
    for index, name in enumerate(disk_ids(machine)):
        if name not in but:
            open_disk(folder / f"{name}.raw", machine, index).close()


def open_disk(path: Path, machine: Machine, index: int) -> SourceDisk:
    """The disk's file; where it is new, its first content is written before it gets its name.

    It never shrinks: one that the data-centre file has smaller by now stays as large as it is.
    """
    size = int(machine.disks[index].size)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        disk = SourceDisk(fresh, size)
        _fill(disk, machine, index)
        disk.close()
        fresh.rename(path)
    return SourceDisk(path, max(size, path.stat().st_size))


def _fill(disk: SourceDisk, machine: Machine, index: int) -> None:
    wish = machine.disks[index]
    if index == 0:
        services = [service.model_dump() for service in machine.guest.services]
        disk.write(0, layout.superblock(machine.guest.seed, services))
    for offset, length in layout.pieces(disk.size, int(wish.data)):
        disk.write(offset, layout.initial(wish.seed, offset, length))
