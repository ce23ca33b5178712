"""Initial replication by media at the primary's side: the export, as the long work of a turn (table row 4)."""

from __future__ import annotations

from pathlib import Path

from secondsite import logs
from secondsite.agent.lab.engine import BLOCK_BYTES, EngineError
from secondsite.agent.lab.engine.types import Told
from secondsite.agent.lab.events import Event
from secondsite.agent.lab.turns import Turn

_log = logs.get(__name__)


def export(turn: Turn, told: Told) -> None:
    """Write the first copy to the half's folder. Interrupted, the next turn writes the same instant again."""
    folder = Path(turn.half.media)
    try:
        manifest = turn.works.machinery.export_initial(turn.source, folder, turn.stop, told)
    except OSError as error:
        raise EngineError(f"Exporting the initial copy to {folder}: {error.strerror or error}") from error
    total = sum(disk.blocks for disk in manifest.disks.values()) * BLOCK_BYTES
    _log.info("the initial copy is exported", vm=turn.half.vm_name, folder=str(folder), bytes=total)
    turn.halves.step(
        turn.half.vm_id,
        Event.EXPORT_DONE,
        initial_total_bytes=total,
        failures=0,
        failure="",
        retry_time=None,
        last_cycle_start=turn.works.clock.now(),
    )
