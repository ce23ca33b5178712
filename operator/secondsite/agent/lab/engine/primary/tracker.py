"""Which blocks of a disk changed, and the frozen image of those that a cycle still owes to the replica.

Four files per disk, all of which outlive the process that writes them (the page cache does not die with it):

- `current`: one byte per block, set before each write: what changed since the last freeze.
- `frozen`: one byte per block of the open cycle, see `Cell`.
- `saved`: sparse, the old content of blocks that the guest overwrote before the replica held them.
- `digests`: 16 bytes per block, what was sent in the open cycle.

The frozen image of a block is its place on the disk while the cell says Owed, and its place in `saved` while it says
Saved. A guest's write to an Owed block stores the old content in `saved`, then sets Saved, then writes: a kill between
any two of these leaves an image that is still whole. So an open cycle, its instant included, survives `kill -9` of the
source and goes on where the replica stands; the initial copy never starts from zero. A host that stops uncleanly loses
all this (`ReplicationSource.map_trusted`).
"""

import logging
import os
from enum import IntEnum
from pathlib import Path

import numpy as np

from secondsite.agent.lab.engine.blocks import Blocks, Bytes, block_count, block_span, runs
from secondsite.agent.lab.engine.durable import data_extents, read_into, read_padded, write_all
from secondsite.agent.lab.engine.errors import ImageLost
from secondsite.agent.lab.engine.primary.disk import SourceDisk
from secondsite.agent.lab.engine.primary.maps import Maps
from secondsite.wire.peer import BLOCK_BYTES, DIGEST_BYTES, FRAME_BLOCKS

_log = logging.getLogger(__name__)


class Cell(IntEnum):
    """A block in the `frozen` map."""

    Free = 0
    Owed = 1
    Saved = 2
    # Durable at the replica: its frozen image is needed no more.
    Held = 3
    # Overwritten without having been saved (no space): this cycle cannot be finished from here.
    Lost = 4


_CHANGED = b"\x01"
# In `current` too: the replica has others, although nobody wrote since.
DIFFERS = 2
_OWED = bytes([Cell.Owed])


class DiskTracker:
    """The tracking of one disk. Its methods that say so must be called with `disk.lock` held."""

    def __init__(self, disk: SourceDisk, folder: Path, name: str) -> None:
        self.disk = disk
        self.name = name
        self._folder = folder
        self._open: Maps | None = Maps(folder, name, block_count(disk.size))

    @property
    def _maps(self) -> Maps:
        with self.disk.lock:
            if self._open is None:
                self._open = Maps(self._folder, self.name, block_count(self.disk.size))
            return self._open

    @property
    def _current(self) -> Bytes:
        return self._maps.current

    @property
    def _frozen(self) -> Bytes:
        return self._maps.frozen

    @property
    def quiet(self) -> bool:
        """Whether nothing has changed and nothing is owed. Lock held."""
        return self._open is None or self._open.quiet

    def rest(self) -> None:
        """Let go of the files until something is written, or asked for that they tell. Lock held; it is `quiet`."""
        if self._open is not None:
            self._open.close()
            self._open = None

    @staticmethod
    def complete(folder: Path, name: str, size: int) -> bool:
        """Whether the map files are there with the size that they must have."""
        paths = (folder / f"{name}.current", folder / f"{name}.frozen")
        return all(path.exists() and path.stat().st_size == block_count(size) for path in paths)

    @staticmethod
    def image_complete(folder: Path, name: str, size: int) -> bool:
        """Whether the files are there without which an open cycle has no frozen image, or no digests."""
        digests = folder / f"{name}.digests"
        whole = digests.exists() and digests.stat().st_size == block_count(size) * DIGEST_BYTES
        return whole and (folder / f"{name}.saved").exists()

    def mark(self, blocks: Blocks) -> None:
        """Count blocks as changed although nobody wrote to them: the replica has others."""
        with self.disk.lock:
            self._current[blocks] |= DIFFERS

    def before_write(self, offset: int, length: int) -> None:
        """A guest is about to write. Lock held.

        Every write pays for this, so it works on the maps' bytes: numpy takes ten times as long for a block or two.
        """
        first, end = block_span(offset, length)
        maps = self._open or self._maps
        maps.current_bytes[first:end] = _CHANGED * (end - first)
        block = maps.frozen_bytes.find(_OWED, first, end)
        while block >= 0:
            self._save(block)
            block = maps.frozen_bytes.find(_OWED, block + 1, end)

    def _save(self, block: int) -> None:
        try:
            self._copy_away(block)
        except OSError as error:
            # A guest must not suffer because its replica cannot be served.
            _log.warning("disk %s: block %d could not be saved: %s", self.disk.path, block, error)
            self._frozen[block] = Cell.Lost
        else:
            self._frozen[block] = Cell.Saved

    def _copy_away(self, block: int) -> None:
        content = bytearray(BLOCK_BYTES)
        read_into(self.disk.fd, memoryview(content), block * BLOCK_BYTES)
        write_all(self._maps.saved, content, block * BLOCK_BYTES)

    def freeze(self, *, everything: bool) -> None:
        """Move all that changed into the frozen map; with `everything`, all that holds data. Lock held.

        No cycle is open, so what a cycle that was given up still has in the map is owed again, in its present content.
        """
        if self._open is None and not everything:
            return
        if everything:
            for start, end in data_extents(self.disk.fd, self.disk.size):
                first, last = block_span(start, end - start)
                self._current[first:last] = 1
        self._roll_over()
        os.ftruncate(self._maps.saved, 0)

    def _roll_over(self) -> None:
        # In this order: a kill between the two reports too much, never too little.
        self._frozen[:] = np.where(self._frozen | self._current, np.uint8(Cell.Owed), np.uint8(Cell.Free))
        self._current[:] = 0

    def plan(self) -> Blocks:
        """The blocks of the open cycle, ascending. Fixed while the cycle lasts: frame k carries the k-th 64 of them."""
        return np.flatnonzero(self._frozen)

    def frozen_blocks(self) -> int:
        """How many blocks the plan has."""
        return 0 if self._open is None else int(np.count_nonzero(self._frozen))

    def held(self, plan: Blocks) -> int:
        """How many blocks of the plan are known to be durable at the replica."""
        return int(np.count_nonzero(self._frozen[plan] == Cell.Held))

    def image_lost(self) -> bool:
        """Whether the open cycle can never be finished."""
        return bool((self._frozen == Cell.Lost).any())

    def acknowledge(self, plan: Blocks, frames: int) -> None:
        """The replica holds the first `frames` frames durably."""
        with self.disk.lock:
            self._frozen[plan[: frames * FRAME_BLOCKS]] = Cell.Held

    def read_frozen(self, blocks: Blocks, buffer: memoryview) -> None:
        """Fill the buffer with the frozen image of ascending blocks that the replica does not hold yet.

        Reads the disk without its lock, so that guests never wait for it, and only then asks which blocks were saved: a
        guest saves before it writes, so whatever it may have changed under this read is found in `saved`. ImageLost.
        """
        for index, block, count in runs(blocks):
            part = buffer[index * BLOCK_BYTES : (index + count) * BLOCK_BYTES]
            read_padded(self.disk.fd, part, block * BLOCK_BYTES)
        cells = self._frozen[blocks]
        if (cells == Cell.Lost).any():
            raise ImageLost(f"disk {self.disk.path}: the frozen image could not be kept; the next cycle freezes anew")
        for index in np.flatnonzero(cells == Cell.Saved).tolist():
            part = buffer[index * BLOCK_BYTES : (index + 1) * BLOCK_BYTES]
            read_padded(self._maps.saved, part, int(blocks[index]) * BLOCK_BYTES)

    def remember(self, blocks: Blocks, digests: bytes) -> None:
        """Keep the digests of what is being sent, for the commit."""
        self._maps.digests[blocks] = np.frombuffer(digests, dtype=np.uint8).reshape(-1, DIGEST_BYTES)

    def digests(self, plan: Blocks) -> bytes:
        return self._maps.digests[plan].tobytes()

    def release(self) -> None:
        """The cycle is committed: nothing is owed any more."""
        with self.disk.lock:
            if self._open is not None:
                self._frozen[:] = Cell.Free
                os.ftruncate(self._maps.saved, 0)

    def hold_all(self) -> None:
        """All of the open cycle is durable elsewhere. May be repeated."""
        with self.disk.lock:
            self._frozen[self._frozen != Cell.Free] = Cell.Held
            os.ftruncate(self._maps.saved, 0)

    def forget(self) -> None:
        """Nothing is owed, nothing has changed: the caller is about to find out anew. No cycle is open."""
        with self.disk.lock:
            self._frozen[:] = Cell.Free
            self._current[:] = 0
            os.ftruncate(self._maps.saved, 0)

    def pending_blocks(self, *, cycle_open: bool) -> int:
        """Blocks that the replica lacks. What it held of a cycle that was given up, it holds no more."""
        # Asked at any time, from any thread: it may go to rest meanwhile.
        maps = self._open
        if maps is None:
            return 0
        owed = maps.frozen != Cell.Free
        if cycle_open:
            owed &= maps.frozen != Cell.Held
        return int(np.count_nonzero(owed | (maps.current != 0)))

    def written_blocks(self) -> int:
        """Blocks that guests wrote since the last freeze."""
        maps = self._open
        return 0 if maps is None else int(np.count_nonzero(maps.current & _CHANGED[0]))

    def close(self, *, durable: bool) -> None:
        """Let go of the files; with `durable`, so that they may be trusted after a restart of the host."""
        with self.disk.lock:
            if durable:
                self._maps.sync()
            if self._open is not None:
                self._open.close()
