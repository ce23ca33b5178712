"""Which recovery point is meant, of those that there are. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

from secondsite.agent.lab import consistency
from secondsite.agent.lab.engine import Consistency, RecoveryPoint
from secondsite.agent.lab.relation import point_fact
from secondsite.agent.lab.state import Half
from secondsite.wire.arguments import Failover, StartTestFailover
from secondsite.wire.problems import Code, Refusal

Wish = StartTestFailover | Failover


def offered(half: Half | None, points: Sequence[RecoveryPoint]) -> list[RecoveryPoint]:
    """The points that people may choose from: after a committed failover the one that was chosen."""
    if half is None or half.state != "FailedOver" or half.failover_point is None:
        return list(points)
    return [point for point in points if point.id == half.failover_point.id]


def require_synced(vm_name: str, points: Sequence[RecoveryPoint], chosen: RecoveryPoint) -> None:
    """A planned failover loses nothing: it is to the last point of a source that was prepared. Raises Refusal."""
    newest = points[-1]
    if newest.consistency is not Consistency.Synced or chosen.id != newest.id:
        raise Refusal(
            Code.STATE_CONFLICT,
            f"A planned failover of {vm_name} to recovery point {chosen.id}: it is not the one that preparing the "
            "source leaves (SyncedReplica)",
            remedy="Shut the VM down and prepare the failover at the source, then fail over to Latest; or fail over "
            "unplanned, and lose what was not replicated.",
        )


def choose(vm_name: str, points: Sequence[RecoveryPoint], wish: Wish) -> RecoveryPoint:
    """The recovery point that is asked for. Raises Refusal where there is none."""
    quiesced = consistency.newest(points)
    fitting = {
        "Latest": points,
        "LatestAppConsistent": [quiesced] if quiesced else [],
        "At": [point for point in points if wish.time and point.freeze_time <= wish.time],
        "Named": [point for point in points if wish.name in (point.id, point_fact(vm_name, point).name)],
    }[wish.recovery_point]
    if not fitting:
        wanted = wish.name or (wish.time.isoformat() if wish.time else wish.recovery_point)
        raise Refusal(
            Code.NOT_FOUND,
            f"{vm_name} has no recovery point for {wanted}; it has {len(points)}",
            remedy="Choose one of the points that `GET /v1/vms` lists.",
        )
    if fitting[-1].damaged:
        raise _damaged(vm_name, fitting[-1], points)
    return fitting[-1]


def _damaged(vm_name: str, point: RecoveryPoint, points: Sequence[RecoveryPoint]) -> Refusal:
    """A test of another point than was asked for would prove nothing: a person chooses."""
    whole = [other for other in points if not other.damaged]
    another = f"Name another point; the newest that is whole is {whole[-1].id}." if whole else "No point is whole."
    return Refusal(
        Code.NOT_FOUND,
        f"Recovery point {point.id} of {vm_name} is damaged: {point.damage}",
        remedy=f"{another} What the source still holds comes back with the next cycle.",
    )
