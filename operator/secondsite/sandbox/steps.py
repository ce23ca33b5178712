"""The steps of a build: one long command each, progress while it runs, one paragraph when it fails."""

from __future__ import annotations

import math
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from secondsite.errors import SecondsiteError

Progress = Callable[[str], None]

_TICK_SECONDS = 1.0
_LINE_SECONDS = 10.0
_LINES_SHOWN = 12
_REMEDIES = (
    (r"no space left|disk quota", "Free about 4 GB there, or set XDG_CACHE_HOME to a folder with room."),
    (r"signal: killed|cannot allocate memory", "The build needs about 2 GB of memory: close something and try again."),
    (r"No module named pip", "Install pip for this Python, or put a `go` on the PATH."),
    (
        r"checksum mismatch|SECURITY ERROR|do not match the hashes",
        "What was downloaded is not what was pinned: look at the proxy in between, and do not go on.",
    ),
    (
        r"dial tcp|lookup |proxyconnect|timeout|connection|x509|no matching distribution|Network",
        "PyPI and the Go module proxy must be reachable: look at the network, GOPROXY and pip's settings.",
    ),
)


class BuildError(SecondsiteError):
    """The control plane could not be built; the text says which step, what came back and what to do."""


class Display:
    """Progress on a stream: one line that changes on a terminal, a line now and then elsewhere."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self._shown_at = -math.inf
        self._shown = ""

    def __call__(self, line: str) -> None:
        """Show `line`."""
        now = time.monotonic()
        same_step = line.partition(":")[0] == self._shown.partition(":")[0]
        if self._terminal:
            width = shutil.get_terminal_size().columns - 1
            self._stream.write(f"\r\x1b[K{line[:width]}")
        elif now - self._shown_at >= _LINE_SECONDS or not same_step:
            self._stream.write(f"{line}\n")
        else:
            return
        self._stream.flush()
        self._shown_at, self._shown = now, line

    def close(self) -> None:
        """End the line, if there is one."""
        if self._terminal and self._shown:
            self._stream.write("\n")


def elapsed(since: float) -> str:
    """Minutes and seconds since the monotonic time `since`, as 1:05."""
    seconds = int(time.monotonic() - since)
    return f"{seconds // 60}:{seconds % 60:02d}"


def silent(_: str) -> None:
    """Show nothing."""


def run(
    what: str,
    command: Sequence[str],
    *,
    tick: Callable[[Sequence[str]], None],
    environment: Mapping[str, str],
    log: Path,
    cwd: Path | None = None,
    noise: Callable[[str], bool] | None = None,
) -> list[str]:
    """Run `command`, call `tick` with all output lines so far about once a second, and give the lines back.

    The output also goes to the file `log`, from its start. Lines that are `noise` are left out of the error's text.
    Raises BuildError when the command cannot be started or ends with another code than 0.
    """
    try:
        process = _spawn(command, environment, cwd)
    except OSError as error:
        raise BuildError(f"{what}: `{command[0]}` could not be started: {error}") from error
    lines: list[str] = []
    with process, log.open("w", encoding="utf-8") as copy:
        reader = threading.Thread(target=_read, args=(process, lines, copy.write), daemon=True)
        reader.start()
        try:
            _await(process, lambda: tick(lines))
        except BaseException:
            process.send_signal(signal.SIGINT)
            raise
        finally:
            reader.join()
    if process.returncode:
        raise _failure(what, process.returncode, [line for line in lines if not (noise and noise(line))], log)
    return lines


def _spawn(command: Sequence[str], environment: Mapping[str, str], cwd: Path | None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        cwd=cwd,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )


def _read(process: subprocess.Popen[str], lines: list[str], write: Callable[[str], object]) -> None:
    for line in process.stdout or ():
        lines.append(line.rstrip("\n"))
        write(line)


def _await(process: subprocess.Popen[str], tick: Callable[[], None]) -> None:
    while True:
        tick()
        try:
            process.wait(_TICK_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        return


def _failure(what: str, code: int, lines: Sequence[str], log: Path) -> BuildError:
    said = [line.strip() for line in lines if line.strip()][-_LINES_SHOWN:]
    text = "\n".join(lines)
    remedy = next((remedy for pattern, remedy in _REMEDIES if re.search(pattern, text, re.IGNORECASE)), "")
    return BuildError(
        f"{what} failed (exit code {code}): " + " | ".join(said or ["no output"]),
        f"{remedy} The whole output is in {log}.".lstrip(),
    )
