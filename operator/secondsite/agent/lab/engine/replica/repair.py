"""Mending damaged blocks where they lie: from what the store itself still has, or from what the sender offers.

A block is written in place and only where its BLAKE3 is the one that the damaged block must have: it becomes what it
was, for every point that sees it. Nothing here is called without both locks of the store, `merge_lock` first.
"""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np

from secondsite.agent.lab.engine.blocks import ZERO_DIGEST, Digests, true_digest, xxh3
from secondsite.agent.lab.engine.durable import write_all
from secondsite.agent.lab.engine.errors import StoreDamaged
from secondsite.agent.lab.engine.replica.base import BaseImage
from secondsite.agent.lab.engine.replica.layer import Index, Layer, pack_footer, read_footer
from secondsite.agent.lab.engine.replica.replica_disk import ReplicaDisk
from secondsite.agent.lab.engine.replica.view import read_blockwise
from secondsite.wire.peer import BLOCK_BYTES, FLAG_ZERO


def expected_digest(replica: ReplicaDisk, layer: str | None, block: int) -> bytes | None:
    """What a block of a file must hash to; None where the file has no such block, or nobody knows."""
    if layer is None:
        return _digest_of(replica.base.digests(block, 1)[0])
    entry = _entry(replica.layer(layer), block)
    return None if entry is None else _digest_of(entry[0]["digest"])


def intact(replica: ReplicaDisk, layer: str | None, block: int) -> bool:
    """Whether a block of a file is what it must be."""
    if layer is None:
        return base_intact(replica.base, block)
    entry = _entry(replica.layer(layer), block)
    if entry is None or entry[0]["flags"] & FLAG_ZERO:
        return True
    content = _read_block(replica.layer(layer).fd, int(entry[0]["offset"]))
    return content is not None and true_digest(content) == entry[0]["digest"].tobytes()


def base_intact(base: BaseImage, block: int) -> bool:
    """Whether content and both digests of a block of the base agree."""
    content, digest, kept = _base_block(base, block)
    if digest == kept == ZERO_DIGEST:
        return True
    return content is not None and (true_digest(content), xxh3(content)) == (digest, kept)


def mend_locally(
    replicas: Mapping[str, ReplicaDisk], disk: str, layer: str | None, blocks: Collection[int]
) -> set[int]:
    """Mend what this store can by itself; the blocks that are right now, those that already were among them."""
    replica = replicas[disk]
    right = {block for block in blocks if intact(replica, layer, block)}
    missing = set(blocks) - right
    if layer is None:
        voted = {block for block in missing if _outvoted(replica.base, block)}
        right |= voted
        missing -= voted
    wanted = {block: expected_digest(replica, layer, block) for block in missing}
    copies = _copies(replicas, {digest for digest in wanted.values() if digest is not None})
    for block, digest in wanted.items():
        content = copies.get(digest or b"")
        if content is not None:
            mend(replica, layer, block, content)
            right.add(block)
    return right


def mend(replica: ReplicaDisk, layer: str | None, block: int, content: memoryview | bytes) -> None:
    """Put a block in place, durably. The caller has compared its digest."""
    if layer is None:
        replica.base.mend(block, content)
        return
    found = replica.layer(layer)
    entry = _entry(found, block)
    if entry is not None and not entry[0]["flags"] & FLAG_ZERO:
        overwrite(found, int(entry[0]["offset"]), content)


def mend_footer(layer: Layer) -> bool:
    """Write index and trailer anew, durably, where the file lost what is in memory; whether it had. StoreDamaged."""
    try:
        read_footer(layer.fd, layer.path)
    except StoreDamaged:
        overwrite(layer, layer.content_end, pack_footer(layer.index, layer.content_end))
        return True
    return False


def overwrite(layer: Layer, offset: int, content: memoryview | bytes) -> None:
    """Write into the file of a layer, durably. StoreDamaged when another file has its name."""
    fd = os.open(layer.path, os.O_WRONLY)
    try:
        if os.fstat(fd).st_ino != os.fstat(layer.fd).st_ino:
            raise StoreDamaged(f"layer {layer.path} was replaced by another file while it is in use; restart the agent")
        write_all(fd, content, offset)
        os.fdatasync(fd)
    finally:
        os.close(fd)


def _outvoted(base: BaseImage, block: int) -> bool:
    """Of content, BLAKE3 and XXH3 two may agree against the third; then the third is corrected."""
    content, digest, kept = _base_block(base, block)
    if content is None or (true_digest(content) != digest and xxh3(content) != kept):
        return False
    base.mend(block, content)
    return True


def _copies(replicas: Mapping[str, ReplicaDisk], digests: set[bytes]) -> dict[bytes, bytes]:
    """Blocks of these digests, wherever a layer of any disk, or a base, has one intact."""
    found = {ZERO_DIGEST: bytes(BLOCK_BYTES)} if ZERO_DIGEST in digests else {}
    for replica in replicas.values():
        for fd, digest, offset in _candidates(replica, digests):
            if digest not in found:
                content = _read_block(fd, offset)
                if content is not None and true_digest(content) == digest:
                    found[digest] = bytes(content)
    return found


def _candidates(replica: ReplicaDisk, digests: set[bytes]) -> Iterator[tuple[int, bytes, int]]:
    for layer in replica.layers():
        if not layer.lost:
            data = layer.index[(layer.index["flags"] & FLAG_ZERO) == 0]
            for entry in data[_among(data["digest"], digests)]:
                yield layer.fd, entry["digest"].tobytes(), int(entry["offset"])
    for first, listed in replica.base.pages():
        for index in np.flatnonzero(_among(listed, digests)).tolist():
            yield replica.base.fd, listed[index].tobytes(), (first + index) * BLOCK_BYTES


def _among(listed: Digests, digests: Collection[bytes]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """By the first half of each digest: quick, and the content decides anyway."""
    keys = np.frombuffer(b"".join(digest[:8] for digest in digests if digest != ZERO_DIGEST), dtype=np.uint64)
    return np.isin(np.frombuffer(np.ascontiguousarray(listed).tobytes(), dtype=np.uint64)[::2], keys)


def _base_block(base: BaseImage, block: int) -> tuple[memoryview | None, bytes, bytes]:
    digest, kept = base.digests(block, 1)[0].tobytes(), base.xxh3(block, 1)[0].tobytes()
    return _read_block(base.fd, block * BLOCK_BYTES), digest, kept


def _read_block(fd: int, offset: int) -> memoryview | None:
    content = memoryview(bytearray(BLOCK_BYTES))
    return None if read_blockwise(fd, content, offset) else content


def _entry(layer: Layer, block: int) -> Sequence[np.void] | Index | None:
    position = int(layer.find(np.array([block], dtype=np.int64))[0])
    return None if layer.lost or position < 0 else layer.index[position : position + 1]


def _digest_of(value: np.void) -> bytes:
    return value.tobytes()
