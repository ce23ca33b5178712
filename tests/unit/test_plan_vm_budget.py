"""The RPO budget: from the points that arrive at the replica's site to the minutes that a person reads."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from secondsite.agent.lab import rpo
from secondsite.agent.lab.counters import Window
from secondsite.agent.lab.engine import CycleKind, RecoveryPoint
from secondsite.agent.lab.state import Half
from secondsite.plan.protectedvm.decide import plan
from secondsite.plan.protectedvm.judge import judge
from secondsite.wire.facts import Replication
from support import worlds as w
from support.simulated_sites import settle
from support.worlds import NOW, world

PROTECTED = settle(world(w.policy(rpo={"targetSeconds": 900, "budgetMinutes": 60, "windowDays": 7})))
TODAY = NOW.date()


def budget(days: tuple[tuple[str, int], ...] | None) -> dict[str, Any] | None:
    made = w.target_half(seconds_outside_rpo=days)(w.at(NOW)(PROTECTED))
    status: dict[str, Any] = dict(judge(made, plan(made), ()).status)
    return status.get("rpoBudget")


def day(ago: int) -> str:
    return (TODAY - timedelta(days=ago)).isoformat()


@pytest.mark.parametrize(
    ("days", "used", "left"),
    [
        ((), 0, 60),
        (((day(0), 1),), 1, 59),
        (((day(0), 60),), 1, 59),
        (((day(1), 61), (day(0), 59)), 2, 58),
        (((day(0), 3600),), 60, 0),
        (((day(0), 36000),), 600, 0),
        (((day(6), 120),), 2, 58),
        (((day(7), 120),), 0, 60),
    ],
)
def test_begun_minutes_of_the_window_are_used(days: tuple[tuple[str, int], ...], used: int, left: int) -> None:
    assert budget(days) == {"usedMinutes": used, "leftMinutes": left}


def test_a_site_that_does_not_count_shows_none() -> None:
    assert budget(None) is None


def test_what_the_site_counts_is_what_a_person_reads() -> None:
    """Points of 40, 20 and 0 minutes ago with a target of 15: each gap of 20 is outside for 5."""
    half = Half(
        vm_id="vm",
        vm_name="web",
        side="Replica",
        state="Replicating",
        peer_site="newyork",
        association="a",
        settings=Replication(interval_seconds=300, rpo_target_seconds=900),
        disks=(),
        window=Window(start=NOW),
    )
    for minutes, lag in ((40, 0), (20, 0), (0, 10)):
        arrives = NOW - timedelta(minutes=minutes)
        point = RecoveryPoint("p", CycleKind.Delta, 1, arrives - timedelta(seconds=lag), arrives, 0)
        half = msgspec.structs.replace(half, **rpo.arrived(half, point))
    assert budget(rpo.told(half, NOW)) == {"usedMinutes": 10, "leftMinutes": 50}
