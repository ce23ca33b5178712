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

from secondsite.api.kind import API_VERSION
from secondsite.api.kinds import ALL_KINDS
from secondsite.controller import login

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


class Objects:
    """Reads objects as the administrator. A kubectl per question would cost more than what is tested."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        found = login.of_file(kubeconfig)
        self._root = f"{found.server}/apis/{API_VERSION}/namespaces/{namespace}"
        self._headers = {"Authorization": f"Bearer {found.bearer()}"}
        self._tls = found.context()

    def get(self, kind: str, name: str = "") -> dict[str, Any]:
        """One object, or the list of all; empty when there is none."""
        plural = next(each.plural for each in ALL_KINDS if each.name == kind)
        request = urllib.request.Request(f"{self._root}/{plural}/{name}".rstrip("/"), headers=self._headers)
        try:
            with urllib.request.urlopen(request, timeout=10, context=self._tls) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except urllib.error.HTTPError as error:
            with error:
                if error.code != 404:
                    raise
                return {}

    def items(self, *kinds: str) -> list[dict[str, Any]]:
        """All objects of these kinds, of every kind if none is named; each says its kind."""
        wanted = kinds or tuple(each.name for each in ALL_KINDS)
        return [{**each, "kind": kind} for kind in wanted for each in self.get(kind)["items"]]

    def status(self, kind: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(kind, name).get("status", {})
        return found

    def condition(self, kind: str, name: str, type_: str = "Ready") -> dict[str, Any]:
        conditions = self.status(kind, name).get("conditions", [])
        return next((each for each in conditions if each["type"] == type_), {})

    def finalizers(self, kind: str, name: str) -> list[str]:
        found: list[str] = self.get(kind, name).get("metadata", {}).get("finalizers", [])
        return found

    def reported(self, kind: str) -> bool:
        """Whether every object of the kind carries a report about its present spec."""
        found = self.items(kind)
        return bool(found) and all(
            each["status"].get("observedGeneration") == each["metadata"]["generation"] for each in found
        )


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
        """Whether `/readyz` says so: for one that commands, that every object has had its turn."""
        self._alive()
        return self.get("/readyz")[0] == 200

    def verified(self) -> bool:
        """Whether it commands, and every object has had its turn."""
        return self.leads() and self.ready()

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
