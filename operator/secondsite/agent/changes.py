"""The change feed: the newest fact of every id, kept serialised, in the order of the last change."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import threading
import time
from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from typing import TypeAlias

import msgspec

from secondsite.wire.facts import Fact, Relation
from secondsite.wire.feed import ENTRY_TYPES, PAGE_SIZE, AnyFact

Key: TypeAlias = tuple[type[Fact], str]

# How many departures are remembered; a cursor older than the last one forgotten gets everything.
REMEMBERED_GONE = 10_000
# The log is made anew when it is this much longer than twice what is kept.
SPARE_LOG = 1024


@dataclass(frozen=True, slots=True)
class Kept:
    """A fact, or with None the memory that it is gone. `since`: when it was published, by the monotonic clock."""

    revision: int
    fact: AnyFact | None
    body: bytes
    since: float


@dataclass(frozen=True, slots=True)
class Page:
    """What a reader with some cursor lacks, in the terms of `wire.feed.Changes`."""

    cursor: str
    whole: bool
    begins: bool
    more: bool
    entries: list[Kept]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a reader stands: has seen all up to `seen`, and began at `start` (what had gone by then it never knew)."""

    whole: bool
    seen: int
    start: int


class Feed:
    """All facts of a site. `publish` may be called from any thread and never waits for a reader."""

    def __init__(self, *, remembered_gone: int = REMEMBERED_GONE) -> None:
        # New at every start: revisions count from zero again, and only the instance tells.
        self.instance = secrets.token_hex(6)
        self.revision = 0
        self._kept: dict[Key, Kept] = {}
        # Who changed, in the order of revisions; who has changed again since stands there still, and counts no more.
        self._revisions: list[int] = []
        self._changed: list[Key] = []
        self._gone: deque[tuple[Key, int]] = deque()
        self._remembered_gone = remembered_gone
        self._forgotten = 0
        self._lock = threading.Lock()
        self._waiting: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}

    def publish(self, kind: type[Fact], id: str, fact: AnyFact | None) -> None:
        """State a fact, or with None that it is gone. What is known already gets no new revision."""
        key = (kind, id)
        with self._lock:
            if _same(self._kept.get(key), fact):
                return
            self.revision += 1
            self._kept[key] = Kept(self.revision, fact, _encode(kind, id, self.revision, fact), time.monotonic())
            self._revisions.append(self.revision)
            self._changed.append(key)
            if fact is None:
                self._bury(key)
            if len(self._changed) > 2 * len(self._kept) + SPARE_LOG:
                self._shorten()
            self._wake()

    def fact(self, kind: type[Fact], id: str) -> AnyFact | None:
        """The newest fact of an id, None where there is none (any more)."""
        kept = self._kept.get((kind, id))
        return kept.fact if kept else None

    @property
    def logged(self) -> int:
        """How many entries are held, those included that have changed since."""
        return len(self._changed)

    def ids(self, kind: type[Fact]) -> list[str]:
        """Of every present fact of a kind."""
        with self._lock:
            return [id_ for (of, id_), kept in self._kept.items() if of is kind and kept.fact is not None]

    def page(self, cursor: str) -> Page:
        """What a reader at `cursor` lacks, oldest change first, as far as one page carries it."""
        with self._lock:
            place = self._place(cursor)
            lacking = self._lacking(place, PAGE_SIZE + 1)
            sent = lacking[:PAGE_SIZE]
            more = len(lacking) > PAGE_SIZE
            after = f"{self.instance}.{sent[-1].revision if more else self.revision}"
            if place.whole and more:
                after += f".{place.start}"
            return Page(after, place.whole, place.whole and place.seen == 0, more, sent)

    def listen(self, news: asyncio.Event) -> None:
        """Set `news` in the running loop at the next change, once."""
        with self._lock:
            self._waiting[news] = asyncio.get_running_loop()

    def forget(self, news: asyncio.Event) -> None:
        """Set it no more."""
        with self._lock:
            self._waiting.pop(news, None)

    def rouse(self) -> None:
        """Let every reader look again, as if something had changed."""
        with self._lock:
            self._wake()

    def _place(self, cursor: str) -> _Place:
        instance, *numbers = cursor.split(".")
        legible = len(numbers) in {1, 2} and all(number.isascii() and number.isdecimal() for number in numbers)
        if legible and instance == self.instance:
            seen, start = int(numbers[0]), int(numbers[-1])
            # Whoever stands before a departure that is forgotten would believe for good in what has gone.
            if max(seen, start) <= self.revision and start >= self._forgotten:
                return _Place(len(numbers) == 2, seen, start)
        return _Place(whole=True, seen=0, start=self.revision)

    def _lacking(self, place: _Place, most: int) -> list[Kept]:
        found = []
        for index in range(bisect_right(self._revisions, place.seen), len(self._revisions)):
            kept = self._kept.get(self._changed[index])
            newest = kept is not None and kept.revision == self._revisions[index]
            if kept and newest and (kept.fact is not None or kept.revision > place.start):
                found.append(kept)
                if len(found) == most:
                    break
        return found

    def _shorten(self) -> None:
        by_revision = sorted((kept.revision, key) for key, kept in self._kept.items())
        self._revisions = [revision for revision, _ in by_revision]
        self._changed = [key for _, key in by_revision]

    def _bury(self, key: Key) -> None:
        self._gone.append((key, self.revision))
        while len(self._gone) > self._remembered_gone:
            old, revision = self._gone.popleft()
            kept = self._kept[old]
            if kept.revision == revision:
                del self._kept[old]
                self._forgotten = revision

    def _wake(self) -> None:
        for news, loop in self._waiting.items():
            # The loop may be closed under a reader that nobody waits for any more.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(news.set)
        self._waiting.clear()


def _same(known: Kept | None, fact: AnyFact | None) -> bool:
    """Whether nothing has changed. A relation that was looked at again without news is still the same."""
    if known is None or known.fact is None or fact is None:
        return (known is None or known.fact is None) and fact is None
    if isinstance(fact, Relation) and isinstance(known.fact, Relation):
        fact = msgspec.structs.replace(fact, time=known.fact.time)
    return known.fact == fact


def _encode(kind: type[Fact], id_: str, revision: int, fact: AnyFact | None) -> bytes:
    entry = ENTRY_TYPES[kind](id=id_, revision=revision)
    return msgspec.json.encode(msgspec.structs.replace(entry, facts=fact))
