"""The link between two sites: up or down, slow, and with a plan of which call fares how."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

Fate = Literal["ok", "lost", "answer lost"]
"""`lost`: the peer never hears of it. `answer lost`: it has acted, and the sender does not know."""


@dataclass
class LinkModel:
    """What both directions share."""

    up: bool = True
    seconds_per_call: float = 0
    plan: deque[Fate] = field(default_factory=deque)
    pass_time: Callable[[float], None] = lambda _: None
    during: deque[Callable[[], None]] = field(default_factory=deque)
    """What happens at the site of a guest while frames are under way."""
    calls: int = 0

    def fate(self) -> Fate:
        """How the next call fares."""
        self.calls += 1
        if self.seconds_per_call:
            self.pass_time(self.seconds_per_call)
        if not self.up:
            return "lost"
        return self.plan.popleft() if self.plan else "ok"

    def mend(self) -> None:
        """Up, fast, and nothing gets lost any more."""
        self.up, self.seconds_per_call = True, 0
        self.plan.clear()
        self.during.clear()
