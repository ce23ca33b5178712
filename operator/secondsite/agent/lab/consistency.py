"""Which cycles of a primary are to be application-consistent, and what a half notes of them: pure functions.

Hyper-V makes every n-th of the hourly recovery points with VSS (Enable-VMReplication, VSSSnapshotFrequencyHour); where
VSS fails the point stays a regular one and the failure is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from secondsite.agent.lab.clock import LabClock
from secondsite.agent.lab.counters import Window
from secondsite.agent.lab.engine import Consistency, CycleResult, RecoveryPoint
from secondsite.agent.lab.state import Half


def wanted(half: Half, clock: LabClock, now: datetime) -> bool:
    """Whether a cycle that freezes now should have the guest quiesced. After a failure: not before the next hour."""
    hours, hour = half.settings.app_consistent_interval_hours, clock.point_spacing_seconds
    if not hours or not half.initial_done:
        return False
    # Nearer than two kept points they would cost each other their places.
    interval = max(clock.scaled(hours * 3600), hour)
    return _passed(half.app_consistent_time, interval, now) and _passed(half.quiesce_time, hour, now)


def noted(result: CycleResult) -> dict[str, object]:
    """What a finished cycle changes in its half."""
    if result.consistency is Consistency.ApplicationConsistent:
        freeze = result.freeze_time
        return {"app_consistent_time": freeze, "quiesce_time": freeze, "quiesce_failure": ""}
    if result.quiesce_error is not None:
        return {"quiesce_time": result.freeze_time, "quiesce_failure": result.quiesce_error}
    return {}


def failing(half: Half, window: Window) -> bool:
    """Whether the last attempt failed. A reset of the statistics silences it until the next one."""
    wanted = half.settings.app_consistent_interval_hours > 0
    return wanted and bool(half.quiesce_failure) and window.quiesce_failures > 0


def newest(points: Sequence[RecoveryPoint]) -> RecoveryPoint | None:
    """The newest application-consistent point that is whole."""
    return next(
        (
            point
            for point in reversed(points)
            if point.consistency is Consistency.ApplicationConsistent and not point.damaged
        ),
        None,
    )


def _passed(since: datetime | None, seconds: float, now: datetime) -> bool:
    # A clock that was set back must not put the next one off for as long.
    return since is None or not 0 <= (now - since).total_seconds() < seconds
