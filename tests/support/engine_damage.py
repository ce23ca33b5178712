"""Breaking the stored files of a replica on purpose, and knowing the truth that they held."""

import os
import threading
from dataclasses import dataclass, field
from pathlib import Path

from secondsite.agent.lab.engine import TargetStore, TokenBucket
from secondsite.agent.lab.engine.replica.layer import Layer
from secondsite.agent.lab.engine.replica.scrub import ScrubResult
from support.engine_pair import BLOCK, Pair, pattern

SIZES = {"a": 8 * BLOCK, "b": 2 * BLOCK + 1000}


@dataclass
class Truth:
    """Points, oldest first, and what each disk was at them."""

    points: list[str] = field(default_factory=list)
    images: list[dict[str, bytes]] = field(default_factory=list)

    def image(self, point: str) -> dict[str, bytes]:
        return self.images[self.points.index(point)]

    def forget(self, point: str) -> None:
        del self.images[self.points.index(point)]
        self.points.remove(point)


def cycles(pair: Pair, count: int) -> Truth:
    """Points 0…count-1; at point n, block n of disk a says n for the first time, block 7 is written each time."""
    truth = Truth()
    for number in range(count):
        pair.disks["a"].write(number * BLOCK, pattern(number))
        pair.disks["a"].write(7 * BLOCK, pattern(100 + number))
        pair.disks["b"].write(0, pattern(number, 10))
        truth.images.append({name: disk.read(0, disk.size) for name, disk in pair.disks.items()})
        truth.points.append(pair.cycle().cycle)
        pair.clock.forward(60)
    return truth


def disk_folder(pair: Pair, disk: str = "a") -> Path:
    return pair.folder / "target/disks" / disk


def layer_path(pair: Pair, point: str, disk: str = "a") -> Path:
    return disk_folder(pair, disk) / "layers" / f"{point}.lay"


def flip(path: Path, offset: int, bits: int = 0xFF) -> None:
    """Change one byte; from the end when `offset` is negative."""
    fd = os.open(path, os.O_RDWR)
    try:
        offset += os.fstat(fd).st_size if offset < 0 else 0
        os.pwrite(fd, bytes([os.pread(fd, 1, offset)[0] ^ bits]), offset)
    finally:
        os.close(fd)


def damage_block(pair: Pair, point: str, block: int, disk: str = "a") -> None:
    """Change one byte of a block where the layer of a point stores it."""
    layer = Layer(layer_path(pair, point, disk))
    entry = layer.index[layer.index["block"] == block][0]
    flip(layer.path, int(entry["offset"]) + 1234)


def scrub_files(store: TargetStore) -> ScrubResult:
    return store.scrub_files(threading.Event(), TokenBucket())


def damaged(store: TargetStore) -> list[bool]:
    """Of each point, oldest first."""
    return [point.damaged for point in store.points()]
