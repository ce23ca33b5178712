"""A disk of a VM that runs from the clone of a recovery point."""

from __future__ import annotations

import threading

from secondsite.agent.lab.engine import Clone


class CloneDisk:
    """One disk of a clone, as a guest sees it. Closing one closes the whole clone."""

    def __init__(self, clone: Clone, name: str) -> None:
        self._clone = clone
        self._name = name
        self.size = clone.disks[name]
        self.lock = threading.RLock()

    def read(self, offset: int, length: int) -> bytes:
        """ValueError outside of the disk, DamagedBlock."""
        return self._clone.read(self._name, offset, length)

    def write(self, offset: int, data: bytes) -> None:
        """ValueError outside of the disk, DamagedBlock under a partial write."""
        self._clone.write(self._name, offset, data)

    def sync(self) -> None:
        """The guest's flush."""
        self._clone.sync()

    def close(self) -> None:
        """May be repeated."""
        self._clone.close()
