"""Where the files of each VM lie under a lab agent's data; a change of roles moves disks between these places."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Folders:
    """Paths only; nothing is made. `data` is the driver's folder."""

    data: Path

    @property
    def documents(self) -> Path:
        """What the site remembers."""
        return self.data / "lab.db"

    @property
    def tracked(self) -> Path:
        """With a folder for each map of changes."""
        return self.data / "tracking"

    def tracking(self, vm_id: str) -> Path:
        """The map of changes, while the VM is a primary here."""
        return self.tracked / vm_id

    def replica(self, vm_id: str) -> Path:
        """The store, while the VM is a replica here."""
        return self.data / "replicas" / vm_id

    def kept(self, name: str) -> Path:
        """A replica that people asked to keep, out of the way of a new one."""
        return self.data / "kept" / name

    def disks(self, vm_id: str) -> Path:
        """The folder of the disks, while the VM runs here."""
        return self.data / "disks" / vm_id

    def disk(self, vm_id: str, name: str) -> Path:
        """One of them, by the engine's name."""
        return self.disks(vm_id) / f"{name}.raw"
