"""The operator as a process of a stack, and what it tells over HTTP and in its log."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from secondsite.sandbox.eyes import Metrics
from support.stack_process import Process


class Operator(Process):
    """`secondsite operator run` on a free port."""

    def __init__(self, name: str, log: Path, kubeconfig: Path, namespace: str) -> None:
        arguments = ["operator", "run", "--kubeconfig", str(kubeconfig), "--namespace", namespace]
        super().__init__(name, log, [*arguments, "--metrics-port", "0"])

    def logged(self, event: str) -> list[dict[str, Any]]:
        """What the present incarnation logged under this name, oldest first."""
        lines = [line for line in self.said().splitlines() if line.startswith("{") and line.endswith("}")]
        return [record for record in map(json.loads, lines) if record.get("event") == event]

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of one of its pages; 0 while it does not listen."""
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
        """Whether it has verified every object."""
        return self.get("/readyz")[0] == 200

    def metrics(self) -> Metrics:
        return Metrics(self.get("/metrics")[1])

    def leads(self) -> bool:
        return self.metrics().get("secondsite_operator_leader") == 1.0
