"""The operator as a process of its own, on a real API server; its sites need not exist."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypeVar

ROOT = Path(__file__).parents[2]

T = TypeVar("T")


def until(ask: Callable[[], T], what: str, seconds: float = 30.0) -> T:
    """The first answer that is true, asked again and again. Raises AssertionError after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        answer = ask()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}; last answer: {answer!r}"
        time.sleep(0.05)


class OperatorProcess:
    """`secondsite operator run`, with what it logs."""

    def __init__(self, kubeconfig: Path, namespace: str, folder: Path, *options: str) -> None:
        self.log = folder / f"operator-{time.monotonic_ns()}.log"
        self._command = [
            *(sys.executable, "-m", "secondsite.cli.main", "operator", "run"),
            *("--kubeconfig", str(kubeconfig), "--namespace", namespace, "--metrics-port", "0", *options),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env={**os.environ, "PYTHONPATH": f"{ROOT / 'operator'}"},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def stop(self) -> int:
        """SIGTERM, and its exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self._end(signal.SIGKILL)

    def wait(self, seconds: float = 30.0) -> int:
        """Its exit code, once it has ended by itself."""
        assert self._process
        return self._process.wait(seconds)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def logged(self, event: str) -> list[dict[str, Any]]:
        """What it logged under this name, oldest first."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        records = [json.loads(line) for line in lines if line.startswith("{")]
        return [record for record in records if record.get("event") == event]

    def get(self, path: str) -> tuple[int, str]:
        """HTTP status and text of one of its own pages; 0 while it does not listen."""
        started = self.logged("started")
        if not started:
            return 0, ""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{started[-1]['port']}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def ready(self) -> bool:
        """Whether every object has had its turn."""
        self._alive()
        return self.get("/readyz")[0] == 200

    def metrics(self) -> dict[str, float]:
        """Every sample by its name with labels, as Prometheus reads it."""
        text = self.get("/metrics")[1]
        pairs = (line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def metric(self, name: str) -> float | None:
        return self.metrics().get(name)

    def leads(self) -> bool:
        self._alive()
        return self.metric("secondsite_operator_leader") == 1.0

    def _alive(self) -> None:
        assert self.running, f"the operator has ended: {self.log.read_text()[-3000:]}"

    def _end(self, how: signal.Signals) -> int:
        assert self._process
        if self.running:
            self._process.send_signal(how)
        try:
            return self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
