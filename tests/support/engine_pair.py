"""A source and a target of one VM in one process, joined by the real wire over loopback."""

import contextlib
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from secondsite.agent.lab.engine import (
    Compression,
    CycleResult,
    DataServer,
    Freeze,
    PeerClient,
    RecoveryPoint,
    ReplicationSource,
    SourceDisk,
    TargetStore,
    TokenBucket,
)

BLOCK = 65536
_MEMORY = Path("/dev/shm")
START = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    """Wall clock that moves only when told."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Pair:
    """Both halves under one folder. `restart_*` do what a new process does after `kill -9`.

    Without compression, so that a test can count what goes over the wire.
    """

    def __init__(self, folder: Path, sizes: dict[str, int], *, rate: float | None = None) -> None:
        self.folder = folder
        self.clock = Clock()
        self.bucket = TokenBucket(rate)
        self.sizes = sizes
        self.committed: list[RecoveryPoint] = []
        self.frozen: list[Freeze] = []
        self._open_target()
        self.server = DataServer("127.0.0.1", 0, None, self._store, lambda *_: "source")
        self.server.start()
        self.client = PeerClient(
            "127.0.0.1",
            self.server.port,
            None,
            bucket=self.bucket,
            timeout_seconds=10,
            compression=Compression.Off,
        )
        self._open_source()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.source.close()
        self.server.close()
        self.target.close()
        for disk in self.disks.values():
            disk.close()

    def cycle(self, stop: threading.Event | None = None) -> CycleResult:
        return self.source.run_cycle(self.client, stop=stop)

    def start_cycle(self, stop: threading.Event) -> Future[CycleResult]:
        """A cycle in a thread of its own."""
        pool = ThreadPoolExecutor(1)
        future = pool.submit(self.cycle, stop)
        pool.shutdown(wait=False)
        return future

    def restart_source(self, *, boot_id: str | None = None, clean: bool = False) -> None:
        """A kill leaves the files as they are: nothing is flushed, nothing said; the lock goes with the process."""
        if clean:
            self.source.close()
        else:
            self.source._detach(durable=False)
            self.source._unlock()
        for disk in self.disks.values():
            disk.close()
        self._open_source(boot_id)

    def restart_target(self) -> None:
        self.target.close()
        self._open_target()

    def matches(self, point_id: str) -> bool:
        """Whether the point equals the disks as they are now."""
        return all(
            self.target.read_point(point_id, name, 0, disk.size) == disk.read(0, disk.size)
            for name, disk in self.disks.items()
        )

    def _store(self, vm_id: str) -> TargetStore | None:
        return self.target if vm_id == "vm" else None

    def _open_target(self) -> None:
        self.target = TargetStore(self.folder / "target", "vm", clock=self.clock, on_commit=self.committed.append)

    def _open_source(self, boot_id: str | None = None) -> None:
        self.disks = {name: SourceDisk(self.folder / f"{name}.raw", size) for name, size in self.sizes.items()}
        freeze: Callable[[Freeze], None] = self.frozen.append
        root = self.folder / "source"
        self.source = ReplicationSource(root, "vm", self.disks, clock=self.clock, boot_id=boot_id, at_freeze=freeze)


@contextlib.contextmanager
def quick_folder(otherwise: Path) -> Iterator[Path]:
    """A folder in memory where there is plenty: for disks by the hundred, none of which is meant to last."""
    if not os.access(_MEMORY, os.W_OK) or shutil.disk_usage(_MEMORY).free < 4 << 30:
        yield otherwise
        return
    with tempfile.TemporaryDirectory(dir=_MEMORY) as name:
        yield Path(name)


def pattern(number: int, length: int = BLOCK) -> bytes:
    """Bytes that differ for each number and are never zero."""
    return bytes([1 + number % 250, 1 + number // 250 % 250]) * (length // 2) + b"\xff" * (length % 2)
