"""Runs one long command of a build: progress while it runs, one paragraph when it fails."""

from __future__ import annotations

import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from secondsite.errors import SecondsiteError

Progress = Callable[[str], None]

_TICK_SECONDS = 1.0
_LINES_SHOWN = 12
_REMEDIES = (
    (r"no space left|disk quota", "Free about 4 GB there, or set XDG_CACHE_HOME to a folder with room."),
    (r"signal: killed|cannot allocate memory", "The build needs about 2 GB of memory: close something and try again."),
    (r"No module named pip", "Install pip for this Python, or put a `go` on the PATH."),
    (r"hash", "What was downloaded is not what was pinned: look at the proxy in between, and do not go on."),
    (
        r"dial tcp|lookup |proxyconnect|timeout|connection|x509|no matching distribution|Network",
        "PyPI and the Go module proxy must be reachable: look at the network, GOPROXY and pip's settings.",
    ),
)


class BuildError(SecondsiteError):
    """The control plane could not be built; the text says which step, what came back and what to do."""


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
    noise: frozenset[str] = frozenset(),
) -> list[str]:
    """Run `command`, call `tick` with all output lines so far about once a second, and give the lines back.

    The output also goes to the file `log`, from its start. Lines in `noise` are left out of the error's text.
    Raises BuildError when the command cannot be started or ends with another code than 0.
    """
    try:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
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
        raise _failure(what, process.returncode, [line for line in lines if line not in noise], log)
    return lines


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
