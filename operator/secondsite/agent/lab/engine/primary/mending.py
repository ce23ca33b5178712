"""The sender's part in a repair: it offers what it still holds of the blocks that are damaged at the replica."""

import logging
import threading
from collections.abc import Iterator, Mapping

import numpy as np

from secondsite.agent.lab.engine.blocks import Blocks, true_digest
from secondsite.agent.lab.engine.durable import read_into
from secondsite.agent.lab.engine.errors import PeerRefused
from secondsite.agent.lab.engine.port.client import PeerClient
from secondsite.agent.lab.engine.port.frames import build_frame, cycle_digest
from secondsite.agent.lab.engine.primary.disk import SourceDisk
from secondsite.agent.lab.engine.primary.tracker import DiskTracker
from secondsite.wire.peer import BLOCK_BYTES, FRAME_BLOCKS, MAX_WANTED_BLOCKS, Repaired

_log = logging.getLogger(__name__)


def repair_digest(vm_id: str, disk: str) -> bytes:
    """What the frames of a repair name in place of their cycle; no cycle has such an id."""
    return cycle_digest(f"/repairs/{vm_id}/{disk}")


class Mending:
    """Offers each content of a block once: what did not fit will not fit the next time either."""

    def __init__(self, vm_id: str, trackers: Mapping[str, DiskTracker]) -> None:
        self._vm_id = vm_id
        self._trackers = trackers
        self._offered: dict[tuple[str, int], bytes] = {}

    def offer(self, client: PeerClient, wanted: Mapping[str, tuple[int, ...]], stop: threading.Event) -> int:
        """Send what the disks hold now of the blocks that the replica wants; how many blocks that mended.

        A block that the guest has changed since does not fit any more, and the replica refuses it. LinkError, Stopped.
        """
        asked = {(name, block) for name, blocks in wanted.items() for block in blocks[:MAX_WANTED_BLOCKS]}
        self._offered = {key: digest for key, digest in self._offered.items() if key in asked}
        mended = 0
        for name, blocks in wanted.items():
            if name in self._trackers:
                mended += self._offer_disk(client, name, np.unique(np.array(blocks, dtype=np.int64)), stop)
        return mended

    def _offer_disk(self, client: PeerClient, name: str, blocks: Blocks, stop: threading.Event) -> int:
        disk = self._trackers[name].disk
        blocks = blocks[(blocks >= 0) & (blocks * BLOCK_BYTES < disk.size)][:MAX_WANTED_BLOCKS]
        fresh = dict(self._fresh(name, disk, blocks))
        if not fresh:
            return 0
        try:
            mended = self._send(client, name, disk, np.array(list(fresh), dtype=np.int64), stop)
        except PeerRefused as refusal:
            # A cycle does not depend on it: perhaps an older agent, that knows of no repair.
            _log.warning("VM %s, disk %s: the replica refused a repair: %s", self._vm_id, name, refusal)
            return 0
        self._offered.update({(name, block): digest for block, digest in fresh.items()})
        _log.info(
            "VM %s, disk %s: %d of %d damaged blocks mended at the replica", self._vm_id, name, mended, len(fresh)
        )
        return mended

    def _fresh(self, name: str, disk: SourceDisk, blocks: Blocks) -> Iterator[tuple[int, bytes]]:
        """Digest of each block as it is now, but of those that were offered like this before."""
        for block in blocks.tolist():
            digest = true_digest(_read(disk, np.array([block])))
            if self._offered.get((name, block)) != digest:
                yield block, digest

    def _send(self, client: PeerClient, name: str, disk: SourceDisk, blocks: Blocks, stop: threading.Event) -> int:
        named = repair_digest(self._vm_id, name)
        with client.session() as peer:
            stream = peer.put_repairs(self._vm_id, name)
            for sequence, first in enumerate(range(0, len(blocks), FRAME_BLOCKS)):
                some = blocks[first : first + FRAME_BLOCKS]
                frame = build_frame(some, _read(disk, some), sequence=sequence, generation=0, cycle=named)
                stream.send(frame, client.bucket, stop, _uncounted)
            return stream.end(Repaired).blocks


def _read(disk: SourceDisk, blocks: Blocks) -> memoryview:
    """Whole blocks as they are now; a guest's write is in it as a whole or not at all."""
    content = memoryview(bytearray(len(blocks) * BLOCK_BYTES))
    for index, block in enumerate(blocks.tolist()):
        with disk.lock:
            read_into(disk.fd, content[index * BLOCK_BYTES : (index + 1) * BLOCK_BYTES], block * BLOCK_BYTES)
    return content


def _uncounted(_blocks: int, _wire: int) -> None:
    """A repair is no part of any cycle."""
