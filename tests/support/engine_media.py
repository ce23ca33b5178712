"""Disks worth carrying by media, and what a point of them must hold."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from support.engine_pair import BLOCK, Pair, pattern

BLOCKS = 400
SIZES = {"a": BLOCKS * BLOCK + 4096, "b": 90 * BLOCK, "empty": BLOCK}


@contextlib.contextmanager
def filled_pair(folder: Path) -> Iterator[Pair]:
    with Pair(folder, SIZES) as pair:
        random = np.random.default_rng(1)
        for block in range(0, BLOCKS, 2):
            pair.disks["a"].write(block * BLOCK, random.bytes(BLOCK) if block % 4 else pattern(block))
        pair.disks["a"].write(8 * BLOCK, bytes(BLOCK))
        pair.disks["a"].write(BLOCKS * BLOCK, pattern(9, 4096))
        pair.disks["b"].write(0, pattern(4, 80 * BLOCK))
        yield pair


def contents(pair: Pair) -> dict[str, bytes]:
    return {name: disk.read(0, disk.size) for name, disk in pair.disks.items()}


def point_is(pair: Pair, point: str, expected: dict[str, bytes]) -> bool:
    return all(pair.target.read_point(point, name, 0, len(content)) == content for name, content in expected.items())
