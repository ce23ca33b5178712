"""The Relation fact of a half: a pure function of what the half, its progress and its points say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from secondsite.agent.lab import consistency, counters, rpo
from secondsite.agent.lab.clock import LabClock
from secondsite.agent.lab.engine import Consistency, Progress, RecoveryPoint
from secondsite.agent.lab.health import Limits, Sight, Verdict, judge
from secondsite.agent.lab.state import Half, Replica
from secondsite.wire.facts import Point, PointType, Relation, State
from secondsite.wire.health import Reason
from secondsite.wire.peer import CycleKind

_UNKNOWN_PENDING: frozenset[State] = frozenset(
    {"WaitingForStartResynchronize", "Resynchronizing", "ResynchronizeSuspended"}
)
_TYPES: dict[Consistency, PointType] = {
    Consistency.CrashConsistent: "CrashConsistent",
    Consistency.ApplicationConsistent: "AppConsistent",
    Consistency.Synced: "Synced",
}


@dataclass(frozen=True, slots=True)
class Files:
    """What a replica's files say: its points, why the last cycle found no room, why they cannot be opened."""

    points: Sequence[RecoveryPoint] = ()
    out_of_space: str = ""
    unreadable: str = ""


def point_fact(vm_name: str, point: RecoveryPoint) -> Point:
    """A recovery point as the contract tells it."""
    return Point(
        id=point.id,
        source_time=point.freeze_time,
        type=_TYPES[point.consistency],
        damaged=point.damaged,
        name=f"{vm_name} {point.freeze_time.isoformat(timespec='milliseconds').replace('+00:00', 'Z')}",
    )


def primary_fact(half: Half, progress: Progress | None, clock: LabClock, now: datetime) -> Relation:
    """The primary's half."""
    verdict = _verdict(half, clock, now, Files())
    initial = _initial(half, progress)
    return Relation(
        vm_id=half.vm_id,
        vm_name=half.vm_name,
        mode="Primary",
        state=half.state,
        health=verdict.health,
        health_reasons=verdict.reasons,
        message=_message(half, verdict),
        peer_site=half.peer_site,
        time=now,
        settings=half.settings,
        disks=half.disks,
        last_replication_time=half.last_replication_time,
        last_cycle_seconds=half.last_cycle_seconds,
        # While no map can be trusted nobody knows what is unsent.
        pending_bytes=progress.pending_bytes if progress and half.state not in _UNKNOWN_PENDING else None,
        initial_total_bytes=initial[0],
        initial_sent_bytes=initial[1],
        bytes_per_second=_rate(half, progress),
        cycles=half.cycles,
        initial_start_time=half.initial_start_time,
        resynchronize_start_time=half.resynchronize_start_time,
        resynchronize_percent=half.resynchronize_percent,
    )


def replica_fact(half: Half, files: Files, replica: Replica | None, clock: LabClock, now: datetime) -> Relation:
    """The replica's half. The newest point is the newest that can be used, as long as there is one."""
    points = files.points
    verdict = _verdict(half, clock, now, files)
    usable = [point for point in points if not point.damaged] or points
    quiesced = consistency.newest(usable)
    return Relation(
        vm_id=half.vm_id,
        vm_name=half.vm_name,
        mode="Replica",
        state=half.state,
        health=verdict.health,
        health_reasons=verdict.reasons,
        message=_message(half, verdict, files.unreadable, files.out_of_space, _damage(points)),
        peer_site=half.peer_site,
        time=now,
        settings=half.settings,
        adapters=half.adapters,
        disks=half.disks,
        storage=replica.storage if replica else "",
        last_replication_time=half.last_replication_time,
        # The lab applies a cycle in the moment it commits it.
        last_applied_time=half.last_replication_time,
        last_cycle_seconds=half.last_cycle_seconds,
        newest_point=point_fact(half.vm_name, usable[-1]) if usable else None,
        point_count=len(points),
        oldest_point_time=points[0].freeze_time if points else None,
        newest_app_consistent_time=quiesced.freeze_time if quiesced else None,
        # Only the primary knows what is unsent: Hyper-V's replica says 0.
        pending_bytes=0,
        cycles=half.cycles,
        test_vm=half.test_vm,
        last_test_time=half.last_test_time,
        failover_point=half.failover_point,
        seconds_outside_rpo=rpo.told(half, now),
    )


def _initial(half: Half, progress: Progress | None) -> tuple[int | None, int | None]:
    """Total and acknowledged bytes of initial replication."""
    if half.initial_done:
        return half.initial_total_bytes, half.initial_total_bytes
    if progress and progress.kind is CycleKind.Initial:
        return progress.bytes_total, progress.bytes_acknowledged
    return None, None


def _rate(half: Half, progress: Progress | None) -> float | None:
    """Bytes per second: of the initial copy as it runs, later of the last cycle as a whole."""
    if not half.initial_done:
        return round(progress.rate, 1) if progress and progress.cycle else None
    if half.last_cycle_seconds:
        return round(half.last_cycle_bytes / half.last_cycle_seconds, 1)
    return None


def _verdict(half: Half, clock: LabClock, now: datetime, files: Files) -> Verdict:
    window = counters.current(half.window, now, clock.monitoring_seconds)
    last = half.last_replication_time or half.enabled_time
    sight = Sight(
        primary=half.side == "Primary",
        state=half.state,
        since_last_seconds=(now - last).total_seconds() if last else None,
        missed_percent=window.missed_percent,
        latency_seconds=window.average_latency,
        failing=half.failures > 1,
        unquiesced=consistency.failing(half, window),
        out_of_space=bool(files.out_of_space),
        unreadable=bool(files.unreadable),
        points_damaged=any(point.damaged for point in files.points),
        newest_damaged=bool(files.points) and files.points[-1].damaged,
    )
    knobs = clock.knobs
    # Staleness is an interval and hurries; how long a cycle really takes does not.
    limits = Limits(knobs.missed_percent, clock.scaled(knobs.stale_seconds), knobs.latency_seconds)
    return judge(sight, limits)


def _message(half: Half, verdict: Verdict, *more: str) -> str:
    unquiesced = half.quiesce_failure if Reason.APP_CONSISTENT_FAILED in verdict.reasons else ""
    return ". ".join(filter(None, (verdict.message, half.failure, unquiesced, *more)))


def _damage(points: Sequence[RecoveryPoint]) -> str:
    """What is wrong with the newest point that is damaged."""
    damaged = [point for point in points if point.damaged]
    return f"Recovery point {damaged[-1].id}: {damaged[-1].damage}" if damaged else ""
