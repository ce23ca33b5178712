"""The machine under the numbers, and whether anything else is running on it."""

import contextlib
import os
import platform
import subprocess
import time
from pathlib import Path

_SAMPLE_SECONDS = 0.1
_BUSY_SHARE = 0.15


class Quiet:
    """Waits until the processors idle, as long as its patience in seconds lasts; what ran all the same is counted."""

    def __init__(self, patience_seconds: float) -> None:
        self._patience = patience_seconds
        self.runs = 0
        self.disturbed = 0

    def wait(self) -> None:
        self.runs += 1
        while _busy_share() > _BUSY_SHARE:
            self._patience -= _SAMPLE_SECONDS
            if self._patience <= 0:
                self.disturbed += 1
                return


def _busy_share() -> float:
    """Of all processors, over a tenth of a second."""
    before, idle_before = _ticks()
    time.sleep(_SAMPLE_SECONDS)
    after, idle_after = _ticks()
    return 1 - (idle_after - idle_before) / max(1, after - before)


def _ticks() -> tuple[int, int]:
    fields = [int(word) for word in Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:9]]
    return sum(fields), fields[3] + fields[4]


def describe(folder: Path) -> dict[str, str]:
    """What a reader must know to compare these numbers with others."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": f"{memory:.0f} GiB",
        "kernel": platform.release(),
        "file system": _file_system(folder),
        "Python": platform.python_version(),
    }


def version_of(command: list[str]) -> str:
    """The first line that a program says of its version."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
        return " ".join((said.stdout or said.stderr).splitlines()[0].split())
    return "unknown"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _file_system(folder: Path) -> str:
    """Its type, by the longest mount point above the folder."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    above = [(len(mount[1]), mount[2]) for mount in mounts if folder.resolve().is_relative_to(mount[1])]
    return max(above)[1]
