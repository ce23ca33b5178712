"""Disks of a lab guest in memory: which write each slot holds, and how many there were; a point is a copy of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Protocol

Key = tuple[str, int]
Image = dict[Key, int]
"""Disk and block; block 0 of the first disk counts the writes, the others hold the number of the last write."""

SLOTS = 5


class Observer(Protocol):
    """Who must know of a write before it happens."""

    def before_write(self, key: Key) -> None: ...


@dataclass
class MemoryDisk:
    """A disk's content, which survives the agent, and who watches it, who does not."""

    name: str
    size: int
    path: Path
    blocks: dict[int, int] = field(default_factory=dict)
    observer: Observer | None = None

    def write(self, block: int, value: int) -> None:
        if self.observer is not None:
            self.observer.before_write((self.name, block))
        self.blocks[block] = value

    def close(self) -> None:
        """Nothing is open."""


def place(order: list[str], sequence: int) -> Key:
    """Where write `sequence` goes: every disk in turn, its slots in an order that overwrites."""
    disk = order[sequence % len(order)]
    return disk, 1 + (sequence * 7 + sequence // 3) % SLOTS


@lru_cache(maxsize=4096)
def _replayed(order: tuple[str, ...], count: int) -> Mapping[Key, int]:
    if count == 0:
        return {}
    before = dict(_replayed(order, count - 1))
    before[place(list(order), count)] = count
    before[order[0], 0] = count
    return before


def replay(order: list[str], count: int) -> Mapping[Key, int]:
    """What writes 1 to `count` leave."""
    # In steps, so that a cold cache never recurses deep.
    for step in range(0, count, 200):
        _replayed(tuple(order), step)
    return _replayed(tuple(order), count)


def faults(order: list[str], image: Mapping[Key, int]) -> str:
    """What of an image is not the replay of its writes; empty where it all is. Disks that it lacks are left out."""
    held = {name for name, _ in image}
    count = image.get((order[0], 0), 0)
    expected = {key: value for key, value in replay(order, count).items() if key[0] in held}
    return "" if expected == image else f"{count} writes leave {expected}, not {dict(image)}"


@contextmanager
def nothing() -> Iterator[None]:
    """For whoever stands still by itself."""
    yield


@dataclass
class History:
    """When each write was made, in the life that the guest leads now; a failover cuts it back to a point."""

    times: list[datetime] = field(default_factory=list)
