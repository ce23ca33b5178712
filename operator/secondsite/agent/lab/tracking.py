"""The map of changes of one primary: opened where there is one, or when tracking begins; closed or forgotten once."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from secondsite.agent.lab.engine import Progress, ReplicationSource, SourceDisk
from secondsite.agent.lab.machinery import Machinery


class Tracking:
    """Whoever works with `source` is kept from its end by the primary's turns; whoever only looks asks `watched`."""

    def __init__(self, machinery: Machinery, root: Path, vm_id: str, disks: Mapping[str, SourceDisk]) -> None:
        self._machinery = machinery
        self._root = root
        self._vm_id = vm_id
        self._disks = disks
        self._lock = threading.Lock()
        self.source: ReplicationSource | None = None
        """None before tracking began, and after its end."""
        self.exported: tuple[int, int] | None = None
        """Bytes done and bytes to do of an export to media, while one runs."""
        if machinery.is_tracked(root):
            self.begin()

    def begin(self) -> None:
        """From here on changes are tracked; goes on with what is on the disk. Call it while the guest stands still."""
        with self._lock:
            if self.source is None:
                self._open()

    def replace_disks(self, disks: Mapping[str, SourceDisk]) -> None:
        """Track these from now on. No cycle runs, and the guest stands still."""
        with self._lock:
            source, self.source, self._disks = self.source, None, disks
            if source:
                source.close()
                self._open()

    def progress(self) -> Progress | None:
        """Of the open cycle, or of the export; None before tracking began."""
        with self.watched() as source:
            found = source.progress() if source else None
        if found is None or self.exported is None:
            return found
        done, total = self.exported
        return dataclasses.replace(found, bytes_total=total, bytes_sent=done, bytes_acknowledged=done)

    @contextmanager
    def watched(self) -> Iterator[ReplicationSource | None]:
        """While inside, nobody closes it."""
        with self._lock:
            yield self.source

    def let_go(self) -> None:
        """Somebody else has taken the map, and closed it."""
        with self._lock:
            self.source = None

    def end(self, *, discard: bool) -> None:
        """Close it; `discard` forgets it too. May be repeated."""
        with self._lock:
            source, self.source = self.source, None
        if source and discard:
            source.discard()
        elif source:
            source.close()

    def _open(self) -> None:
        """Lock held."""
        self.source = self._machinery.track(self._root, self._vm_id, self._disks)
