"""A program that a test starts, kills and starts again; the kernel ends it when the test's process ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from secondsite.sandbox import tether

ROOT = Path(__file__).parents[2]
_TAIL_BYTES = 4000


class Process:
    """`secondsite ARGUMENTS…`; everything that it says goes to one log, whichever incarnation says it."""

    def __init__(self, name: str, log: Path, arguments: Sequence[str]) -> None:
        self.name = name
        self.log = log
        self.kills = 0
        self._arguments = list(arguments)
        self._process: subprocess.Popen[bytes] | None = None
        self._born_at = 0

    def start(self) -> None:
        """Start it; returns as soon as the process exists."""
        assert not self.running, f"{self.name} runs already"
        command = [sys.executable, "-m", "secondsite.cli.main", *self._arguments]
        self.log.touch()
        self._born_at = self.log.stat().st_size
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(tether.__file__), str(os.getpid()), *command],
                env={**os.environ, "PYTHONPATH": str(ROOT / "operator")},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
            )

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL. It must be running: a program that ended by itself is a defect."""
        assert self._process
        assert self.running, f"{self.name} ended by itself with {self._process.returncode}: {self.tail()}"
        self._process.kill()
        self._process.wait()
        self.kills += 1

    def kill_after(self, seconds: float) -> None:
        """SIGKILL at a moment that is not chosen by what it does."""
        assert self._process
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        self.kill()

    def signal(self, number: signal.Signals) -> None:
        """SIGSTOP, for a program that is there and does not answer; SIGCONT, for it to go on."""
        assert self._process
        self._process.send_signal(number)

    def wait(self, seconds: float) -> int:
        """Its exit code, once it has ended by itself."""
        assert self._process
        return self._process.wait(seconds)

    def stop(self) -> int | None:
        """SIGTERM, and its exit code; None if it was never started."""
        if self._process is None:
            return None
        if self.running:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
        try:
            return self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise

    def said(self) -> str:
        """What the present incarnation said so far."""
        with self.log.open("rb") as log:
            log.seek(self._born_at)
            return log.read().decode(errors="replace")

    def tail(self) -> str:
        """The end of the log."""
        return self.log.read_bytes()[-_TAIL_BYTES:].decode(errors="replace") if self.log.exists() else ""
