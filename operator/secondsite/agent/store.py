"""The agent's memory: one SQLite file, one thread that writes it, many changes per commit."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from secondsite.errors import SecondsiteError

T = TypeVar("T")
Change: TypeAlias = Callable[[sqlite3.Connection], T]

SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE operation (
    key TEXT PRIMARY KEY,
    vm_id TEXT NOT NULL,
    state TEXT NOT NULL,
    end_time REAL,
    deadline REAL NOT NULL,
    request BLOB NOT NULL,
    fact BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX operation_of_vm ON operation (vm_id, end_time);
CREATE INDEX operation_ended ON operation (end_time);
CREATE INDEX operation_running ON operation (key) WHERE state = 'Running';
CREATE TABLE ledger (vm_id TEXT PRIMARY KEY, fact BLOB NOT NULL) WITHOUT ROWID;
"""


class Store:
    """Runs changes in the order in which they were handed in; what queues up during a commit is the next one.

    `run` returns when its change is on the disk (WAL, `synchronous=FULL`). A caller that is cancelled meanwhile has
    its change stored all the same. The file is locked for as long as the store is open, also against other processes.
    """

    def __init__(self, path: Path) -> None:
        """Open or create the file. Raises SecondsiteError when it is in use, damaged or of a newer version."""
        self._connection = _open(path)
        self._loop = asyncio.get_running_loop()
        self._queued: list[tuple[Change[Any], asyncio.Future[Any]]] = []
        self._wake = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._write, name="store", daemon=True)
        self._thread.start()

    async def run(self, change: Change[T]) -> T:
        """What `change` returned, once that is durable; what it raised, with nothing of it stored.

        Raises sqlite3.Error when the commit itself failed.
        """
        waiter: asyncio.Future[T] = self._loop.create_future()
        with self._wake:
            if self._closing:
                raise SecondsiteError("The agent is stopping: nothing is stored any more")
            self._queued.append((change, waiter))
            self._wake.notify()
        return await waiter

    async def close(self) -> None:
        """Write what is queued, then close the file."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        await asyncio.to_thread(self._thread.join)

    def _write(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._queued or self._closing)
                batch, self._queued = self._queued, []
            if not batch:
                self._connection.close()
                return
            self._answer(batch, self._commit([change for change, _ in batch]))

    def _commit(self, changes: list[Change[Any]]) -> list[Any]:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            outcomes = [_attempt(self._connection, change) for change in changes]
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            return [_Failed(error)] * len(changes)
        return outcomes

    def _answer(self, batch: list[tuple[Change[Any], asyncio.Future[Any]]], outcomes: list[Any]) -> None:
        waiters = [waiter for _, waiter in batch]
        # A loop that was closed without waiting for us has nobody left to tell.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(_tell, waiters, outcomes)


class _Failed:
    def __init__(self, error: Exception) -> None:
        self.error = error


def _attempt(connection: sqlite3.Connection, change: Change[Any]) -> Any:
    """One change of a batch: if it fails, the others are not touched."""
    connection.execute("SAVEPOINT change")
    try:
        outcome = change(connection)
    except Exception as error:
        if not connection.in_transaction:
            # A full disk makes SQLite roll back the whole batch by itself.
            raise sqlite3.OperationalError(str(error)) from error
        connection.execute("ROLLBACK TO change")
        outcome = _Failed(error)
    connection.execute("RELEASE change")
    return outcome


def _tell(waiters: list[asyncio.Future[Any]], outcomes: list[Any]) -> None:
    for waiter, outcome in zip(waiters, outcomes, strict=True):
        if waiter.done():
            continue
        if isinstance(outcome, _Failed):
            waiter.set_exception(outcome.error)
        else:
            waiter.set_result(outcome)


def _open(path: Path) -> sqlite3.Connection:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SecondsiteError(f"Making the folder {path.parent} failed: {error.strerror or error}") from error
    try:
        # Before SQLite opens it: the log beside it gets the same mode.
        path.touch(mode=0o600)
        path.chmod(0o600)
    except OSError as error:
        raise _cannot_open(path, error) from error
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        # Exclusive: two agents on one folder would both believe that they own the relations.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN EXCLUSIVE")
        _migrate(connection, path)
        connection.execute("COMMIT")
    except sqlite3.OperationalError as error:
        connection.close()
        raise _cannot_open(path, error) from error
    except (sqlite3.DatabaseError, SecondsiteError) as error:
        connection.close()
        if isinstance(error, SecondsiteError):
            raise
        raise SecondsiteError(
            f"{path} is not a readable database: {error}",
            "Restore the data folder from a backup, or start in an empty one with a new registration bundle.",
        ) from error
    return connection


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == SCHEMA_VERSION:
        return
    if version:
        raise SecondsiteError(
            f"{path} was written by another version of the agent (schema {version}, this one knows {SCHEMA_VERSION})",
            "Start the version that wrote it, or a newer one.",
        )
    for statement in _SCHEMA.split(";"):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _cannot_open(path: Path, error: sqlite3.OperationalError | OSError) -> SecondsiteError:
    if "locked" in str(error):
        return SecondsiteError(
            f"Another agent runs on the data folder {path.parent}",
            "Stop it first, or give this one a folder of its own with --data.",
        )
    return SecondsiteError(f"Opening {path} failed: {error}", "Check that the folder may be written.")
