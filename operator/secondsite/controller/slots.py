"""Places for commands that the vault limits, granted per pair of sites in order of priority, age and uid."""

from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from secondsite.controller.ports import Key
from secondsite.plan.actions import Limit, Slot


class Line(NamedTuple):
    """Where one waits: a vault's namespace, the limit, the pair of sites in alphabetical order."""

    namespace: str
    limit: Limit
    pair: tuple[str, str]

    @classmethod
    def of(cls, namespace: str, slot: Slot) -> Line:
        # The limits protect the link between two sites, whichever way the data goes.
        one, other = sorted(slot.pair)
        return cls(namespace, slot.limit, (one, other))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a command stands in line, counted from 1."""

    number: int
    of: int


@dataclass(order=True, frozen=True, slots=True)
class _Rank:
    priority: int
    created: datetime
    uid: str


_Who = tuple[Key, str]
"""Who asks, and for which VM."""


@dataclass(slots=True)
class _State:
    waiting: dict[_Who, _Rank] = field(default_factory=dict)
    order: list[tuple[_Rank, _Who]] = field(default_factory=list)
    """The same, sorted."""
    granted: set[_Who] = field(default_factory=set)
    capacity: int = 0

    def enter(self, who: _Who, rank: _Rank) -> int:
        """Stand in line; returns how many stand before."""
        self.leave(who)
        self.waiting[who] = rank
        bisect.insort(self.order, (rank, who))
        return bisect.bisect_left(self.order, (rank, who))

    def leave(self, who: _Who) -> None:
        rank = self.waiting.pop(who, None)
        if rank is not None:
            del self.order[bisect.bisect_left(self.order, (rank, who))]


Running = Callable[[Line], frozenset[str]]
"""The ids of the VMs for which a limited command runs, by the facts of the mirror."""


@dataclass(slots=True)
class Slots:
    """A grant counts until it is `seen`: by then the facts show its command, or that it has ended."""

    running: Running
    _lines: dict[Line, _State] = field(default_factory=lambda: defaultdict(_State))

    def ask(
        self, line: Line, key: Key, vm_id: str, *, priority: int, created: datetime, uid: str, capacity: int
    ) -> Place | None:
        """None: granted. Else the place in line; ask again when woken, or `withdraw`."""
        state, who = self._lines[line], (key, vm_id)
        state.capacity = capacity
        if who in state.granted:
            return None
        place = state.enter(who, _Rank(-priority, created, uid))
        if place >= self._free(line):
            return Place(place + 1, len(state.order))
        state.leave(who)
        state.granted.add(who)
        return None

    def seen(self, line: Line, key: Key, vm_id: str) -> None:
        """The mirror shows what became of the granted command, or it was never sent."""
        self._lines[line].granted.discard((key, vm_id))

    def withdraw(self, key: Key, kept: frozenset[tuple[Line, str]] = frozenset()) -> None:
        """The key waits for nothing but `kept` any more."""
        for line, state in self._lines.items():
            for who in [who for who in state.waiting if who[0] == key and (line, who[1]) not in kept]:
                state.leave(who)

    def forget(self, key: Key) -> None:
        """There is no such object any more. What was granted to it ends with its command."""
        self.withdraw(key)

    def callable(self) -> set[Key]:
        """Keys for which there is a free place now, first in line first."""
        found: set[Key] = set()
        for line, state in self._lines.items():
            if state.order and (free := self._free(line)) > 0:
                found.update(who[0] for _, who in state.order[:free])
        return found

    def _free(self, line: Line) -> int:
        state = self._lines[line]
        return state.capacity - len(self.running(line) | {vm_id for _, vm_id in state.granted})
