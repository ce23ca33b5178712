"""`lab.sock`: how demo and tests ask a lab agent for the truth, which no real site could tell and `/v1` never will.

One JSON line in, one out, on a Unix socket in the agent's data folder that only its user may open:

    {"ask": "status"}                                      every guest's newest write, every half's state
    {"ask": "truth", "vmID": ID}                           at the source: newest write; at the target: of each point
    {"ask": "truth", "vmID": ID, "sequence": N}            at the source, moreover the time of write N
    {"ask": "replay", "vmID": ID, "disks": PATH, "point": P}   at the target: compare a point with the replay of its
                                                           writes, by the data-centre file PATH of the source
    {"ask": "crash", "vmID": ID}                           at the source: as after a crash of the host
    {"ask": "faults"}                                      what is broken on purpose, what is planned, what there is
    {"ask": "fault", "fault": NAME, "vmID": VM, "value": N, "seconds": S}   break it; VM is an id or a name
    {"ask": "fault", "fault": NAME, "vmID": VM, "off": true}                mend it
    {"ask": "fault", "schedule": [{"after": "30s", "fault": NAME, ...}]}    plan such steps

True lag of a VM is the age of write n + 1, n being the newest write of the newest point at the target.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from secondsite import logs
from secondsite.agent.lab.engine import EngineError
from secondsite.errors import SecondsiteError
from secondsite.wire.problems import Refusal

_log = logs.get(__name__)

NAME = "lab.sock"
_TIMEOUT_SECONDS = 60.0
_LINE_BYTES = 65536

Answer = Callable[[dict[str, Any]], dict[str, Any]]


def ask(data_dir: Path, request: dict[str, Any]) -> dict[str, Any]:
    """Ask the lab agent of a data folder (the agent's, or the driver's own inside of it).

    Raises SecondsiteError where nobody answers, or with the error that is answered.
    """
    place = next(iter([*data_dir.glob(NAME), *data_dir.glob(f"*/{NAME}")]), data_dir / NAME)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_TIMEOUT_SECONDS)
        try:
            with _short_path(place) as path:
                connection.connect(path)
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as reader:
                reply: dict[str, Any] = json.loads(reader.readline())
        except (OSError, ValueError) as error:
            raise SecondsiteError(f"Asking the lab agent at {place}: {error}", "See that the agent runs.") from error
    if "error" in reply:
        raise SecondsiteError(f"The lab agent at {place} answered: {reply['error']}")
    return reply


class LabSocket:
    """Answers on the socket, each connection in a thread."""

    def __init__(self, folder: Path, answer: Answer) -> None:
        self._path = folder / NAME
        self._answer = answer
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._thread = threading.Thread(target=self._accept, name="lab.sock", daemon=True)

    def start(self) -> None:
        """Listen, in place of a socket that a killed agent left behind."""
        self._path.unlink(missing_ok=True)
        with _short_path(self._path) as path:
            self._listener.bind(path)
        self._path.chmod(0o600)
        self._listener.listen(16)
        self._thread.start()

    def stop(self) -> None:
        """Listen no more."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as reader, contextlib.suppress(OSError):
            connection.settimeout(_TIMEOUT_SECONDS)
            connection.sendall(json.dumps(self._reply(reader.readline(_LINE_BYTES))).encode() + b"\n")

    def _reply(self, line: bytes) -> dict[str, Any]:
        try:
            return self._answer(json.loads(line))
        except (KeyError, RecursionError, TypeError, ValueError) as error:
            return {"error": f"not a request that is known here: {error!r}"}
        except (EngineError, OSError, Refusal, SecondsiteError, sqlite3.Error) as error:
            return {"error": str(error)}


@contextlib.contextmanager
def _short_path(path: Path) -> Iterator[str]:
    """A Unix socket's path has at most 107 bytes, a data folder may be deeper: reach it through its open folder."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
