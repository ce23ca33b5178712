"""A program in a process of its own that answers calls: one agent each, as between two sites."""

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

# A fork would begin with all that this process has touched.
_context = multiprocessing.get_context("spawn")


class Worker:
    """`call` runs a method of what `make(*arguments)` gave in the child, and returns or raises as it did."""

    def __init__(self, make: Callable[..., object], *arguments: object) -> None:
        self._pipe, end = _context.Pipe()
        self._process = _context.Process(target=_serve, args=(end, make, arguments), daemon=True)
        self._process.start()
        end.close()

    def call(self, verb: str, *arguments: object) -> Any:
        self._pipe.send((verb, arguments))
        good, answer = self._pipe.recv()
        if not good:
            raise RuntimeError(f"{verb} failed in its process: {answer}")
        return answer

    @property
    def cpu_seconds(self) -> float:
        return float(self.call("cpu_seconds"))

    @property
    def peak_bytes(self) -> int:
        """The most memory that the process ever had resident."""
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="utf-8")
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()


def _serve(pipe: Connection, make: Callable[..., object], arguments: tuple[object, ...]) -> None:
    program = make(*arguments)
    while True:
        try:
            verb, values = pipe.recv()
        except EOFError:
            return
        try:
            answer = time.process_time() if verb == "cpu_seconds" else getattr(program, verb)(*values)
        except Exception as error:  # noqa: BLE001  # told to the caller, who ends with it
            pipe.send((False, f"{type(error).__name__}: {error}"))
        else:
            pipe.send((True, answer))
