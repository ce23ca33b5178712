"""Operations as the store has them."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec

from secondsite.agent import meta
from secondsite.wire.facts import Operation
from secondsite.wire.operations import OperationRequest

# Served requests and lost outcomes can be asked for as long as this, and a year's drills with them.
KEPT_FOR = timedelta(days=400)
# Longer ago than this an end is no news; whoever asks for it by key gets it back into the feed.
NEWS_FOR = timedelta(days=1)
NEWS_PER_VM = 64

_BEGUN = "operations_begun"
_NEWEST_PER_VM = """
SELECT request, fact, deadline FROM (
    SELECT *, row_number() OVER (PARTITION BY vm_id ORDER BY end_time DESC) AS place
    FROM operation WHERE end_time >= ?
) WHERE place <= ?
"""
_OF_VM = """
SELECT request, fact, deadline FROM operation WHERE vm_id = ?
ORDER BY end_time IS NULL DESC, end_time DESC LIMIT ?
"""


@dataclass(frozen=True)
class Record:
    """One operation: what was asked, what became of it so far, and until when it may run (UTC)."""

    request: OperationRequest
    fact: Operation
    deadline: datetime

    @property
    def running(self) -> bool:
        return self.fact.state == "Running"


def new(key: str, request: OperationRequest, now: datetime) -> Record:
    """An operation that begins `now` (UTC)."""
    fact = Operation(
        key=key,
        verb=request.verb.value,
        intent=request.intent,
        attempt=request.attempt,
        state="Running",
        start_time=now,
        vm_id=request.vm_id,
        term=request.fence.term,
        epoch=request.epoch,
        request_name=request.request.name if request.request else "",
        request_token=request.request.token if request.request else "",
    )
    return Record(request, fact, now + timedelta(seconds=request.deadline_seconds))


def begin(connection: sqlite3.Connection, record: Record) -> int:
    """Store a new operation; returns how many ever began. Its key must be unknown."""
    values = (*_values(record), record.deadline.timestamp(), record.request.to_json(), record.fact.key)
    connection.execute(
        "INSERT INTO operation (vm_id, state, end_time, fact, deadline, request, key) VALUES (?, ?, ?, ?, ?, ?, ?)",
        values,
    )
    begun = count_begun(connection) + 1
    meta.put(connection, _BEGUN, str(begun))
    return begun


def end(connection: sqlite3.Connection, record: Record) -> None:
    """Store what became of it, once: an end that is already there stays."""
    connection.execute(
        "UPDATE operation SET vm_id = ?, state = ?, end_time = ?, fact = ? WHERE key = ? AND state = 'Running'",
        (*_values(record), record.fact.key),
    )


def find(connection: sqlite3.Connection, key: str) -> Record | None:
    rows = _records(connection.execute("SELECT request, fact, deadline FROM operation WHERE key = ?", (key,)))
    return rows[0] if rows else None


def running(connection: sqlite3.Connection) -> list[Record]:
    """What had not ended when the agent did."""
    return _records(connection.execute("SELECT request, fact, deadline FROM operation WHERE state = 'Running'"))


def newest(connection: sqlite3.Connection, now: datetime) -> list[Record]:
    """What ended so lately that it belongs into the feed."""
    return _records(connection.execute(_NEWEST_PER_VM, ((now - NEWS_FOR).timestamp(), NEWS_PER_VM)))


def of_vm(connection: sqlite3.Connection, vm_id: str, limit: int = 100) -> list[Record]:
    """The last operations of one VM, newest first."""
    return _records(connection.execute(_OF_VM, (vm_id, limit)))


def newest_end(connection: sqlite3.Connection) -> datetime | None:
    """When the last operation ended (UTC)."""
    (ended,) = connection.execute("SELECT max(end_time) FROM operation").fetchone()
    return None if ended is None else datetime.fromtimestamp(ended, UTC)


def prune(connection: sqlite3.Connection, now: datetime) -> int:
    """Forget what ended more than 400 days ago; returns how many."""
    return connection.execute("DELETE FROM operation WHERE end_time < ?", ((now - KEPT_FOR).timestamp(),)).rowcount


def count_begun(connection: sqlite3.Connection) -> int:
    """How many operations this agent ever began, also those that are forgotten."""
    return int(meta.get(connection, _BEGUN) or 0)


def _values(record: Record) -> tuple[str, str, float | None, bytes]:
    fact = record.fact
    ended = None if fact.end_time is None else fact.end_time.timestamp()
    return fact.vm_id, fact.state, ended, msgspec.json.encode(fact)


def _records(rows: sqlite3.Cursor) -> list[Record]:
    return [
        Record(
            OperationRequest.model_validate_json(request),
            msgspec.json.decode(fact, type=Operation),
            datetime.fromtimestamp(deadline, UTC),
        )
        for request, fact, deadline in rows
    ]
