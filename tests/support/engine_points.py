"""A few points of a small VM, and what each must hold."""

from secondsite.agent.lab.engine import TargetStore
from support.engine_pair import BLOCK, Pair, pattern

SIZES = {"a": 8 * BLOCK, "b": 2 * BLOCK + 1000}


def cycles(pair: Pair, count: int) -> tuple[list[str], list[dict[str, bytes]]]:
    """Points 0…count-1; at point n, block n of disk a and the first bytes of b say n; block 7 is written each time."""
    points, images = [], []
    for number in range(count):
        pair.disks["a"].write(number * BLOCK, pattern(number))
        pair.disks["a"].write(7 * BLOCK, pattern(100 + number))
        pair.disks["b"].write(0, pattern(number, 10))
        images.append({name: disk.read(0, disk.size) for name, disk in pair.disks.items()})
        points.append(pair.cycle().cycle)
        pair.clock.forward(60)
    return points, images


def image(store: TargetStore, point: str) -> dict[str, bytes]:
    return {name: store.read_point(point, name, 0, size) for name, size in SIZES.items()}
