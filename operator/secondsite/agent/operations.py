"""Commands: stored before they begin, carried out as tasks of their own, taken up again after the agent's death."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

import msgspec

from secondsite import logs
from secondsite.agent import ledger, messages, records
from secondsite.agent.admission import check_admission
from secondsite.agent.changes import Feed
from secondsite.agent.driver import Command, Driver
from secondsite.agent.execution import End, carry_out
from secondsite.agent.ledger import Ledgers, Reporter
from secondsite.agent.news import News
from secondsite.agent.records import Record
from secondsite.agent.store import Change, Store, T
from secondsite.wire.facts import Ledger, Operation
from secondsite.wire.operations import OperationAnswer, OperationRequest, Verb
from secondsite.wire.problems import Code, Refusal

_log = logs.get(__name__)

# Quick verbs are over by then, and their caller learns the end at once.
PATIENCE_SECONDS = 0.25
_RETRY_SECONDS = 1.0


@dataclass(eq=False)
class _Live:
    """An operation that has not ended. `given_up` gets the reason when somebody abandons it."""

    record: Record
    stored: asyncio.Future[int]
    given_up: asyncio.Future[str]
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Operations:
    """Begins, follows and ends the commands of a site: one at a time per VM, and each key only once."""

    def __init__(self, store: Store, driver: Driver, feed: Feed, ledgers: Ledgers, reporter: Reporter) -> None:
        self.begun = 0
        self._store = store
        self._driver = driver
        self._feed = feed
        self._ledgers = ledgers
        self._reporter = reporter
        self._news = News(feed)
        self._live: dict[str, _Live] = {}
        # Ended for whoever asks, while the driver's work goes on: the VM is not free yet.
        self._left: dict[str, Record] = {}

    def load(self, begun: int, running: Iterable[Record], ended: Iterable[Record]) -> None:
        """Show what the store has; what had not ended waits for `resume`."""
        self.begun = begun
        for record in sorted(ended, key=lambda record: record.fact.end_time or record.fact.start_time):
            self._news.show(record.fact)
        for record in running:
            self._enter(record, stored=_done(begun))
            # Before anything else is told: a whole answer without it would say that it is over.
            self._feed.publish(Operation, record.fact.key, record.fact)

    def resume(self) -> None:
        """Take up again what the agent's end interrupted; a look that cannot be is reported `Interrupted`."""
        for live in self._live.values():
            # What began since the start runs already; twice is what must never be.
            if live.task is None:
                live.task = asyncio.create_task(self._run(live, resumed=True))

    async def put(
        self, key: str, request: OperationRequest, allowed: Callable[[], None] = lambda: None
    ) -> OperationAnswer:
        """Begin an operation, or tell what became of it if the key is known. Raises Refusal, then nothing began.

        `allowed` raises what speaks against it at the very moment at which it would begin.
        """
        if key not in self._live:
            known = await self._store.run(partial(records.find, key=key))
            # Another request with this key may have been quicker meanwhile.
            if known is not None and key not in self._live:
                _require_same(known.request, request)
                if not known.running:
                    self._news.show(known.fact)
                return self._answer(known.fact)
        live = self._live.get(key)
        if live is None:
            allowed()
            live = self._begin(key, request)
        _require_same(live.record.request, request)
        await asyncio.shield(live.stored)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(live.ended.wait(), PATIENCE_SECONDS)
        return self._answer(live.record.fact)

    async def get(self, key: str) -> OperationAnswer:
        """How it stands. Raises Refusal (NotFound)."""
        live = self._live.get(key)
        record = live.record if live else await self._store.run(partial(records.find, key=key))
        if record is None:
            raise Refusal(Code.NOT_FOUND, f"No operation {key} ever began at this site")
        return self._answer(record.fact)

    async def abandon(self, key: str) -> OperationAnswer:
        """Stop it wherever it is; its result is unknown. What has ended stays as it is.

        Its VM is free as soon as the driver's work has really ended: at once, but for a driver that cannot stop.
        """
        live = self._live.get(key)
        if live is not None:
            if not live.given_up.done():
                live.given_up.set_result("It was abandoned on request.")
            await live.ended.wait()
        return await self.get(key)

    async def of_vm(self, vm_id: str) -> tuple[Operation, ...]:
        """The last operations of a VM, newest first."""
        found = await self._store.run(partial(records.of_vm, vm_id=vm_id))
        return tuple(self._live[r.fact.key].record.fact if r.fact.key in self._live else r.fact for r in found)

    async def newest_end(self) -> datetime | None:
        """When the last operation ended (UTC); None before the first."""
        return await self._store.run(records.newest_end)

    async def tidy(self, now: datetime) -> None:
        """Drop from feed and store what is too old (UTC)."""
        self._news.expire(now)
        await self._store.run(partial(records.prune, now=now))

    async def stop(self) -> None:
        """Leave everything as it stands: what runs is taken up again at the next start."""
        tasks = [live.task for live in self._live.values() if live.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, key: str, request: OperationRequest) -> _Live:
        check_admission(request, self._driver, self._ledgers.of(request.vm_id), self._in_the_way(request))
        record = records.new(key, request, self._driver.now())
        # Nothing was awaited since the checks, so the VM is still free; from here it is taken.
        stored = asyncio.ensure_future(self._store.run(lambda connection: records.begin(connection, record)))
        live = self._enter(record, stored)
        live.task = asyncio.create_task(self._run(live, resumed=False))
        return live

    def _in_the_way(self, request: OperationRequest) -> Operation | None:
        """What runs on the same VM. A probe may last long and changes nothing: it waits for none, and none for it."""
        working = [live.record for live in self._live.values()] + list(self._left.values())
        others = (record for record in working if record.request.vm_id == request.vm_id)
        blocking = (record.fact for record in others if record.request.verb is not Verb.CHECK_TEST_VM)
        return None if request.verb is Verb.CHECK_TEST_VM else next(blocking, None)

    def _enter(self, record: Record, stored: asyncio.Future[int]) -> _Live:
        live = _Live(record, stored, asyncio.get_running_loop().create_future())
        self._live[record.fact.key] = live
        return live

    async def _run(self, live: _Live, *, resumed: bool) -> None:
        try:
            self.begun = max(self.begun, await asyncio.shield(live.stored))
        except Exception:  # noqa: BLE001 - whatever it is
            # Whoever asked gets the same error from `stored`; nothing has begun.
            self._release(live)
            return
        await self._finish(live, await self._carry_out(live, resumed=resumed))

    async def _carry_out(self, live: _Live, *, resumed: bool) -> End:
        fact = live.record.fact
        try:
            self._feed.publish(Operation, fact.key, fact)
            _log.info("operation begins", key=fact.key, verb=fact.verb, vm=fact.vm_id, resumed=resumed)
            return await carry_out(self._driver, self._command(live, resumed=resumed), live.given_up)
        except Refusal as unreadable:
            # Stored by an older agent in a shape that this one does not know.
            return End("Interrupted", unreadable.code.value, unreadable.detail)
        except Exception as error:  # noqa: BLE001 - the last line of defence of a task: its VM must not stay taken
            _log.exception("an operation failed unexpectedly", key=fact.key, verb=fact.verb, vm=fact.vm_id)
            return End.unexpected("The agent", error)

    def _command(self, live: _Live, *, resumed: bool) -> Command:
        request, loop = live.record.request, asyncio.get_running_loop()
        return Command(
            key=live.record.fact.key,
            verb=request.verb,
            vm_id=request.vm_id,
            arguments=messages.arguments(request),
            epoch=request.epoch,
            deadline=live.record.deadline,
            resumed=resumed,
            report=lambda percent, message: _threadsafe(loop, self._progress, live, percent, message),
        )

    def _progress(self, live: _Live, percent: int | None, message: str) -> None:
        if live.ended.is_set() or self._live.get(live.record.fact.key) is not live:
            return
        fact = msgspec.structs.replace(live.record.fact, percent=percent, message=message)
        live.record = replace(live.record, fact=fact)
        self._feed.publish(Operation, fact.key, fact)

    async def _finish(self, live: _Live, end: End) -> None:
        fact = end.of(live.record.fact, self._driver.now())
        try:
            await self._book(replace(live.record, fact=fact))
        except Exception as error:  # noqa: BLE001 - as above; what the store lacks, the next start takes up again
            _log.exception("the end of an operation cannot be booked", key=fact.key, verb=fact.verb, state=fact.state)
            fact = End.unexpected("Booking its end", error).of(fact, self._driver.now())
        live.record = replace(live.record, fact=fact)
        if end.left is not None:
            self._leave(live.record, end.left)
        try:
            # Last, so that whoever sees the end sees its effects too.
            self._news.show(fact)
        finally:
            self._release(live)
        _log.info("operation ended", key=fact.key, verb=fact.verb, vm=fact.vm_id, state=fact.state, detail=fact.message)

    async def _book(self, record: Record) -> None:
        def store(connection: sqlite3.Connection) -> Ledger | None:
            records.end(connection, record)
            # From the stored ledger, for a probe may end at the same moment as a command on its VM.
            return ledger.book(connection, record.request) if record.fact.state == "Succeeded" else None

        books = await self._insist(store)
        if books is not None:
            self._reporter.keep_books(books)

    def _release(self, live: _Live) -> None:
        del self._live[live.record.fact.key]
        live.ended.set()

    def _leave(self, record: Record, work: asyncio.Future[Any]) -> None:
        """Keep the VM taken until the work that nobody waits for has ended."""
        key = record.fact.key
        self._left[key] = record

        def over(ended: asyncio.Future[Any]) -> None:
            del self._left[key]
            error = None if ended.cancelled() else ended.exception()
            _log.info("the work of an operation that was given up has ended", key=key, error=str(error or ""))

        work.add_done_callback(over)

    async def _insist(self, change: Change[T]) -> T:
        """Until it is stored the operation counts as running: an end that a restart forgets is none."""
        while True:
            try:
                return await self._store.run(change)
            except sqlite3.Error as error:
                _log.error("the end of an operation cannot be stored, trying again", error=str(error))
                await asyncio.sleep(_RETRY_SECONDS)

    def _answer(self, fact: Operation) -> OperationAnswer:
        return OperationAnswer(
            key=fact.key,
            state=fact.state,
            instance=self._feed.instance,
            revision=self._feed.revision,
            percent=fact.percent,
            code=fact.code,
            message=fact.message,
            remedy=fact.remedy,
            result=fact.result,
        )


def _require_same(known: OperationRequest, asked: OperationRequest) -> None:
    def wish(request: OperationRequest) -> tuple[object, ...]:
        named = (request.verb, request.vm_id, request.intent, request.attempt, request.request, request.epoch)
        return (*named, messages.arguments(request))

    if wish(known) != wish(asked):
        raise Refusal(Code.KEY_REUSED, f"This key names another operation: {known.verb} of VM {known.vm_id or 'none'}")


def _done(value: int) -> asyncio.Future[int]:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    future.set_result(value)
    return future


def _threadsafe(loop: asyncio.AbstractEventLoop, call: Callable[..., None], *arguments: object) -> None:
    # A thread of the driver may outlive the loop by a moment.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(call, *arguments)
