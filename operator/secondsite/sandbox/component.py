"""One process of the control plane: started with a log of its own, ended for certain, never outliving its starter."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

_GRACE_SECONDS = 10.0
_TAIL_BYTES = 4096
_TAIL_LINES = 8


class Lifeline:
    """A pipe of which the children hold one end and only this process the other: they end when it closes.

    However this process dies, the kernel closes its end. A parent-death signal would not do: it also comes when
    merely the thread that started the child ends.
    """

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe()

    def close(self) -> None:
        """End every child that still holds the other end."""
        os.close(self.reader)
        os.close(self._writer)


class Component:
    """A subcommand of the control plane's binary, run in `cwd`; files that it makes are private."""

    def __init__(self, name: str, command: Sequence[str], *, log: Path, cwd: Path, lifeline: Lifeline) -> None:
        self.name = name
        self.log = log
        self._command = command
        self._log_start = log.stat().st_size if log.exists() else 0
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            # A group of its own, so that a Ctrl-C at the terminal does not end the parts in the wrong order.
            self._process = subprocess.Popen(
                command,
                cwd=cwd,
                env={**os.environ, "SECONDSITE_LIFELINE": str(lifeline.reader)},
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                pass_fds=[lifeline.reader],
                process_group=0,
                umask=0o077,
            )
        finally:
            os.close(descriptor)

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def wait(self, seconds: float) -> bool:
        """Wait up to `seconds` for the process to end; whether it has."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self) -> None:
        """Ask it to end, and end it for certain after ten seconds."""
        self._process.terminate()
        if not self.wait(_GRACE_SECONDS):
            self.kill()

    def kill(self) -> None:
        """SIGKILL; returns when the process is gone."""
        self._process.kill()
        self._process.wait()

    def tail(self) -> str:
        """The last lines that this process logged, in one line."""
        with self.log.open("rb") as file:
            file.seek(max(self._log_start, self.log.stat().st_size - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
        return " | ".join(line.strip() for line in lines[-_TAIL_LINES:] if line.strip()) or "nothing was logged"
