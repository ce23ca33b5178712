"""What a recovery point that has become durable changes in the replica's half: pure functions."""

from __future__ import annotations

from secondsite.agent.lab import counters, rpo
from secondsite.agent.lab.clock import LabClock
from secondsite.agent.lab.engine import RecoveryPoint
from secondsite.agent.lab.state import Half


def noted(half: Half, point: RecoveryPoint, clock: LabClock) -> dict[str, object]:
    """A delta cycle, or the copy that begins it all: that one is no cycle of the monitoring window."""
    seconds = max(0.0, (point.durable_time - point.freeze_time).total_seconds())
    window = counters.current(half.window, clock.now(), clock.monitoring_seconds)
    first: dict[str, object] = {}
    if half.state == "WaitingForInitialReplication":
        first = {"initial_done": True, "initial_total_bytes": point.bytes}
    else:
        window = window.delivered(point.bytes, seconds, clock.scaled(half.settings.interval_seconds))
    changes = {
        "window": window,
        "last_replication_time": point.durable_time,
        "last_cycle_seconds": seconds,
        "last_cycle_bytes": point.bytes,
        "cycles": half.cycles + 1,
    }
    return changes | first | rpo.arrived(half, point)
