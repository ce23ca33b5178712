"""Which recovery points to give up: a pure function of what there is."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from secondsite.agent.lab.engine.types import RecoveryPoint


def retention(
    points: Sequence[RecoveryPoint],
    now: datetime,
    keep_every_seconds: float,
    retention_seconds: float,
    pinned: Collection[str],
) -> list[str]:
    """Ids of the points to merge, oldest first. `points` is the chain, oldest first.

    The newest always stays. Of the others a point is kept when it is younger than `retention_seconds` and
    `keep_every_seconds` or more after the last kept one (the first of them always). So at most
    retention ÷ spacing points are kept, and the newest. A pinned point stays, but counts as kept only by its own merit.
    """
    spacing = timedelta(seconds=keep_every_seconds)
    last_kept: datetime | None = None
    merge: list[str] = []
    for point in points[:-1]:
        young = (now - point.freeze_time).total_seconds() < retention_seconds
        if young and (last_kept is None or point.freeze_time - last_kept >= spacing):
            last_kept = point.freeze_time
        elif point.id not in pinned:
            merge.append(point.id)
    return merge
