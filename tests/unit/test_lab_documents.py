"""What a lab site remembers: durable when the call returns, together with what others write at that moment."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from secondsite.agent.lab.commits import Commits
from secondsite.agent.lab.state import Documents, SiteSettings, TestNetwork

_THREADS = 8
_EACH = 40


def network(number: int, name: str = "net") -> TestNetwork:
    return TestNetwork(str(number), name)


def test_what_was_put_is_there_for_whoever_opens_it_next(tmp_path: Path) -> None:
    documents = Documents(tmp_path / "lab.db")
    documents.put("a", network(1))
    documents.put("b", network(2))
    documents.put("a", network(3))
    documents.remove(TestNetwork, "b")
    documents.remove(TestNetwork, "never there")
    # Not closed: a kill.
    found = Documents(tmp_path / "lab.db")
    assert found.all(TestNetwork) == documents.all(TestNetwork) == {"a": network(3)}
    assert (found.get(TestNetwork, "a"), found.get(TestNetwork, "b")) == (network(3), None)
    assert found.get(SiteSettings, "a") is None
    documents.close()
    found.close()


def test_a_look_at_all_is_a_copy(tmp_path: Path) -> None:
    documents = Documents(tmp_path / "lab.db")
    documents.put("a", network(1))
    documents.all(TestNetwork).clear()
    assert documents.all(TestNetwork) == {"a": network(1)}
    documents.close()


def test_threads_that_write_the_same_agree_with_the_disk(tmp_path: Path) -> None:
    documents = Documents(tmp_path / "lab.db")
    documents.all(TestNetwork)

    def write(thread: int) -> None:
        for number in range(_EACH):
            documents.put(str(number % 5), network(number, f"by {thread}"))
            documents.put(f"{thread}-{number}", network(number))
            assert documents.get(TestNetwork, f"{thread}-{number}") == network(number)

    threads = [threading.Thread(target=write, args=(thread,)) for thread in range(_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = documents.all(TestNetwork)
    documents.close()
    again = Documents(tmp_path / "lab.db")
    assert again.all(TestNetwork) == kept
    assert len(kept) == 5 + _THREADS * _EACH
    again.close()


def commits_at(path: Path) -> tuple[sqlite3.Connection, threading.Lock, Commits]:
    connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    connection.execute("CREATE TABLE kept (number INTEGER PRIMARY KEY)")
    lock = threading.Lock()
    return connection, lock, Commits(connection, lock)


def test_who_waits_while_the_disk_works_is_written_in_one_transaction(tmp_path: Path) -> None:
    connection, lock, commits = commits_at(tmp_path / "db")
    order: list[int] = []

    def write(number: int) -> None:
        commits.run(lambda: order.append(number), "INSERT INTO kept VALUES (?)", number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(20)]
    with lock:
        for thread in threads:
            thread.start()
        while commits.waiting < len(threads):
            threading.Event().wait(0.005)
    for thread in threads:
        thread.join()
    assert commits.count == 1
    assert sorted(order) == list(range(20))
    assert connection.execute("SELECT count(*) FROM kept").fetchone() == (20,)
    connection.close()


def test_one_that_cannot_be_written_fails_alone(tmp_path: Path) -> None:
    connection, lock, commits = commits_at(tmp_path / "db")
    commits.run(lambda: None, "INSERT INTO kept VALUES (?)", 7)
    failed: list[int] = []

    def write(number: int) -> None:
        try:
            commits.run(lambda: None, "INSERT INTO kept VALUES (?)", number)
        except sqlite3.IntegrityError:
            failed.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(10)]
    with lock:
        for thread in threads:
            thread.start()
        while commits.waiting < len(threads):
            threading.Event().wait(0.005)
    for thread in threads:
        thread.join()
    assert failed == [7]
    assert connection.execute("SELECT count(*) FROM kept").fetchone() == (10,)
    connection.close()


def test_a_failure_is_told_and_changes_nothing(tmp_path: Path) -> None:
    documents = Documents(tmp_path / "lab.db")
    documents.put("a", network(1))
    assert documents.get(TestNetwork, "a") == network(1)
    documents.close()
    with pytest.raises(sqlite3.ProgrammingError):
        documents.put("a", network(2))
    assert documents.get(TestNetwork, "a") == network(1)
