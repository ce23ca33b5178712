"""The frames around the blocks of a layer, as they must be: all of it follows from the index."""

import os
from collections.abc import Iterator

import numpy as np

from secondsite.agent.lab.engine.port.frames import ENTRY_TYPE, cycle_digest
from secondsite.agent.lab.engine.replica.layer import Index, Layer
from secondsite.wire.peer import BLOCK_BYTES, FLAG_ZERO, FRAME_BLOCKS, FrameHeader


def damaged_heads(layer: Layer, point: str, generation: int) -> Iterator[tuple[int, bytes]]:
    """Offset and true bytes of each frame's header and table that the file does not show; none for a merged layer."""
    frames = [layer.index[first : first + FRAME_BLOCKS] for first in range(0, len(layer.index), FRAME_BLOCKS)]
    heads = [_head(entries, sequence, point, generation) for sequence, entries in enumerate(frames)]
    if sum(len(head) + _payload(entries) for head, entries in zip(heads, frames, strict=True)) != layer.content_end:
        return
    position = 0
    for head, entries in zip(heads, frames, strict=True):
        if os.pread(layer.fd, len(head), position) != head:
            yield position, head
        position += len(head) + _payload(entries)


def _payload(entries: Index) -> int:
    return int(np.count_nonzero((entries["flags"] & FLAG_ZERO) == 0)) * BLOCK_BYTES


def _head(entries: Index, sequence: int, point: str, generation: int) -> bytes:
    table = np.zeros(len(entries), dtype=ENTRY_TYPE)
    for field in ("block", "digest", "flags"):
        table[field] = entries[field]
    header = FrameHeader(
        sequence=sequence,
        blocks=len(entries),
        raw_bytes=_payload(entries),
        stored_bytes=_payload(entries),
        generation=generation,
        cycle=cycle_digest(point),
    )
    return header.pack(table.tobytes())
