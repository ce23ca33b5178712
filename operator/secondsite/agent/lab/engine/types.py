"""Facts that the engine reports."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from secondsite.wire.peer import Consistency, CycleKind

Told = Callable[[int, int], None]
"""Hears how much is done, and of how much."""


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Freeze:
    """The instant at which all disks of a VM were frozen for a cycle."""

    cycle: str
    time: datetime


@dataclass(frozen=True, slots=True)
class CycleResult:
    """One finished cycle. `bytes` are those of its blocks, `wire_bytes` what this run sent, `seconds` how long it took.

    `resumed`: the cycle was begun by an earlier run; the freeze is that run's. `quiesce_error`: it should have been
    application-consistent, and why it is not.
    """

    cycle: str
    kind: CycleKind
    freeze_time: datetime
    durable_time: datetime
    blocks: int
    bytes: int
    wire_bytes: int
    seconds: float
    resumed: bool
    consistency: Consistency = Consistency.CrashConsistent
    quiesce_error: str | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """The open cycle, in bytes of its blocks; `rate` in bytes of blocks per second over about the last two seconds.

    `bytes_sent` may fall back to `bytes_acknowledged` when a connection breaks. `pending_bytes` is all that the replica
    lacks: blocks of the open cycle not yet acknowledged, and those written since.
    """

    cycle: str | None
    kind: CycleKind | None
    freeze_time: datetime | None
    blocks_total: int
    bytes_total: int
    bytes_sent: int
    bytes_acknowledged: int
    rate: float
    pending_bytes: int


@dataclass(frozen=True, slots=True)
class RecoveryPoint:
    """A VM as it was at `freeze_time`. `bytes` is what its layer holds; `pinned` counts the clones that stand on it.

    `damage` says what of it is known to be unreadable; it is empty where `damaged` is false.
    """

    id: str
    kind: CycleKind
    generation: int
    freeze_time: datetime
    durable_time: datetime
    bytes: int
    pinned: int = 0
    damaged: bool = False
    damage: str = ""
    consistency: Consistency = Consistency.CrashConsistent
    taken_time: datetime | None = None
    """When it was frozen, where it has stood for later times, too, because nothing changed. None: at `freeze_time`."""


@dataclass(frozen=True, slots=True)
class BlockRef:
    """A block of a disk; `block` counts 64 KiB."""

    disk: str
    block: int


@dataclass(frozen=True, slots=True)
class CloneInfo:
    clone_id: str
    point_id: str
