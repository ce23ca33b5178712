"""A disk full of blocks, and a cycle that was stopped in the middle of them."""

import threading

from secondsite.agent.lab.engine import Stopped
from support.engine_pair import BLOCK, Pair, pattern
from support.engine_soak import wait_until

MIB = 1 << 20
SIZES = {"data": 24 * MIB, "system": 8 * MIB}


def fill(pair: Pair, blocks: int = 320) -> None:
    for block in range(blocks):
        pair.disks["data"].write(block * BLOCK, pattern(block))


def stopped_half_way(pair: Pair, frames: int = 2) -> None:
    """Leave a cycle of which the replica holds some frames, but not all."""
    stop = threading.Event()
    pair.bucket.rate = 16 * MIB
    running = pair.start_cycle(stop)
    wait_until(lambda: pair.source.progress().bytes_acknowledged >= frames * 64 * BLOCK, 20)
    stop.set()
    assert isinstance(running.exception(timeout=20), Stopped)
    pair.bucket.rate = None
