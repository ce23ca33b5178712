"""Room on the file system of a store: a cycle that would fill it is refused before it begins."""

import os
from collections.abc import Mapping
from pathlib import Path

from secondsite.agent.lab.engine.errors import NoSpace, PeerRefused
from secondsite.agent.lab.engine.port.frames import ENTRY_TYPE
from secondsite.agent.lab.engine.replica.layer import INDEX_TYPE, Layer
from secondsite.agent.lab.engine.replica.replica_disk import ReplicaDisk
from secondsite.wire.peer import BLOCK_BYTES, CycleOpen

_LEAST_RESERVE_BYTES = 64 << 20
# Besides its bytes a block costs an entry in its frame and one in the layer's index.
_STORED_BLOCK_BYTES = BLOCK_BYTES + ENTRY_TYPE.itemsize + INDEX_TYPE.itemsize
_FILE_BYTES = 1 << 16
# What even a merge leaves free, for the catalogue.
_CATALOGUE_BYTES = 1 << 20


class Space:
    """The file system under a folder. `reserve` bytes of it are kept for merges, clones and the catalogue.

    Without a number: 1 % of the file system, and not less than 64 MiB.
    """

    def __init__(self, folder: Path, reserve: int | None) -> None:
        self._folder = folder
        self._reserve = reserve

    @property
    def free(self) -> int:
        """Bytes that may still be written, without those that only root may use."""
        found = os.statvfs(self._folder)
        return found.f_bavail * found.f_frsize

    @property
    def reserve(self) -> int:
        if self._reserve is not None:
            return self._reserve
        found = os.statvfs(self._folder)
        return max(_LEAST_RESERVE_BYTES, found.f_blocks * found.f_frsize // 100)

    def expect_room(self, message: CycleOpen, replicas: Mapping[str, ReplicaDisk]) -> None:
        """PeerRefused (507 InsufficientSpace) where the cycle and the reserve do not fit."""
        needed = sum(plan.blocks * _STORED_BLOCK_BYTES + _FILE_BYTES for plan in message.disks.values())
        # Of this cycle it is there already; of another it goes when this one begins.
        needed -= sum(disk.incoming_bytes for disk in replicas.values())
        free, reserve = self.free, self.reserve
        if needed + reserve > free:
            detail = (
                f"cycle {message.cycle} needs {max(0, needed)} bytes and {reserve} are kept in reserve, but {free} are "
                f"free at {self._folder}: free at least {needed + reserve - free} bytes there, or keep fewer recovery "
                "points; all that exist are kept, and the cycle is tried again"
            )
            raise PeerRefused(507, "InsufficientSpace", detail)

    def expect_reserve(self) -> None:
        """PeerRefused (507 InsufficientSpace) where not even the reserve is free."""
        if self.reserve > self.free:
            raise PeerRefused(507, "InsufficientSpace", f"{self.reserve} bytes are kept in reserve at {self._folder}")

    def expect_room_to_merge(self, layers: list[Layer]) -> None:
        """NoSpace where the copies of these layers may not fit beside them."""
        needed, free = sum(layer.bytes for layer in layers) + _CATALOGUE_BYTES, self.free
        if needed > free:
            raise NoSpace(
                f"merging needs up to {needed} bytes beside what it merges, and {free} are free at {self._folder}: "
                f"free {needed - free} bytes there; until then the recovery point stays"
            )
