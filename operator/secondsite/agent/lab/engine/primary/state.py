"""What a replication source must remember besides its maps: one small file, replaced as a whole."""

from datetime import datetime
from pathlib import Path

import msgspec

from secondsite.agent.lab.engine.errors import EngineError
from secondsite.agent.lab.engine.record import load_record, save_record
from secondsite.wire.peer import Consistency, CycleKind

_VERSION = 1


class OpenState(msgspec.Struct, frozen=True, kw_only=True):
    """The cycle under way. It is written after all disks are frozen: before that the freeze did not happen."""

    cycle: str
    parent: str | None
    kind: CycleKind
    freeze_time: datetime
    waits_for_media: bool = False
    consistency: Consistency = Consistency.CrashConsistent
    quiesce_error: str | None = None
    """Why it is only crash-consistent, where more was asked for."""
    changes_disks: bool = False
    blocks: int | None = None
    """How many the frozen maps hold while it is open; fewer: they were released, for it is committed."""


class SourceState(msgspec.Struct, frozen=True, kw_only=True):
    """`head` is the newest recovery point known to be committed; `clean` is true only between a close and an open.

    `given_up` is the last cycle that was given up here: the replica may yet have committed it. `lineage`, oldest first,
    is what the other side may call its disks after a promotion: the map holds all that differs from any of these, or
    the other side's stale map does. `superseded_by` is a newer generation that refused us.
    `compared` is the head that our disks were compared with: all that differs from it is in the map.
    """

    vm: str
    disks: dict[str, int]
    generation: int
    boot_id: str
    clean: bool = False
    trusted: bool = True
    head: str | None = None
    open: OpenState | None = None
    head_time: datetime | None = None
    given_up: str | None = None
    lineage: tuple[str, ...] = ()
    superseded_by: int | None = None
    compared: str | None = None
    disks_changed: bool = False
    """The disks are others than at the head: the next cycle says so."""
    version: int = _VERSION

    @property
    def common_point(self) -> str | None:
        """The last point that the other side may know too."""
        return self.head or (self.lineage[-1] if self.lineage else None)


def load_state(path: Path) -> SourceState | None:
    """None when there is no file yet."""
    state = load_record(path, SourceState, "remove its folder and resynchronize")
    if state is not None and state.version != _VERSION:
        raise EngineError(f"tracking state {path} has version {state.version}, this program knows {_VERSION}")
    return state


def taken_up(found: SourceState | None, fresh: SourceState, path: Path, *, whole: bool) -> SourceState:
    """What was found at `path`, as this process takes it up, or the fresh one; it says what it is expected to be.

    `whole`: all maps are there, and all disks that they speak of.
    """
    if found is None:
        return fresh
    if (found.vm, found.disks) != (fresh.vm, fresh.disks):
        raise EngineError(
            f"{path.parent} tracks VM {found.vm} with disks {found.disks}, not {fresh.vm} with {fresh.disks}; "
            "disks cannot change under a running replication: disable it and enable it again"
        )
    trusted = found.trusted and whole and (found.clean or found.boot_id == fresh.boot_id)
    return msgspec.structs.replace(found, trusted=trusted, clean=False, boot_id=fresh.boot_id)


def save_state(path: Path, state: SourceState) -> None:
    """Durably, as a whole."""
    save_record(path, state)


def state_path(root: Path) -> Path:
    return root / "state.json"


def current_boot_id() -> str:
    """Changes with every start of the host, and only then."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
