"""The only writer of statuses: writes what differs, transitions at once, what merely ages seldom."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from secondsite import logs
from secondsite.api.condition import CommonReason
from secondsite.api.kind import Kind
from secondsite.controller.catalogue import Catalogue, Entry
from secondsite.controller.conditions import MESSAGES, Body, Fingerprint, difference, fingerprint, merge, overlay
from secondsite.controller.kube import ApiError, ApiUnreachable, Kube, Resource
from secondsite.controller.ports import Key
from secondsite.controller.throttle import Throttle
from secondsite.plan.actions import Finding, Report

TRANSITIONS_PER_SECOND = 50.0
REFRESHES_PER_SECOND = 5.0
MESSAGE_SECONDS = 10.0
"""Least time between two writes of one object for the sake of a message alone."""
_AT_ONCE = 8
_RETRY_SECONDS = 1.0

_log = logs.get(__name__)


@dataclass(slots=True)
class _Wish:
    """A status that is to be written, or its conditions only."""

    uid: str
    status: Body
    sent: Fingerprint
    whole: bool
    after: float | None
    """None: at once."""
    failures: int = 0


@dataclass(slots=True)
class StatusWriter:
    """`may_write` is asked before each write; `refresh_seconds` is the least time between two that only refresh."""

    kube: Kube
    catalogue: Catalogue
    kinds: Mapping[str, Kind[Any, Any]]
    wall: Callable[[], datetime]
    steady: Callable[[], float]
    may_write: Callable[[], bool] = lambda: True
    refresh_seconds: Callable[[Entry], float] = lambda _entry: 60.0
    written: Callable[[Key], None] = lambda _key: None
    """Hears of every write, once it is done."""
    transitions: Throttle = field(default_factory=lambda: Throttle(TRANSITIONS_PER_SECOND, TRANSITIONS_PER_SECOND))
    refreshes: Throttle = field(default_factory=lambda: Throttle(REFRESHES_PER_SECOND, REFRESHES_PER_SECOND))
    _wishes: dict[Key, _Wish] = field(default_factory=dict)
    _urgent: deque[Key] = field(default_factory=deque)
    _later: list[tuple[float, Key]] = field(default_factory=list)
    _written_at: dict[Key, float] = field(default_factory=dict)
    _stir: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def waiting(self) -> int:
        """How many statuses wait to be written."""
        return len(self._wishes)

    def submit(self, entry: Entry, report: Report, *, conditions_only: bool = False) -> None:
        """Have a report written if it differs from what the cluster holds; it replaces one that still waits."""
        status = self._conditions(entry, report) if conditions_only else self._whole(entry, report)
        if status is None:
            finding = Finding("Ready", "Unknown", CommonReason.INTERNAL_ERROR, "The status does not fit its schema.")
            status, conditions_only = self._conditions(entry, Report(findings=(finding,))), True
        sent = fingerprint(status)
        base = entry.sent if entry.sent is not None and entry.status == entry.written else entry.status
        if conditions_only:
            base = {name: number for name, number in base.items() if name in sent}
        differing = difference(sent, base)
        if not differing:
            self._wishes.pop(entry.key, None)
            return
        after = self._after(entry, differing - report.volatile)
        self._wishes[entry.key] = _Wish(entry.uid, status, sent, whole=not conditions_only, after=after)
        self._enqueue(entry.key, after)

    def forget(self, key: Key) -> None:
        """There is no such object any more."""
        self._wishes.pop(key, None)
        self._written_at.pop(key, None)

    async def run(self) -> None:
        """Write until cancelled."""
        room = asyncio.Semaphore(_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            while True:
                key, wish = await self._next()
                await room.acquire()
                task = group.create_task(self._safely(key, wish))
                task.add_done_callback(lambda _task: room.release())

    def _whole(self, entry: Entry, report: Report) -> Body | None:
        conditions = merge(entry.conditions, report.findings, entry.generation, self.wall())
        whole = {**report.status, "observedGeneration": entry.generation, "conditions": conditions}
        try:
            # Through the types of the API: they cut what exceeds a bound, so that no long message refuses the rest.
            manifest: Body = self.kinds[entry.key.kind].status.model_validate(whole).manifest()
        except ValueError as error:
            _log.error("status_invalid", object=str(entry.key), error=str(error))
            return None
        return manifest

    def _conditions(self, entry: Entry, report: Report) -> Body:
        changed = merge(entry.conditions, report.findings, entry.generation, self.wall())
        return {"observedGeneration": entry.generation, "conditions": list(overlay(entry.conditions, changed))}

    def _after(self, entry: Entry, firm: frozenset[str]) -> float | None:
        if firm - {MESSAGES}:
            return None
        pause = MESSAGE_SECONDS if firm else max(self.refresh_seconds(entry), 60.0)
        return self._written_at.get(entry.key, float("-inf")) + pause

    def _enqueue(self, key: Key, after: float | None) -> None:
        if after is None:
            self._urgent.append(key)
        else:
            heapq.heappush(self._later, (after, key))
        self._stir.set()

    async def _next(self) -> tuple[Key, _Wish]:
        while True:
            pause = 0.5
            if self.may_write():
                found, pause = self._take(self.steady())
                if found is not None:
                    return found
            self._stir.clear()
            try:
                async with asyncio.timeout(pause):
                    await self._stir.wait()
            except TimeoutError:
                continue

    def _take(self, now: float) -> tuple[tuple[Key, _Wish] | None, float]:
        """What may be written now; or how long to wait before asking again."""
        pauses = [60.0]
        if self._head_urgent():
            if self.transitions.take(now):
                return self._pop(self._urgent.popleft()), 0.0
            pauses.append(self.transitions.wait(now))
        if (after := self._head_later()) is not None:
            if after > now:
                pauses.append(after - now)
            elif self.refreshes.take(now):
                return self._pop(heapq.heappop(self._later)[1]), 0.0
            else:
                pauses.append(self.refreshes.wait(now))
        return None, max(min(pauses), 0.001)

    def _head_urgent(self) -> bool:
        while self._urgent and not self._stands(self._urgent[0], None):
            self._urgent.popleft()
        return bool(self._urgent)

    def _head_later(self) -> float | None:
        while self._later and not self._stands(self._later[0][1], self._later[0][0]):
            heapq.heappop(self._later)
        return self._later[0][0] if self._later else None

    def _stands(self, key: Key, after: float | None) -> bool:
        """Whether a place in a queue is still that of the key's wish, and nobody writes the object now."""
        wish, entry = self._wishes.get(key), self.catalogue.get(key)
        return wish is not None and wish.after == after and not (entry and entry.writing)

    def _pop(self, key: Key) -> tuple[Key, _Wish]:
        return key, self._wishes.pop(key)

    async def _safely(self, key: Key, wish: _Wish) -> None:
        try:
            await self._write(key, wish)
        except Exception:  # noqa: BLE001 - a defect about one object must not silence all others
            _log.exception("status_write_failed", object=str(key))
            self._again(key, wish)
            self._enqueue(key, wish.after)

    async def _write(self, key: Key, wish: _Wish) -> None:
        entry = self.catalogue.get(key)
        if entry is None or entry.uid != wish.uid:
            return
        entry.writing = True
        try:
            body = await self._patch(key, entry, wish)
        except ApiUnreachable:
            self._again(key, wish)
        except ApiError as error:
            await self._refused(key, entry, wish, error)
        else:
            self._written_at[key] = self.steady()
            self.catalogue.wrote(self.kinds[key.kind], entry, body, wish.sent if wish.whole else None)
            self.written(key)
        finally:
            entry.writing = False
            if (waiting := self._wishes.get(key)) is not None:
                self._enqueue(key, waiting.after)

    async def _patch(self, key: Key, entry: Entry, wish: _Wish) -> Body:
        operations: list[Body] = [{"op": "test", "path": "/metadata/uid", "value": entry.uid}]
        if wish.whole or not entry.status.keys() - {"conditions", MESSAGES}:
            operations.append({"op": "add", "path": "/status", "value": wish.status})
        else:
            operations += [
                {"op": "add", "path": f"/status/{name}", "value": each} for name, each in wish.status.items()
            ]
        return await self.kube.patch_status(Resource.of(self.kinds[key.kind]), key.namespace, key.name, operations)

    def _again(self, key: Key, wish: _Wish) -> None:
        """The same later, unless something newer waits already."""
        wish.failures += 1
        wish.after = self.steady() + min(_RETRY_SECONDS * 2 ** min(wish.failures - 1, 5), 30.0)
        self._wishes.setdefault(key, wish)

    async def _refused(self, key: Key, entry: Entry, wish: _Wish, error: ApiError) -> None:
        if error.status == 404:
            self.catalogue.remove(key, entry.uid)
        elif error.status == 422:
            await self._unprocessable(key, entry, wish, error)
        else:
            # A conflict, too many requests, a server in trouble: all pass. Anything else is worth a line each time.
            level = 20 if error.status in (409, 429) or error.status >= 500 else 40
            _log.log(level, "status_not_written", object=str(key), error=str(error))
            self._again(key, wish)

    async def _unprocessable(self, key: Key, entry: Entry, wish: _Wish, error: ApiError) -> None:
        """Either it is another object by now, or the status does not fit the schema of the cluster."""
        kind = self.kinds[key.kind]
        try:
            body = await self.kube.get(Resource.of(kind), key.namespace, key.name)
        except ApiError as missing:
            if missing.status == 404:
                self.catalogue.remove(key, entry.uid)
            return
        except ApiUnreachable:
            self._again(key, wish)
            return
        self.catalogue.take(kind, body)
        if body["metadata"]["uid"] != wish.uid:
            return
        _log.error("status_refused", object=str(key), error=str(error))
        if wish.whole:
            # Without the rest the conditions may still pass, and they are what people look at.
            status = {name: wish.status[name] for name in ("observedGeneration", "conditions")}
            less = _Wish(wish.uid, status, fingerprint(status), whole=False, after=self.steady() + _RETRY_SECONDS)
            self._wishes.setdefault(key, less)
