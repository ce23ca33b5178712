"""Which recovery points to give up: a pure function of what there is."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from secondsite.agent.lab.engine.types import RecoveryPoint
from secondsite.wire.peer import Consistency


def retention(
    points: Sequence[RecoveryPoint],
    now: datetime,
    keep_every_seconds: float,
    retention_seconds: float,
    pinned: Collection[str],
) -> list[str]:
    """Ids of the points to merge, oldest first. `points` is the chain, oldest first.

    The newest always stays. Of the others those are kept that are younger than `retention_seconds` and
    `keep_every_seconds` or more apart (the first of them always); an application-consistent one takes the place of a
    crash-consistent one that is nearer before it. So at most retention ÷ spacing points are kept, and the newest.
    Two kinds stay without counting as kept: pinned ones, and while it is young the newest application-consistent one.
    """
    young = [point for point in points[:-1] if (now - _taken(point)).total_seconds() < retention_seconds]
    stay = {*pinned, *_on_grid(young, timedelta(seconds=keep_every_seconds))}
    newest = next((point for point in reversed(points) if _application(point)), None)
    if newest in young:
        stay.add(newest.id)
    return [point.id for point in points[:-1] if point.id not in stay]


def _on_grid(points: Sequence[RecoveryPoint], spacing: timedelta) -> list[str]:
    kept: list[RecoveryPoint] = []
    for point in points:
        # Either way: where a clock was set back, all later points would lie before the last kept one.
        if not kept or abs(_taken(point) - _taken(kept[-1])) >= spacing:
            kept.append(point)
        elif _application(point) and not _application(kept[-1]):
            kept[-1] = point
    return [point.id for point in kept]


def _taken(point: RecoveryPoint) -> datetime:
    # One that nothing has changed since stands for a later time, but was made as far from the others as it should be.
    return point.taken_time or point.freeze_time


def _application(point: RecoveryPoint) -> bool:
    # A damaged one has no claim to a place of its own.
    return point.consistency is Consistency.ApplicationConsistent and not point.damaged
