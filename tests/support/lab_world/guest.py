"""A guest in memory: it writes when a test says so, and knows when it made which write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from secondsite.agent.lab.datacentre import Machine
from secondsite.agent.lab.engine import QuiesceFailed
from secondsite.agent.lab.guests import disk_ids
from support.lab_world.files import SiteFiles
from support.lab_world.images import History, Image, MemoryDisk, place


class MemoryGuest:
    """A VM that runs here."""

    refuse_quiesce = ""

    def __init__(self, files: SiteFiles, machine: Machine, folder: Path, now: Callable[[], datetime]) -> None:
        self.machine = machine
        self._now = now
        names = disk_ids(machine)
        files.order[machine.id] = names
        sizes = dict(zip(names, (int(disk.size) for disk in machine.disks), strict=True))
        self.disks = files.disks.setdefault(
            folder, {name: MemoryDisk(name, sizes[name], folder / f"{name}.raw") for name in names}
        )
        # Whoever watched them has died with the agent.
        for disk in self.disks.values():
            disk.observer = None
        self.history = files.histories.setdefault(machine.id, History())
        self._order = names
        self.running = False

    @property
    def count(self) -> int:
        """How many writes the disks hold."""
        return self.disks[self._order[0]].blocks.get(0, 0)

    @property
    def image(self) -> Image:
        """What the disks hold."""
        return {(name, block): value for name, disk in self.disks.items() for block, value in disk.blocks.items()}

    def start(self) -> None:
        """Writes are the test's to ask for."""
        self.running = self.machine.state == "Running"

    def stop(self) -> None:
        self.running = False

    def close(self) -> None:
        self.running = False

    @contextmanager
    def paused(self) -> Iterator[None]:
        yield

    @contextmanager
    def quiesced(self) -> Iterator[None]:
        """Raises QuiesceFailed where it was told to."""
        if self.refuse_quiesce:
            raise QuiesceFailed(f"{self.machine.name} cannot be quiesced: {self.refuse_quiesce}")
        yield

    def write(self) -> None:
        """One write, where it runs: content, then the count that says so."""
        if not self.running:
            return
        sequence = self.count + 1
        del self.history.times[sequence - 1 :]
        self.history.times.append(self._now())
        disk, block = place(self._order, sequence)
        self.disks[disk].write(block, sequence)
        self.disks[self._order[0]].write(0, sequence)
