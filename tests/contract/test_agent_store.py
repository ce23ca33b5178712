"""The agent's store: durable before anybody hears of it, many changes per commit, one broken change alone."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from secondsite.agent import ledger, meta, records
from secondsite.agent.changes import Feed
from secondsite.agent.ledger import after_success
from secondsite.agent.news import News
from secondsite.agent.records import Record
from secondsite.agent.store import Store
from secondsite.errors import SecondsiteError
from secondsite.wire.facts import Ledger, Operation, OperationState
from secondsite.wire.operations import Verb
from support.agents import command
from support.memory_driver import VM_ID

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store(tmp_path / "agent.db")
    yield opened
    await opened.close()


def record(key: str, ended: datetime | None, vm_id: str = VM_ID) -> Record:
    state: OperationState = "Running" if ended is None else "Succeeded"
    fact = Operation(
        key=key, verb="Suspend", intent="i", attempt=1, state=state, start_time=NOW, end_time=ended, vm_id=vm_id
    )
    return Record(command(vm_id=vm_id), fact, NOW + DAY)


async def keep(store: Store, *kept: Record) -> None:
    for one in kept:
        await store.run(partial(records.begin, record=one))


async def test_what_was_stored_is_there_after_closing(tmp_path: Path) -> None:
    for value in ("1", "2"):
        store = Store(tmp_path / "agent.db")
        before = await store.run(lambda connection: meta.get(connection, "x"))
        assert before == (None if value == "1" else "1")
        await store.run(partial(meta.put, name="x", value=value))
        await store.close()


async def test_a_broken_change_spoils_no_other_of_its_batch(store: Store) -> None:
    def broken(connection: sqlite3.Connection) -> None:
        meta.put(connection, "half", "done")
        raise ValueError("no")

    gate = threading.Event()
    blocker = asyncio.create_task(store.run(lambda _: gate.wait(10)))
    await asyncio.sleep(0)
    changes = [store.run(partial(meta.put, name=f"n{n}", value="x")) for n in range(50)]
    batch = asyncio.gather(*changes[:25], store.run(broken), *changes[25:], return_exceptions=True)
    await asyncio.sleep(0)
    gate.set()
    outcomes = await batch
    await blocker
    assert [type(outcome) for outcome in outcomes if outcome is not None] == [ValueError]
    names = await store.run(lambda c: {name for (name,) in c.execute("SELECT name FROM meta")})
    assert names == {f"n{n}" for n in range(50)}


async def test_a_cancelled_callers_change_is_stored_all_the_same(store: Store) -> None:
    gate = threading.Event()
    blocker = asyncio.create_task(store.run(lambda _: gate.wait(10)))
    waiting = asyncio.create_task(store.run(lambda connection: meta.put(connection, "x", "y")))
    await asyncio.sleep(0)
    waiting.cancel()
    gate.set()
    await blocker
    assert await store.run(lambda connection: meta.get(connection, "x")) == "y"


async def test_the_disk_being_full_reaches_the_caller_and_the_store_goes_on(store: Store) -> None:
    def full(connection: sqlite3.Connection) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
        meta.put(connection, "big", "x" * 1_000_000)

    with pytest.raises(sqlite3.Error, match="full"):
        await store.run(full)
    await store.run(lambda connection: connection.execute("PRAGMA max_page_count = 1000000").fetchone())
    await store.run(lambda connection: meta.put(connection, "x", "y"))
    assert await store.run(lambda connection: meta.get(connection, "big")) is None


async def test_a_commit_is_asked_to_reach_the_disk(store: Store) -> None:
    assert await store.run(lambda c: c.execute("PRAGMA synchronous").fetchone()) == (2,)
    assert await store.run(lambda c: c.execute("PRAGMA journal_mode").fetchone()) == ("wal",)


async def test_a_second_store_on_the_file_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(SecondsiteError, match="Another agent runs"):
        Store(tmp_path / "agent.db")


async def test_damaged_and_newer_files_say_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "damaged.db").write_bytes(b"nonsense" * 1000)
    with pytest.raises(SecondsiteError, match=r"not a readable database.*bundle"):
        Store(tmp_path / "damaged.db")
    with sqlite3.connect(tmp_path / "newer.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(SecondsiteError, match="schema 99"):
        Store(tmp_path / "newer.db")


async def test_a_closed_store_takes_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "agent.db")
    await store.close()
    with pytest.raises(SecondsiteError, match="stopping"):
        await store.run(lambda connection: meta.put(connection, "x", "y"))


async def test_operations_are_kept_for_400_days(store: Store) -> None:
    await keep(store, record("old", NOW - 401 * DAY), record("kept", NOW - 399 * DAY), record("running", None))
    assert await store.run(partial(records.prune, now=NOW)) == 1
    found = [await store.run(partial(records.find, key=key)) for key in ("old", "kept", "running")]
    assert [one is not None for one in found] == [False, True, True]
    # What is forgotten was begun all the same.
    assert await store.run(records.count_begun) == 3


async def test_an_end_is_written_once(store: Store) -> None:
    await keep(store, record("k", None))
    await store.run(partial(records.end, record=record("k", NOW)))
    await store.run(partial(records.end, record=record("k", NOW + DAY)))
    found = await store.run(partial(records.find, key="k"))
    assert found is not None
    assert found.fact.end_time == NOW
    assert await store.run(records.running) == []


async def test_only_lately_ended_operations_are_news(store: Store) -> None:
    await keep(store, record("yesterday", NOW - 2 * DAY), *(record(f"k{n:02}", NOW - n * DAY / 100) for n in range(80)))
    await keep(store, record("other", NOW - DAY / 2, vm_id="other"), record("running", None))
    news = {one.fact.key for one in await store.run(partial(records.newest, now=NOW))}
    assert news == {f"k{n:02}" for n in range(records.NEWS_PER_VM)} | {"other"}


def test_old_ends_leave_the_feed() -> None:
    feed = Feed()
    news = News(feed)
    for number in range(records.NEWS_PER_VM + 2):
        news.show(record(f"k{number:02}", NOW).fact)
    news.show(record("other", NOW + DAY, vm_id="other").fact)
    assert {"k00", "k01", "k02"} - set(feed.ids(Operation)) == {"k00", "k01"}
    news.expire(NOW + DAY + timedelta(seconds=1))
    assert feed.ids(Operation) == ["other"]


async def test_ledgers_are_kept(store: Store) -> None:
    kept = Ledger(vm_id=VM_ID, epoch=3, changes=2, served_requests=(("synchronize", "t"),))
    await store.run(partial(ledger.save, ledger=kept))
    assert await store.run(ledger.load) == [kept]


def test_a_look_is_no_change_and_another_wish_keeps_what_was_served() -> None:
    before = Ledger(vm_id=VM_ID, epoch=3, changes=2, served_requests=(("a", "1"),))
    assert after_success(before, command(Verb.CHECK_TEST_VM, epoch=3)) == before
    after = after_success(before, command(epoch=4, request={"name": "b", "token": "2"}))
    assert (after.epoch, after.changes, after.served_requests) == (4, 3, (("a", "1"), ("b", "2")))
    assert after.released_epoch == 0
    assert after_success(after, command(Verb.REMOVE_REPLICA, epoch=4)).released_epoch == 4


async def test_what_the_agent_remembers_is_for_its_owner_only(tmp_path: Path) -> None:
    # The folder may be one that others can look into.
    tmp_path.chmod(0o755)
    store = Store(tmp_path / "agent.db")
    await store.run(partial(meta.put, name="x", value="y"))
    modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    await store.close()
    assert modes == {"agent.db": 0o600, "agent.db-wal": 0o600}
