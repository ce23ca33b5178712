"""Which blocks a stored file holds, and which of them do not match their digests: for the scrub and for the check."""

from collections.abc import Callable, Iterator

import numpy as np

from secondsite.agent.lab.engine.blocks import true_digest
from secondsite.agent.lab.engine.replica.base import BaseImage
from secondsite.agent.lab.engine.replica.layer import Layer, data_runs
from secondsite.agent.lab.engine.replica.view import is_zero, read_blockwise
from secondsite.wire.peer import BLOCK_BYTES

_STEP_BLOCKS = 16


def damaged_in(layer: Layer, before_reading: Callable[[int], None]) -> Iterator[int]:
    """Blocks of a layer that do not match their digests, step by step; `before_reading` hears of each step's bytes."""
    digests = dict(zip(layer.index["block"].tolist(), layer.index["digest"], strict=True))
    for offset, block, count in data_runs(layer.index):
        for step in range(0, count, _STEP_BLOCKS):
            size = min(_STEP_BLOCKS, count - step)
            before_reading(size * BLOCK_BYTES)
            content = memoryview(bytearray(size * BLOCK_BYTES))
            unreadable = set(read_blockwise(layer.fd, content, offset + step * BLOCK_BYTES))
            for index in range(size):
                piece = content[index * BLOCK_BYTES : (index + 1) * BLOCK_BYTES]
                number = block + step + index
                if index in unreadable or true_digest(piece) != digests[number].tobytes():
                    yield number


def stored_blocks(base: BaseImage, first: int, count: int) -> list[int]:
    """Which of consecutive blocks of the base are not zero, as its two lists of digests say."""
    zero = is_zero(base.digests(first, count)) & is_zero(base.xxh3(first, count))
    blocks: list[int] = (first + np.flatnonzero(~zero)).tolist()
    return blocks
