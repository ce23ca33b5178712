"""One change of a site's resources after the other, without a caller or a successor that waits for ever."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from secondsite import logs
from secondsite.wire.problems import Code, Refusal

_log = logs.get(__name__)

T = TypeVar("T")

# Less than an operator waits for an answer, so that it hears why.
PATIENCE_SECONDS = 8.0


class Turns:
    """Serialises changes by kind of resource: those of one kind share what they choose from, as addresses do a pool.

    A caller waits for at most `patience` seconds. A change that has not ended by then is cancelled, and keeps its turn
    until it really ends: two of them must not meet in a driver. One that had no turn by then was never begun.
    """

    def __init__(self, patience: float = PATIENCE_SECONDS) -> None:
        self._patience = patience
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def run(self, kind: str, change: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What `change` returns or raises. Raises Refusal (Settling) when it takes too long."""
        work = asyncio.create_task(self._take(self._locks[kind], change))
        await asyncio.wait({work}, timeout=self._patience)
        if work.done():
            return work.result()
        work.cancel()
        work.add_done_callback(_late)
        _log.warning("a change of the site's resources hangs", kind=kind, seconds=self._patience)
        raise Refusal(
            Code.SETTLING,
            f"Changing {kind} at this site has not ended within {self._patience:g} s: this change hangs, or one before",
            remedy="It is tried again; if it stays so, the agent's log and its checks say what the site waits for.",
        )

    @staticmethod
    async def _take(lock: asyncio.Lock, change: Callable[[], Coroutine[Any, Any, T]]) -> T:
        async with lock:
            return await change()


def _late(work: asyncio.Task[Any]) -> None:
    error = None if work.cancelled() else work.exception()
    _log.info("a change that hung has ended", error=str(error or ""))
