"""What both sides of every relation work with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from secondsite.agent.lab.clock import LabClock
from secondsite.agent.lab.machinery import Machinery
from secondsite.agent.lab.rounds import Rounds
from secondsite.wire.agent import Capability


@dataclass(frozen=True)
class Works:
    """The lab's clock, its engine, who gives turns; `announce` is told the id of a VM whose facts have changed.

    `capabilities` are what the site can do beyond Hyper-V.
    """

    clock: LabClock
    machinery: Machinery
    rounds: Rounds
    announce: Callable[[str], None]
    capabilities: frozenset[Capability] = frozenset()
