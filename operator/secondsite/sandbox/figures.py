"""Figures of the operator over a stretch of time in which nothing is asked of it: memory, CPU, calls."""

from __future__ import annotations

from dataclasses import dataclass

from secondsite.sandbox.eyes import Metrics
from secondsite.sandbox.stage import Verdict

_WRITES = ("POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True)
class Rest:
    """The operator's metrics at the beginning and the end of the stretch; between them it was not restarted."""

    first: Metrics
    last: Metrics

    def tell(self, verdict: Verdict) -> None:
        """Add what was seen to the figures."""
        seconds = (self.last.time - self.first.time).total_seconds()
        memory = (self.last.get("process_resident_memory_bytes") or 0) / 1e6
        cpu = self._grown("process_cpu_seconds_total") / seconds
        statuses = self._grown("secondsite_status_writes_total")
        writes = sum(self._grown("secondsite_kube_requests_total", method=method) for method in _WRITES)
        verdict.figures += [
            ("operator: memory", f"{memory:.0f} MB"),
            ("operator: CPU while nothing is asked of it", f"{100 * cpu:.1f} % of a core, over {seconds:.0f} s"),
            ("operator: status writes in that time", f"{statuses:.0f}"),
            ("operator: all writes to the API server, Lease included", f"{writes / seconds:.2f}/s"),
        ]

    def _grown(self, name: str, **labels: str) -> float:
        return (self.last.get(name, **labels) or 0.0) - (self.first.get(name, **labels) or 0.0)
