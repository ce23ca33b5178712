"""The work queue: keys to look at now, in order of urgency, and keys to look at later."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from secondsite.controller.ports import Key

FIRST_DELAY = 1.0
"""Seconds before a key that failed is tried again; doubled each time."""
LONGEST_DELAY = 300.0
JITTER = 0.1
"""Share of a delay by which it is stretched at random, so that a herd spreads."""

Rank = tuple[object, ...]

_SLACK = 64


@dataclass(order=True, slots=True)
class _Waiting:
    when: float
    key: Key


@dataclass(slots=True)
class WorkQueue:
    """Keys, each at most once. Knows no tasks and no clock: times are the caller's monotonic seconds.

    A key is *ready* (dirty and free), *busy* (taken and not yet done; if it gets dirty meanwhile it is ready again
    afterwards), or neither. Beside that it may be *due* at one later time.
    """

    rank: Callable[[Key], Rank] = lambda _key: ()
    """The order in which ready keys are taken; asked once, when a key gets ready."""
    chance: random.Random = field(default_factory=random.Random)
    _ready: list[tuple[Rank, int, Key]] = field(default_factory=list)
    _dirty: set[Key] = field(default_factory=set)
    _busy: set[Key] = field(default_factory=set)
    _due: dict[Key, float] = field(default_factory=dict)
    _heap: list[_Waiting] = field(default_factory=list)
    _failures: dict[Key, tuple[int, float]] = field(default_factory=dict)
    """How often in a row, and until when to wait."""
    _count: int = 0

    def __len__(self) -> int:
        """How many keys wait to be taken now."""
        return len(self._dirty - self._busy)

    @property
    def busy(self) -> frozenset[Key]:
        return frozenset(self._busy)

    def add(self, key: Key) -> None:
        """The key needs a turn now."""
        if key in self._dirty:
            return
        self._dirty.add(key)
        if key not in self._busy:
            self._push(key)

    def later(self, key: Key, when: float) -> None:
        """The key needs a turn at `when`, or earlier if that was asked for already."""
        if when < self._due.get(key, float("inf")):
            self._due[key] = when
            heapq.heappush(self._heap, _Waiting(when, key))
            if len(self._heap) > _SLACK + 2 * len(self._due):
                # Most of it is superseded: a key that often gets a new far time would fill the heap for hours.
                self._heap = [_Waiting(when, key) for key, when in self._due.items()]
                heapq.heapify(self._heap)

    def take(self) -> Key | None:
        """The most urgent ready key, which is busy from now until `done`; None if there is none."""
        while self._ready:
            key = heapq.heappop(self._ready)[2]
            # What was forgotten while it waited stands here still.
            if key in self._dirty and key not in self._busy:
                self._dirty.discard(key)
                self._busy.add(key)
                # The turn says itself when the next one is due.
                self._due.pop(key, None)
                return key
        return None

    def done(self, key: Key) -> None:
        """The turn of a busy key has ended."""
        self._busy.discard(key)
        if key in self._dirty:
            self._push(key)

    def wake_due(self, now: float) -> float | None:
        """Make ready what is due; returns when the next one will be."""
        while self._heap:
            head = self._heap[0]
            if self._due.get(head.key) != head.when:
                heapq.heappop(self._heap)
            elif head.when > now:
                return head.when
            else:
                heapq.heappop(self._heap)
                del self._due[head.key]
                self.add(head.key)
        return None

    def failed(self, key: Key, now: float) -> float:
        """Back off: the key is due later each time. Returns the delay in seconds.

        A turn that news brought on earlier, and that failed too, is no reason to wait longer: with much news the
        delay would reach its longest within seconds.
        """
        failures, until = self._failures.get(key, (0, now))
        if now >= until:
            # The exponent is bounded because a float is.
            until = now + self.spread(min(FIRST_DELAY * 2.0 ** min(failures, 30), LONGEST_DELAY))
            self._failures[key] = (failures + 1, until)
        self.later(key, until)
        return until - now

    def succeeded(self, key: Key) -> None:
        """The next failure of this key is a first one again."""
        self._failures.pop(key, None)

    def forget(self, key: Key) -> None:
        """There is no such object any more. A running turn ends as it will."""
        self._dirty.discard(key)
        self._due.pop(key, None)
        self._failures.pop(key, None)

    def spread(self, delay: float) -> float:
        """The delay, stretched by a random share."""
        return delay * (1 + JITTER * self.chance.random())

    def _push(self, key: Key) -> None:
        self._count += 1
        heapq.heappush(self._ready, (self.rank(key), self._count, key))
