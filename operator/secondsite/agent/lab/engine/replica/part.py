"""The frames of an open cycle as they arrive: appended, durable before they are acknowledged, sealed at the commit."""

import contextlib
import os
import threading
from pathlib import Path

import numpy as np

from secondsite.agent.lab.engine.blocks import block_count, root_of, xxh3_list
from secondsite.agent.lab.engine.durable import read_into, write_all
from secondsite.agent.lab.engine.errors import CorruptFrame, EndOfFile, FramesMissing, PeerRefused
from secondsite.agent.lab.engine.port.frames import FrameReader, ReceivedFrame, cycle_digest
from secondsite.agent.lab.engine.replica.layer import INDEX_TYPE, Index, empty_index, pack_footer
from secondsite.wire.peer import BLOCK_BYTES, FLAG_ZERO, DiskCommit, DiskPlan


class IncomingPart:
    """The file of one disk in the open cycle. What an earlier process left in it is kept as far as it is valid."""

    def __init__(self, path: Path, cycle: str, generation: int, plan: DiskPlan) -> None:
        self.path = path
        self._cycle = cycle_digest(cycle)
        self._generation = generation
        self._plan = plan
        # Taken first, where both are: frames are appended while the disk works on those before them.
        self._syncing = threading.Lock()
        self._lock = threading.RLock()
        self._writer = 0
        self._indexes: list[Index] = []
        self._blocks = 0
        self._last_block = -1
        self._count = 0
        self._end = 0
        self._durable = 0
        self._durable_end = 0
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self._keep_valid_prefix()

    @property
    def durable_frames(self) -> int:
        """Frames that survive a power cut: what may be acknowledged."""
        return self._durable

    @property
    def durable_bytes(self) -> int:
        return self._durable_end

    def claim(self, first: int) -> int:
        """Become the one writer, to go on at frame `first`; an earlier writer, perhaps of a dead connection, is out.

        FramesMissing when frames before `first` are not here.
        """
        with self._lock:
            if first > self._count:
                raise FramesMissing(self._count, f"frames from {first} came, only {self._count} are here")
            self._writer += 1
            return self._writer

    def append(self, writer: int, frame: ReceivedFrame) -> None:
        """Take a checked frame; one that is here already is skipped, for a cycle's frames never change."""
        with self._lock:
            if writer != self._writer:
                raise PeerRefused(409, "Superseded", "another connection sends this disk now")
            if frame.header.sequence < self._count:
                return
            self._check(frame)
            write_all(self._fd, frame.head, self._end)
            write_all(self._fd, frame.payload, self._end + len(frame.head))
            self._note(frame)

    def sync(self) -> int:
        """Make durable what has come: how many frames. After an OSError what was not is gone: send it again.

        More may be appended meanwhile, from another thread.
        """
        with self._syncing:
            with self._lock:
                count, end = self._count, self._end
            if self._durable < count and self._fd >= 0:
                self._sync(count, end)
            return self._durable

    def check_whole(self, commit: DiskCommit) -> None:
        """Everything came that the sender means: else FramesMissing, or PeerRefused when the root differs."""
        with self._lock:
            if self._blocks < commit.count:
                raise FramesMissing(self._count, f"{commit.count} blocks to commit, {self._blocks} are here")
            found = root_of(self._index()["digest"].tobytes())
            if (self._blocks, found) != (commit.count, commit.root):
                detail = (
                    f"{commit.count} blocks with root {commit.root} to commit, {self._blocks} with {found} are here"
                )
                raise PeerRefused(409, "RootMismatch", detail)

    def seal(self) -> None:
        """Write index and trailer behind the frames, durably. May be repeated. Nothing can be appended afterwards."""
        with self._syncing, self._lock:
            self._writer += 1
            index = self._index()
            footer = pack_footer(index, self._end)
            os.ftruncate(self._fd, self._end)
            write_all(self._fd, footer, self._end)
            self._sync(self._count, self._end)

    def close(self) -> None:
        with self._syncing, self._lock:
            self._writer += 1
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    def _sync(self, count: int, end: int) -> None:
        try:
            os.fdatasync(self._fd)
        except OSError:
            with self._lock:
                self._forget_unsynced()
            raise
        with self._lock:
            self._durable, self._durable_end = count, end

    def _forget_unsynced(self) -> None:
        """A failed fdatasync marks the pages clean that it lost, and the next one succeeds without them (fsync(2))."""
        self._writer += 1
        # Nor may a restart find them in the page cache; where even this fails, it reads what the disk really has.
        with contextlib.suppress(OSError):
            os.ftruncate(self._fd, self._durable_end)
        self._indexes = self._indexes[: self._durable]
        self._count, self._end = self._durable, self._durable_end
        self._blocks = sum(len(index) for index in self._indexes)
        self._last_block = int(self._indexes[-1]["block"][-1]) if self._indexes else -1

    def _index(self) -> Index:
        return np.concatenate(self._indexes) if self._indexes else empty_index()

    def _check(self, frame: ReceivedFrame) -> None:
        header, blocks = frame.header, frame.entries["block"]
        if header.sequence != self._count:
            raise CorruptFrame(f"frame {header.sequence} came where {self._count} was due")
        if (header.cycle, header.generation) != (self._cycle, self._generation):
            raise CorruptFrame(f"frame {header.sequence} belongs to another cycle")
        beyond = int(blocks[-1]) >= block_count(self._plan.size)
        if int(blocks[0]) <= self._last_block or beyond or self._blocks + len(blocks) > self._plan.blocks:
            raise CorruptFrame(f"frame {header.sequence} does not fit the plan of this cycle")

    def _note(self, frame: ReceivedFrame) -> None:
        entries = frame.entries
        index = np.zeros(len(entries), dtype=INDEX_TYPE)
        for field in ("block", "digest", "flags"):
            index[field] = entries[field]
        data = (entries["flags"] & FLAG_ZERO) == 0
        lengths = np.where(data, BLOCK_BYTES, 0)
        index["offset"] = self._end + len(frame.head) + np.cumsum(lengths) - lengths
        index["xxh3"][data] = xxh3_list(frame.payload)
        self._indexes.append(index)
        self._blocks += len(entries)
        self._last_block = int(entries["block"][-1])
        self._count += 1
        self._end += frame.size

    def _keep_valid_prefix(self) -> None:
        """Read what is there up to the first byte that is not a whole, intact frame of this cycle; cut the rest."""
        self._read_from_disk()
        reader = FrameReader(self._read_next)
        try:
            while True:
                self._position = self._end
                frame = reader.read()
                self._check(frame)
                self._note(frame)
        except (CorruptFrame, EndOfFile):
            os.ftruncate(self._fd, self._end)
        os.fdatasync(self._fd)
        self._durable, self._durable_end = self._count, self._end

    def _read_from_disk(self) -> None:
        """Empty the page cache: what an earlier process failed to sync looks there like anything else."""
        if os.fstat(self._fd).st_size:
            # An error of that process is told here once more; what it cost is seen right after.
            with contextlib.suppress(OSError):
                os.fdatasync(self._fd)
            os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def _read_next(self, view: memoryview) -> None:
        if read_into(self._fd, view, self._position) < len(view):
            raise EndOfFile("the end of the file")
        self._position += len(view)
