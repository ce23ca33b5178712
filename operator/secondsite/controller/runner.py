"""Drives the queue: one pump for turns without I/O, which yields after each, and workers for turns that act."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from secondsite import logs
from secondsite.controller.limits import Limiter
from secondsite.controller.pending import Pending
from secondsite.controller.ports import Key
from secondsite.controller.queue import WorkQueue
from secondsite.controller.turn import Turns, Work

WORKERS = 16
_TICK_SECONDS = 0.2
"""How often freed places and late effects are looked for though nothing was heard."""
# Between turns that follow each other these looks would cost more than the turns.
_CHECK_SECONDS = 0.02
_STALE_SECONDS = 2.0

_log = logs.get(__name__)


@dataclass(slots=True)
class Runner:
    """`held_back` names keys whose turn has to wait yet (the start barrier); `took` hears how long a turn was busy."""

    queue: WorkQueue
    turns: Turns
    pending: Pending
    limiter: Limiter
    held_back: Callable[[Key], bool] = lambda _key: False
    took: Callable[[Key, float], None] = lambda _key, _seconds: None
    steady: Callable[[], float] = time.monotonic
    _stir: asyncio.Event = field(default_factory=asyncio.Event)
    _jobs: asyncio.Queue[tuple[float, Work]] = field(default_factory=asyncio.Queue)
    _waiting: set[Key] = field(default_factory=set)
    _next_check: float = 0.0
    _next_call: float = 0.0

    def now(self, key: Key) -> None:
        """The key needs a turn now."""
        self.queue.add(key)
        self._stir.set()

    def later(self, key: Key, delay: float) -> None:
        """The key needs a turn in so many seconds, or earlier."""
        self.queue.later(key, self.steady() + delay)
        self._stir.set()

    def stir(self) -> None:
        """Something was heard that may let somebody go on."""
        self._next_check = 0.0
        self._stir.set()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(WORKERS):
                group.create_task(self._worker())
            group.create_task(self._pump())

    async def _pump(self) -> None:
        while True:
            due = self._release()
            key = self.queue.take()
            if key is None:
                await self._rest(due)
                continue
            if self.held_back(key):
                self._waiting.add(key)
                self.queue.done(key)
            else:
                self._look(key)
            # Without it the loop would not turn until the queue is empty.
            await asyncio.sleep(0)

    def _look(self, key: Key) -> None:
        began = self.steady()
        work = None
        try:
            work = self.turns.look(key)
        except Exception as error:  # noqa: BLE001 - a defect here must not end the operator
            self._defect(key, error)
        if work is None:
            self._end(key, began)
        else:
            self._jobs.put_nowait((self.steady(), work))

    async def _worker(self) -> None:
        while True:
            planned, work = await self._jobs.get()
            began = self.steady()
            if began - planned > _STALE_SECONDS:
                # It stood behind others for so long that its picture is old: look again instead.
                self._end(work.key, began)
                self.now(work.key)
                continue
            try:
                await self.turns.act(work)
            except Exception as error:  # noqa: BLE001 - as above
                self._defect(work.key, error)
            finally:
                self._end(work.key, began)

    def _end(self, key: Key, began: float) -> None:
        self.queue.done(key)
        self.took(key, self.steady() - began)
        self._stir.set()

    def _defect(self, key: Key, error: Exception) -> None:
        delay = self.queue.failed(key, self.steady())
        _log.error("turn_failed", object=str(key), again_seconds=round(delay, 1), exc_info=error)

    def _release(self) -> float | None:
        """Let go on who may; returns when the next key is due."""
        now = self.steady()
        if now >= self._next_check:
            self._next_check = now + _CHECK_SECONDS
            self._check(now)
        return self.queue.wake_due(now)

    def _check(self, now: float) -> None:
        free = self.pending.settle(now) | self.limiter.slots.callable()
        if now >= self._next_call:
            self._next_call = now + _TICK_SECONDS
            free |= {key for key in self._waiting if not self.held_back(key)}
            self._waiting -= free
        for key in free - self.queue.busy:
            self.queue.add(key)

    async def _rest(self, due: float | None) -> None:
        self._stir.clear()
        if len(self.queue):
            return
        restless = bool(self.pending) or bool(self._waiting)
        limit = _TICK_SECONDS if restless else 5.0
        pause = limit if due is None else min(limit, max(due - self.steady(), 0.0))
        try:
            async with asyncio.timeout(pause):
                await self._stir.wait()
        except TimeoutError:
            return
