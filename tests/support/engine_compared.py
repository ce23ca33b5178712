"""A replicated pair whose source has lost its map, compared in small steps."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from secondsite.agent.lab.engine import HashBasis, MapNotTrusted
from secondsite.agent.lab.engine.primary import compare as comparing
from support.engine_pair import BLOCK, Pair, pattern

BLOCKS = 1100
SIZE = BLOCKS * BLOCK + 4096
STEP = 32


@contextlib.contextmanager
def replicated_pair(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    """Two disks, a point of them, and steps small enough for several per disk."""
    monkeypatch.setattr(comparing, "_STEP_BLOCKS", STEP)
    monkeypatch.setattr(
        "secondsite.agent.lab.engine.port.hash_client._PAGE_BLOCKS", {HashBasis.Stored: 256, HashBasis.Read: 128}
    )
    with Pair(folder, {"a": SIZE, "b": 100 * BLOCK}) as pair:
        for block in (*range(120), 700, 800, 1099):
            pair.disks["a"].write(block * BLOCK, pattern(block))
        pair.disks["a"].write(BLOCKS * BLOCK, pattern(1, 4096))
        pair.disks["b"].write(0, pattern(5, 8 * BLOCK))
        pair.cycle()
        yield pair


def lose_map(pair: Pair) -> None:
    """What a host that crashed knows: nothing of what was written."""
    for tracker in pair.source.trackers.values():
        tracker._current[:] = 0
    pair.source.distrust()
    with pytest.raises(MapNotTrusted):
        pair.cycle()


def write(pair: Pair, *blocks: int, seed: int = 500) -> None:
    for block in blocks:
        pair.disks["a"].write(block * BLOCK, pattern(seed + block))
