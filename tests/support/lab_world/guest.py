"""A guest in memory: it writes when a test says so, and knows when it made which write."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import MappingProxyType

from secondsite.agent.lab.datacentre import Machine
from secondsite.agent.lab.engine import QuiesceFailed
from secondsite.agent.lab.guest_disks import disk_ids
from support.lab_world.files import SiteFiles
from support.lab_world.images import History, Image, MemoryDisk, place

_NONE: Mapping[str, MemoryDisk] = MappingProxyType({})


class MemoryGuest:
    """A VM that runs here."""

    refuse_quiesce = ""

    def __init__(
        self,
        files: SiteFiles,
        machine: Machine,
        folder: Path,
        now: Callable[[], datetime],
        borrowed: Mapping[str, MemoryDisk] = _NONE,
    ) -> None:
        self.machine = machine
        self._now = now
        names = disk_ids(machine)
        files.order[machine.id] = names
        sizes = dict(zip(names, (int(disk.size) for disk in machine.disks), strict=True))
        held = files.disks.setdefault(folder, {})
        for name in names:
            if name not in held and name not in borrowed:
                held[name] = MemoryDisk(name, sizes[name], folder / f"{name}.raw")
        self.disks = {name: held[name] for name in names if name not in borrowed}
        self._all = {name: borrowed.get(name) or held[name] for name in names}
        # Whoever watched them has died with the agent.
        for disk in self.disks.values():
            disk.observer = None
        self.history = files.histories.setdefault(machine.id, History())
        self._order = names
        self.running = False
        # Writes that were made elsewhere, at times that nobody here knows.
        missing = self.count - len(self.history.times)
        self.history.times.extend([now()] * missing)

    @property
    def count(self) -> int:
        """How many writes the disks hold."""
        return self._all[self._order[0]].blocks.get(0, 0)

    @property
    def image(self) -> Image:
        """What the disks hold."""
        return {(name, block): value for name, disk in self._all.items() for block, value in disk.blocks.items()}

    def start(self) -> None:
        """Writes are the test's to ask for."""
        self.running = self.machine.state == "Running"

    def stop(self) -> None:
        self.running = False

    def close(self) -> None:
        self.running = False
        for disk in self._all.values():
            disk.close()

    def turn_on(self) -> None:
        """Start-VM."""
        self.machine = self.machine.model_copy(update={"state": "Running"})
        self.start()

    def shut_down(self) -> None:
        """Stop-VM, cleanly."""
        self.turn_off()

    def turn_off(self) -> None:
        """As if its power was cut."""
        self.stop()
        self.machine = self.machine.model_copy(update={"state": "Off"})

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
        self._all[disk].write(block, sequence)
        self._all[self._order[0]].write(0, sequence)
