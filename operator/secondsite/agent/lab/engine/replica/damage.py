"""What is known to be damaged in a store, and which recovery points that touches."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from secondsite.agent.lab.engine.blocks import Blocks, block_count
from secondsite.agent.lab.engine.replica.catalogue import MAX_LISTED_BLOCKS, Damaged
from secondsite.agent.lab.engine.replica.contents import Contents
from secondsite.agent.lab.engine.replica.layer import Layer
from secondsite.wire.peer import MAX_WANTED_BLOCKS


class Layered(Protocol):
    """A disk that stands in layers: `ReplicaDisk`."""

    @property
    def name(self) -> str: ...

    @property
    def size(self) -> int: ...

    def layer(self, point: str) -> Layer: ...


def damaged_points(contents: Contents, replicas: Mapping[str, Layered]) -> dict[str, str]:
    """Points at which damage shows, and what it is: a block is seen until a newer layer has it too."""
    found: dict[str, str] = {}
    chain = [entry.point for entry in contents.points]
    disks = {entry.point: entry.sizes for entry in contents.points}
    for name, replica in replicas.items():
        for position, blocks, text in _sources(contents, replica, chain):
            for point in _seeing(replica, chain, position, blocks):
                if name not in disks[point]:
                    continue
                found[point] = f"{found[point]}; {text}" if point in found else f"disk {name}: {text}"
    return found


def _sources(contents: Contents, replica: Layered, chain: list[str]) -> list[tuple[int, Blocks, str]]:
    """Place in the chain (-1: the base), blocks and description of each file that is damaged."""
    everything = np.arange(block_count(replica.size), dtype=np.int64)
    found = []
    for position, point in enumerate([None, *chain], start=-1):
        if point is not None and replica.layer(point).lost:
            found.append((position, everything, replica.layer(point).lost))
            continue
        damage = contents.damage.get((replica.name, point))
        if damage is not None:
            blocks = everything if damage.unlisted else np.array(damage.blocks, dtype=np.int64)
            count = len(damage.blocks) + damage.unlisted
            place = "the base" if point is None else f"layer {point}"
            found.append((position, blocks, f"{count} damaged blocks of 64 KiB in {place}"))
    return found


def _seeing(replica: Layered, chain: list[str], position: int, blocks: Blocks) -> list[str]:
    seeing = []
    for number in range(max(0, position), len(chain)):
        if number > position:
            blocks = blocks[replica.layer(chain[number]).find(blocks) < 0]
        if len(blocks) == 0:
            break
        seeing.append(chain[number])
    return seeing


def changed(
    contents: Contents, disk: str, layer: str | None, damaged: set[int], whole: frozenset[int] | None
) -> Damaged | None:
    """The event that says what was found in a file; None when it is known already.

    `whole` are blocks that were found to be right; None: all that are not in `damaged`.
    """
    before = contents.damage.get((disk, layer)) or Damaged(disk=disk, layer=layer, blocks=())
    kept = set() if whole is None else set(before.blocks) - whole
    blocks = sorted(kept | damaged)
    unlisted = (0 if whole is None else before.unlisted) + max(0, len(blocks) - MAX_LISTED_BLOCKS)
    event = Damaged(disk=disk, layer=layer, blocks=tuple(blocks[:MAX_LISTED_BLOCKS]), unlisted=unlisted)
    return None if event == before else event


def wanted(contents: Contents) -> dict[str, tuple[int, ...]]:
    """Damaged blocks per disk to ask the sender for, those of the newest points first, up to what a message may ask."""
    order = {entry.point: number for number, entry in enumerate(contents.points)}
    newest_first = sorted(contents.damage.values(), key=lambda event: order.get(event.layer or "", -1), reverse=True)
    found: dict[str, dict[int, None]] = {}
    left = MAX_WANTED_BLOCKS
    for event in newest_first:
        blocks = found.setdefault(event.disk, {})
        fresh = [block for block in event.blocks if block not in blocks][:left]
        blocks.update(dict.fromkeys(fresh))
        left -= len(fresh)
    return {disk: tuple(sorted(blocks)) for disk, blocks in found.items() if blocks}
