"""Find what differs between the disks here and the replica's head by their hashes, while guests go on writing."""

import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from secondsite.agent.lab.engine.blocks import block_count
from secondsite.agent.lab.engine.errors import HeadConflict, PeerRefused, StaleGeneration, Stopped
from secondsite.agent.lab.engine.port.client import PeerClient
from secondsite.agent.lab.engine.port.hash_client import HashPages
from secondsite.agent.lab.engine.primary.bookmark import Bookmark, bookmark_path
from secondsite.agent.lab.engine.primary.disk_scan import THREADS, DiskScan
from secondsite.agent.lab.engine.primary.tracker import DiskTracker
from secondsite.agent.lab.engine.types import Told
from secondsite.wire.peer import HashBasis, PeerStatus

# After how many blocks progress is told and kept: 64 MiB. Pages are whole multiples of it.
_STEP_BLOCKS = 1024
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class CompareResult:
    """What one call compared and found; blocks that an interrupted call had compared are not in it."""

    blocks_compared: int
    blocks_different: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Subject:
    """What is compared, by whom, in which life of the host."""

    client: PeerClient
    vm_id: str
    trackers: Mapping[str, DiskTracker]
    generation: int
    boot_id: str
    # Called before the first block of a disk is read.
    begin: Callable[[DiskTracker], None]
    # The disks are others than at the replica's head: what it has not differs as a whole.
    disks_changed: bool = False


class Comparison:
    """One run over all disks of a VM. Marks what differs as changed; the caller sees to it that no freeze happens.

    Why guests need not stop: a guest marks its block before it writes (`SourceDisk.write`), and without a freeze no
    mark is taken back. Whether the read here met the block before that write, after it or in its middle, the mark
    stands: the block is sent, whatever was found. Where no write came after the read, it met what the disk holds.

    A host that loses power may lose what guests wrote and did not flush, from its page cache, also after it was
    compared. It comes back with another boot id: the map is not trusted, the bookmarks fit no more, all is read again.
    """

    def __init__(
        self, subject: Subject, folder: Path, basis: HashBasis, stop: threading.Event, told: Told | None
    ) -> None:
        self._client, self._vm_id, self._trackers = subject.client, subject.vm_id, subject.trackers
        self._subject = subject
        self._folder = folder
        self._basis = basis
        self._stop = stop
        self._told = told or (lambda _done, _total: None)
        self._compared = self._different = 0
        self._missing: Collection[str] = ()
        self.total = sum(block_count(tracker.disk.size) for tracker in self._trackers.values())
        self.done = 0

    def run(self) -> tuple[str | None, CompareResult]:
        """The head that the disks were compared with, None when the replica is empty and wants an initial copy."""
        started = time.monotonic()
        head = self._head()
        for _ in range(_ATTEMPTS):
            if head is not None:
                self._compare_with(head)
            compared, head = head, self._head()
            if compared == head:
                self._forget()
                return head, CompareResult(self._compared, self._different, time.monotonic() - started)
        raise HeadConflict(head, f"VM {self._vm_id}: the replica's newest point keeps changing, now {head}; try again")

    def _head(self) -> str | None:
        """What to compare with. Content decides, so any head will do that this primary may build on."""
        status = self._client.status(self._vm_id)
        if status.generation > (ours := self._subject.generation):
            detail = f"VM {self._vm_id}: generation {ours} is over, {status.generation} is at the replica"
            raise StaleGeneration(status.generation, detail)
        self._expect_disks(status)
        return status.head

    def _expect_disks(self, status: PeerStatus) -> None:
        sizes = {name: tracker.disk.size for name, tracker in self._trackers.items()}
        self._missing = sizes.keys() - status.disks.keys() if self._subject.disks_changed else ()
        if self._subject.disks_changed and all(status.disks.get(name, size) == size for name, size in sizes.items()):
            return
        if status.head is not None and status.disks != sizes:
            detail = f"VM {self._vm_id} has disks {sizes} here and {dict(status.disks)} at the replica: not comparable"
            raise PeerRefused(409, "DiskSetChanged", detail)

    def _compare_with(self, head: str) -> None:
        self.done = 0
        with ThreadPoolExecutor(THREADS, thread_name_prefix=f"compare-{self._vm_id}") as pool:
            for name, tracker in self._trackers.items():
                with Bookmark(bookmark_path(self._folder, name)) as bookmark:
                    begin = bookmark.find(f"{self._subject.boot_id} {self._basis} {head}")
                    if begin == 0:
                        self._subject.begin(tracker)
                    self._tell(begin)
                    if name in self._missing:
                        total = block_count(tracker.disk.size)
                        tracker.mark(np.arange(total))
                        self._tell(total - begin)
                    else:
                        self._compare_disk(name, tracker, bookmark, begin, pool)

    def _compare_disk(
        self, name: str, tracker: DiskTracker, bookmark: Bookmark, begin: int, pool: ThreadPoolExecutor
    ) -> None:
        total = block_count(tracker.disk.size)
        scan = DiskScan(tracker, self._stop, pool)
        steps = [(first, min(_STEP_BLOCKS, total - first)) for first in range(begin, total, _STEP_BLOCKS)]
        with HashPages(self._client, self._vm_id, name, self._basis, begin, total) as pages:
            for (first, count), here in zip(steps, scan.ahead(steps), strict=True):
                if self._stop.is_set():
                    raise Stopped(f"VM {self._vm_id}: the comparison was stopped; the next one goes on with it")
                different = np.flatnonzero(here != pages.take(first, count))
                tracker.mark(first + different)
                # Only now: a kill between the two compares once more, and misses nothing.
                bookmark.move(first + count)
                self._compared += count
                self._different += len(different)
                self._tell(count)

    def _tell(self, blocks: int) -> None:
        self.done += blocks
        self._told(self.done, self.total)

    def _forget(self) -> None:
        # Before the result counts: the next comparison is a new one, and reads everything.
        for name in self._trackers:
            bookmark_path(self._folder, name).unlink(missing_ok=True)
