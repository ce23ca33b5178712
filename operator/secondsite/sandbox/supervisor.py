"""Keeps programs running: what dies is started again at once, and more slowly when it keeps dying."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from secondsite.errors import SecondsiteError

_TETHER = Path(__file__).with_name("tether.py")
_GRACE_SECONDS = 10.0
_TAIL_BYTES = 8192
_TAIL_LINES = 12


class ProgramError(SecondsiteError):
    """A program does not stay up."""


@dataclass
class RestartPolicy:
    """How long to wait after a death: nothing, until `deaths` of them fell within `window_seconds`.

    From then on the pause doubles with each death, up to `longest_seconds`, until a life lasted longer than the window.
    """

    deaths: int = 5
    window_seconds: float = 10.0
    first_seconds: float = 1.0
    longest_seconds: float = 30.0
    _recent: deque[float] = field(default_factory=deque)
    _pause: float = 0.0

    def pause(self, lived_seconds: float, now: float) -> float:
        """Seconds to wait after a death at the monotonic time `now`."""
        if lived_seconds > self.window_seconds:
            self._recent.clear()
            self._pause = 0.0
        self._recent.append(now)
        while now - self._recent[0] > self.window_seconds:
            self._recent.popleft()
        if self._pause or len(self._recent) >= self.deaths:
            self._pause = min(self._pause * 2 or self.first_seconds, self.longest_seconds)
        return self._pause


class Program:
    """A command that is kept running by a thread of its own, with its output in a log file.

    It dies with this process (Linux). `restarts` counts the deaths after which it was started again.
    """

    def __init__(
        self, name: str, command: Sequence[str], *, log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = log
        self.restarts = 0
        self._command = list(command)
        self._environment = {**os.environ, **(environment or {})}
        self._policy = RestartPolicy()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._started = threading.Event()
        self._failure: OSError | None = None
        # The thread outlives the process that it started: the kernel's death signal comes when the thread ends.
        self._keeper = threading.Thread(target=self._keep, name=f"keep {name}", daemon=True)

    @property
    def pid(self) -> int | None:
        """The process id of the present incarnation; None while there is none."""
        with self._lock:
            alive = self._process is not None and self._process.poll() is None
            return self._process.pid if alive and self._process else None

    def start(self) -> None:
        """Start it; returns when the process exists. Raises ProgramError when none can be made."""
        self._keeper.start()
        self._started.wait()
        if self._failure is not None:
            raise ProgramError(f"Starting {self.name} failed: {self._failure}", f"Its log would be {self.log}.")

    def kill(self) -> int:
        """SIGKILL the present incarnation and return its process id. Raises ProgramError if there is none."""
        pid = self.pid
        if pid is None:
            raise ProgramError(f"{self.name} is not running: {self.tail()}", f"Its log is {self.log}.")
        os.kill(pid, signal.SIGKILL)
        return pid

    def stop(self) -> None:
        """Ask it to end, and end it for certain after ten seconds."""
        self._stopping.set()
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                self._process.terminate()
        if self._keeper.ident is None:
            return
        self._keeper.join(_GRACE_SECONDS)
        if self._keeper.is_alive():
            with self._lock:
                if self._process is not None:
                    self._process.kill()
            self._keeper.join()

    def tail(self) -> str:
        """The last lines of its log, in one."""
        if not self.log.exists():
            return "nothing was logged"
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
        # A program that dies at each start says the same each time: once is enough.
        said = dict.fromkeys(line.strip() for line in lines[-_TAIL_LINES:])
        return " | ".join(filter(None, said)) or "nothing was logged"

    def _keep(self) -> None:
        while not self._stopping.is_set():
            born = time.monotonic()
            try:
                self._spawn().wait()
            except OSError as error:
                # Later on, with no room for a process just now, it is a death like any other.
                if not self._started.is_set():
                    self._failure = error
                    self._started.set()
                    return
            now = time.monotonic()
            if self._stopping.wait(self._policy.pause(now - born, now)):
                return
            self.restarts += 1

    def _spawn(self) -> subprocess.Popen[bytes]:
        self.log.touch(mode=0o600)
        with self._lock, self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_TETHER), str(os.getpid()), *self._command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                # A group of its own: Ctrl-C at the terminal is for us, and we end the parts in order.
                process_group=0,
            )
            process = self._process
        self._started.set()
        if self._stopping.is_set():
            process.terminate()
        return process


class Supervisor:
    """Several programs; stopped in the reverse order of their start."""

    def __init__(self) -> None:
        self.programs: dict[str, Program] = {}

    def start(self, program: Program) -> Program:
        """Keep this one running too."""
        self.programs[program.name] = program
        program.start()
        return program

    def stop(self) -> None:
        """End all. May be called more than once."""
        while self.programs:
            _, program = self.programs.popitem()
            program.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
