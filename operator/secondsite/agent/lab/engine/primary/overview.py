"""How far a source has come, in numbers for people."""

from collections.abc import Mapping

from secondsite.agent.lab.engine.primary.cycle import CycleRun
from secondsite.agent.lab.engine.primary.state import OpenState
from secondsite.agent.lab.engine.primary.tracker import DiskTracker
from secondsite.agent.lab.engine.types import Progress
from secondsite.wire.peer import BLOCK_BYTES


def progress_of(run: CycleRun | None, cycle: OpenState | None, trackers: Mapping[str, DiskTracker]) -> Progress:
    """The cycle that runs, the open one that waits to be gone on with, or none."""
    lacking = [tracker.pending_blocks(cycle_open=cycle is not None) for tracker in trackers.values()]
    pending = sum(lacking) * BLOCK_BYTES
    if run is not None:
        return run.progress(pending)
    if cycle is None:
        return Progress(None, None, None, 0, 0, 0, 0, 0.0, pending)
    plans = [(tracker, tracker.plan()) for tracker in trackers.values()]
    blocks = sum(len(plan) for _, plan in plans)
    held = sum(tracker.held(plan) for tracker, plan in plans) * BLOCK_BYTES
    total = blocks * BLOCK_BYTES
    return Progress(cycle.cycle, cycle.kind, cycle.freeze_time, blocks, total, held, held, 0.0, pending)
