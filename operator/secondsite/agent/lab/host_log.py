"""What Hyper-V would write to the log Microsoft-Windows-Hyper-V-VMMS-Admin: into the agent's log, and kept to be shown.

Ids and meanings: "Hyper-V Replica events" in Microsoft's troubleshooting articles; the texts are our own.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from secondsite import logs
from secondsite.agent.lab import counters
from secondsite.agent.lab.clock import utc_now
from secondsite.agent.lab.counters import Window
from secondsite.agent.lab.state import Half
from secondsite.agent.lab.table import Row

_log = logs.get(__name__)

_KEPT = 500

TEXTS: dict[int, str] = {
    29174: "statistics of a monitoring interval that ended",
    29242: "resynchronization begins",
    29244: "resynchronization ends",
    32022: "changes could not be replicated",
    32086: "replication is suspended on an error that does not pass by itself",
    32315: "replication failed, and is tried again",
}


@dataclass(frozen=True)
class Record:
    """One event."""

    time: datetime
    id: int
    vm_name: str
    text: str


class HostLog:
    """The newest events of a site. Thread-safe; a restart of the agent empties it, the agent's own log has them all."""

    def __init__(self, now: Callable[[], datetime] = utc_now) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._records: deque[Record] = deque(maxlen=_KEPT)

    def newest(self, count: int) -> list[Record]:
        """Oldest first."""
        with self._lock:
            return list(self._records)[-count:]

    def moved(self, row: Row, before: Half, after: Half | None) -> None:
        """A half made a step; None: it is gone."""
        if after is not None:
            self.counted(before, after)
        why = f": {after.failure}" if after is not None and after.failure else ""
        for id_ in (int(found) for found in row.events.split(", ") if found):
            self._write(id_, before, TEXTS[id_] + why, {"row": row.number})

    def counted(self, before: Half, after: Half) -> None:
        """The counters of a half have changed: a window that ended is told with its final values."""
        if counters.ended(before.window, after.window):
            self._write(29174, before, TEXTS[29174], _values(before.window))

    def _write(self, id_: int, half: Half, text: str, values: dict[str, object]) -> None:
        with self._lock:
            self._records.append(Record(self._now(), id_, half.vm_name, text))
        _log.info(text, event_id=id_, vm=half.vm_name, side=half.side, **values)


def _values(window: Window) -> dict[str, object]:
    return {
        "since": window.start.isoformat(),
        "successful": window.success,
        "missed": window.missed,
        "replication_errors": window.replication_errors,
        "network_errors": window.network_errors,
        "vss_errors": window.quiesce_failures,
        "total_bytes": window.bytes_total,
        "largest_bytes": window.bytes_max,
        "average_latency_seconds": window.average_latency,
        "largest_latency_seconds": window.latency_max,
    }
