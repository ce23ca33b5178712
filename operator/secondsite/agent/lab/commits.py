"""Many writers, one sync: whoever comes first commits for all that wait."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Sequence
from typing import Any

Statement = tuple[str, tuple[Any, ...]]


class _Ticket:
    """One statement, and what became of it."""

    __slots__ = ("done", "error", "statement", "then")

    def __init__(self, statement: Statement, then: Callable[[], object]) -> None:
        self.statement = statement
        self.then = then
        self.done = False
        self.error: sqlite3.Error | None = None


class Commits:
    """Writes to one connection, any thread. `lock` is held while it is used; readers take it too."""

    def __init__(self, connection: sqlite3.Connection, lock: threading.Lock) -> None:
        self._connection = connection
        self._lock = lock
        self._waiting: list[_Ticket] = []
        self.count = 0
        """Of the transactions so far."""

    @property
    def waiting(self) -> int:
        """Statements that are not written yet."""
        return len(self._waiting)

    def run(self, then: Callable[[], object], sql: str, *values: Any) -> None:
        """On the disk when it returns. Raises sqlite3.Error, then nothing of it is.

        `then` is called with the lock held once it is there, in the order of the statements; it must not fail.
        """
        ticket = _Ticket((sql, values), then)
        # A list's append is one step, whoever empties it.
        self._waiting.append(ticket)
        with self._lock:
            if not ticket.done:
                batch = self._waiting[:]
                del self._waiting[: len(batch)]
                self._write(batch)
        if ticket.error is not None:
            raise ticket.error

    def _write(self, batch: Sequence[_Ticket]) -> None:
        """Lock held. Where all together cannot be written, each is tried alone: one must not cost the others."""
        error = self._transact(batch)
        if error is not None and len(batch) > 1:
            for ticket in batch:
                ticket.error = self._transact([ticket])
        elif error is not None:
            batch[0].error = error
        for ticket in batch:
            if ticket.error is None:
                ticket.then()
            ticket.done = True

    def _transact(self, batch: Sequence[_Ticket]) -> sqlite3.Error | None:
        self.count += 1
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for ticket in batch:
                self._connection.execute(*ticket.statement)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            return error
        return None
