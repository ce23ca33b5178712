"""Finds processes and files that a program under test left behind: by a mark in their environment, in a folder."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

MARK = "SECONDSITE_TEST_MARK"


@dataclass(frozen=True)
class Cage:
    """An environment for programs under test: whatever they start inherits the mark, their temporary files lie here."""

    folder: Path
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    def __post_init__(self) -> None:
        self.environment.update({MARK: self.mark, "TMPDIR": str(self.folder)})

    def processes(self) -> list[str]:
        """Command lines of all that still run with the mark."""
        wanted, found = f"{MARK}={self.mark}".encode(), []
        for process in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if process.name.isdigit() and wanted in (process / "environ").read_bytes().split(b"\0"):
                    found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        return found

    def files(self) -> list[str]:
        return [str(path) for path in self.folder.iterdir()]


def until(true: Callable[[], object], what: str, seconds: float) -> None:
    """Wait for a condition; fails the test when it does not come."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain for: {what}"
        time.sleep(0.1)
