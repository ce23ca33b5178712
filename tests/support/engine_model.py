"""A replicated VM beside a model of it that holds whole images in memory; the rules stand in the test."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis.stateful import RuleBasedStateMachine

from secondsite.agent.lab.engine import Clone, CycleResult, LinkError
from secondsite.agent.lab.engine.primary.tracker import Cell
from support.engine_pair import BLOCK, Pair

SIZES = {"a": 6 * BLOCK, "b": 2 * BLOCK + 77}
Image = dict[str, bytearray]


def copied(image: Image) -> Image:
    return {name: bytearray(content) for name, content in image.items()}


class Modelled(RuleBasedStateMachine):
    """`disks` is what the guest wrote, `points` what each recovery point must be, `clones` what each clone must be.

    `frozen` is the image of the open cycle, `touched` are the blocks that may be pending: those written since the last
    cycle that was committed had been frozen, or owed by an initial copy.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.pair = Pair(self.folder, SIZES)
        self.pair.restart_source(clean=True, boot_id="boot 0")
        self.disks: Image = {name: bytearray(size) for name, size in SIZES.items()}
        self.points: dict[str, Image] = {}
        self.frozen: Image | None = None
        self.touched: set[tuple[str, int]] = set()
        self.touched_since_freeze: set[tuple[str, int]] = set()
        self.clones: dict[str, Image] = {}
        self.open_clones: dict[str, Clone] = {}
        self.trusted = True
        # The replica is another than the one that the source knows.
        self.replaced = False
        self.boots = 0
        self.counter = 0

    def teardown(self) -> None:
        self.close_clones()
        self.pair.__exit__()
        shutil.rmtree(self.folder)

    def close_clones(self) -> None:
        for clone in self.open_clones.values():
            clone.close()
        self.open_clones.clear()

    def put(self, disk: str, offset: int, data: bytes) -> None:
        self.pair.disks[disk].write(offset, data)
        self.disks[disk][offset : offset + len(data)] = data
        blocks = {(disk, block) for block in range(offset // BLOCK, (offset + len(data) - 1) // BLOCK + 1)}
        self.touched |= blocks
        self.touched_since_freeze |= blocks

    def committed(self, cycle: str, image: Image) -> None:
        self.points[cycle] = image
        self.frozen = None
        self.touched = set(self.touched_since_freeze)

    def cycle(self) -> CycleResult:
        while True:
            try:
                return self.pair.cycle()
            except LinkError as error:
                # The connection that was cut was heard of only now.
                assert "Superseded" in str(error)  # noqa: PT017  # again is the answer to this one alone

    def cycle_with(self, owner: type, name: str, fault: Callable[..., None]) -> None:
        self.put("a", 0, bytes([self.disks["a"][0] ^ 1]))
        expected = copied(self.disks)
        self.touched_since_freeze.clear()
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(owner, name, fault)
            with pytest.raises(LinkError):
                self.pair.cycle()
        self.frozen = expected

    def opened(self, name: str) -> Clone:
        if name not in self.open_clones:
            self.open_clones[name] = self.pair.target.open_clone(name)
        return self.open_clones[name]

    def owed(self) -> set[tuple[str, int]]:
        """What the source believes the replica to lack."""
        return {
            (name, block)
            for name, tracker in self.pair.source.trackers.items()
            for block in np.flatnonzero((tracker._current != 0) | (tracker._frozen != Cell.Free)).tolist()
        }
