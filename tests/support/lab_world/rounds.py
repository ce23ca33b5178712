"""Turns given by hand: each work whose time has come, in the order of their names, until none is due."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from secondsite.agent.lab.rounds import Work

_MOST_TURNS = 40
# Where turns take time, one may be due again at the end of each, for ever.
_MOST_LONG_TURNS = 2


class ManualRounds:
    """Fulfils `agent.lab.rounds.Rounds`."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self.works: dict[str, Work] = {}

    def add(self, key: str, work: Work) -> None:
        self.works[key] = work

    def wake(self, key: str) -> None:
        """Every work is asked at each run."""

    def remove(self, key: str) -> None:
        self.works.pop(key, None)

    def close(self) -> None:
        self.works.clear()

    def run(self) -> int:
        """How many turns were taken. AssertionError where it does not come to rest."""
        turns, long, rested = 0, 0, False
        while not rested and long < _MOST_LONG_TURNS:
            rested = True
            for key in sorted(self.works):
                work = self.works.get(key)
                if work is not None and _due(work):
                    began = self._now()
                    work.turn()
                    turns, rested = turns + 1, False
                    long += self._now() != began
                    assert turns <= _MOST_TURNS, f"{key} is due again and again, without a pause"
        return turns

    def pauses(self) -> list[float]:
        """Seconds until each work that waits for a time is due."""
        return [pause for work in self.works.values() if (pause := work.pause()) is not None]


def _due(work: Work) -> bool:
    pause = work.pause()
    return pause is not None and pause <= 0
