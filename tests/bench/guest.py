"""What tracking costs the guest: writes of 4 KiB at random, with and without it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bench.contest import Contest
from bench.worker import Worker
from secondsite.agent.lab.engine import ReplicationSource, SourceDisk

WRITES = 40_000
_SIZE = 256 << 20
_BYTES = 4096

BARE = f"{WRITES:,} guest writes of 4 KiB"
TRACKED = f"{WRITES:,} guest writes of 4 KiB, tracked"


class Guest:
    """A disk in memory, so that it is the tracking that is measured and not the storage."""

    def __init__(self, folder: Path, tracked: bool) -> None:
        self._disk = SourceDisk(folder / "guest.raw", _SIZE)
        for offset in range(0, _SIZE, 1 << 20):
            self._disk.write(offset, b"\xff" * (1 << 20))
        self._source = ReplicationSource(folder / "tracking", "vm", {"disk": self._disk}) if tracked else None
        self._run = 0

    def prepare(self) -> None:
        self._run += 1
        generator = np.random.default_rng(self._run)
        self._content = generator.bytes(_BYTES)
        self._offsets = (generator.integers(0, _SIZE // _BYTES, WRITES) * _BYTES).tolist()

    def write(self) -> None:
        for offset in self._offsets:
            self._disk.write(offset, self._content)

    def same(self) -> bool:
        return all(self._disk.read(offset, _BYTES) == self._content for offset in self._offsets)

    def pending_bytes(self) -> int:
        return self._source.progress().pending_bytes if self._source else 0


@contextlib.contextmanager
def writes(folder: Path, *, tracked: bool) -> Iterator[Contest]:
    own = folder / ("tracked" if tracked else "bare")
    own.mkdir()
    with Worker(Guest, own, tracked) as guest:

        def same() -> bool:
            marked = guest.call("pending_bytes") > 0
            return bool(guest.call("same")) and marked == tracked

        name = TRACKED if tracked else BARE
        yield Contest(name, lambda: guest.call("prepare"), lambda: guest.call("write"), same)
