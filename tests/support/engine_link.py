"""A process of its own for a cycle over a loopback that the kernel has slowed: prints what it measured, as JSON."""

import json
import sys
from pathlib import Path

import numpy as np

from secondsite.agent.lab.engine import Compression
from support.engine_pair import BLOCK, Pair

BLOCKS = 512


def measure(folder: Path) -> dict[str, float]:
    """One initial cycle of 32 MiB, half of which packs: bytes of blocks and on the wire, measured speed."""
    noise = np.random.default_rng(1)
    with Pair(folder, {"a": BLOCKS * BLOCK}) as pair:
        pair.client.compression = Compression.Auto
        for block in range(BLOCKS):
            pair.disks["a"].write(block * BLOCK, noise.bytes(BLOCK // 2) + b"the same" * (BLOCK // 16))
        result = pair.cycle()
        rate = pair.client.link.speed.rate or 0.0
        return {
            "bytes": result.bytes,
            "wire_bytes": result.wire_bytes,
            "rate": rate,
            "same": pair.matches(result.cycle),
        }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure(Path(sys.argv[1]))))
