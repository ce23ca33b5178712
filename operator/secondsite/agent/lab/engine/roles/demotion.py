"""From a primary's disks to a replica: adopted where they lie, under the name of the last point that both sides know.

Steps: the source is closed; `demotion.json` in its folder (from here it only goes forward); what the disks have beyond
that point goes into the stale map of the store to be; the disks are adopted; the tracking folder is removed. Each step
may be redone.
"""

import os
import shutil
from datetime import datetime
from pathlib import Path

import msgspec
import numpy as np

from secondsite.agent.lab.engine.durable import lock_directory, make_directories, sync_directory
from secondsite.agent.lab.engine.errors import EngineError
from secondsite.agent.lab.engine.media.adopt import adopt, expect_no_adoption
from secondsite.agent.lab.engine.primary.source import ReplicationSource
from secondsite.agent.lab.engine.primary.state import load_state, state_path
from secondsite.agent.lab.engine.record import load_record, save_record
from secondsite.agent.lab.engine.replica.store import TargetStore
from secondsite.agent.lab.engine.roles.retired import demotion_path, forget_promotion, promoted_away, promotion_pending
from secondsite.agent.lab.engine.roles.stale import Bits, save_stale_maps
from secondsite.agent.lab.engine.types import utc_now


class Demotion(msgspec.Struct, frozen=True, kw_only=True):
    """`demotion.json`. `stale`: the disks differ from `point`; `known`: and it is known in which blocks."""

    vm: str
    point: str
    generation: int
    freeze_time: datetime
    stale: bool
    known: bool
    sizes: dict[str, int]
    disks: dict[str, str]
    store_root: str


def demote(source: ReplicationSource, store_root: Path, *, generation: int) -> None:
    """Make the disks of a primary the base of a replica under `store_root`, in the `generation` of the new primary.

    Stop the guest and any cycle first. The source is closed and its folder removed; the disks' files are moved into the
    store (copied where it lies on another file system). No block goes over the wire: where the disks hold no more than
    the last point that both sides know, that is a recovery point here at once; else the head is stale, and the new
    primary learns by the stale map, or by a comparison, what to send. Then open a `TargetStore` on `store_root`.
    EngineError, and the source goes on: nothing was ever replicated, the generation is not newer, or the store holds a
    replica or half a change of roles. After a kill: `finish_demotion` where `demotion_pending`, else demote again.
    """
    root = source.root
    _expect_possible(source, store_root, generation)
    disks = {name: str(tracker.disk.path.absolute()) for name, tracker in source.trackers.items()}
    source.close()
    for tracker in source.trackers.values():
        tracker.disk.close()
    lock = lock_directory(root)
    try:
        save_record(demotion_path(root), _planned(root, disks, store_root, generation))
    finally:
        os.close(lock)
    finish_demotion(root)


def _expect_possible(source: ReplicationSource, store_root: Path, generation: int) -> None:
    """All that can be refused, while the source is still one."""
    if generation <= source.generation:
        raise EngineError(f"VM {source.vm_id}: generation {generation} is not new, this side is in {source.generation}")
    if source.common_point is None:
        raise EngineError(f"VM {source.vm_id} was never replicated: it has no point in common with any other side")
    if TargetStore.exists(store_root) and promoted_away(store_root) is None:
        raise EngineError(f"{store_root} holds a replica already; discard it before the primary becomes one there")
    if promotion_pending(store_root):
        raise EngineError(f"{store_root}: a promotion was interrupted here and has disks of its own; finish it first")
    expect_no_adoption(store_root)


def finish_demotion(source_root: Path) -> None:
    """Carry out a demotion that was begun, or what is left of it. EngineError when there is none; OSError."""
    path = demotion_path(source_root)
    if not path.exists():
        raise EngineError(f"{source_root}: no demotion was begun here")
    lock = lock_directory(source_root)
    try:
        state = load_state(state_path(source_root))
        if state is not None:
            _carry_out(_load(path), source_root)
            # Without it there is nothing left to do but to clean up.
            state_path(source_root).unlink()
            sync_directory(source_root)
        shutil.rmtree(source_root)
    finally:
        os.close(lock)


def _load(path: Path) -> Demotion:
    remedy = (
        "put its disks back where they were, cut to their sizes, in case the store that they were to become has them "
        "as disks/*/base.raw; then remove it and demote again"
    )
    demotion = load_record(path, Demotion, remedy)
    if demotion is None:
        raise EngineError(f"{path}: no demotion was begun here")
    return demotion


def _planned(root: Path, disks: dict[str, str], store_root: Path, generation: int) -> Demotion:
    state = load_state(state_path(root))
    point = None if state is None else state.common_point
    if state is None or point is None:
        raise EngineError(f"{root} tracks nothing that was ever replicated; there is nothing to demote")
    # After a comparison the map says what differs from the other side's disks, whatever their point's name said.
    known = state.trusted and state.compared is None
    return Demotion(
        vm=state.vm,
        point=point,
        generation=generation,
        freeze_time=state.head_time or utc_now(),
        stale=not known or any(bits.any() for bits in _maps(root, state.disks).values()),
        known=known,
        sizes=state.disks,
        disks=disks,
        store_root=str(store_root.absolute()),
    )


def _carry_out(demotion: Demotion, source_root: Path) -> None:
    store_root = Path(demotion.store_root)
    make_directories(store_root)
    forget_promotion(store_root)
    save_stale_maps(store_root, _maps(source_root, demotion.sizes) if demotion.known and demotion.stale else None)
    adopt(
        store_root,
        demotion.vm,
        {name: Path(path) for name, path in demotion.disks.items()},
        point=demotion.point,
        generation=demotion.generation,
        freeze_time=demotion.freeze_time,
        stale=demotion.stale,
        move=True,
    )


def _maps(root: Path, sizes: dict[str, int]) -> dict[str, Bits]:
    """Per disk and block: was it written since the head, as far as it is known to be committed?"""
    return {name: _read_map(root, name, "current") | _read_map(root, name, "frozen") for name in sizes}


def _read_map(root: Path, name: str, kind: str) -> Bits:
    return np.fromfile(root / f"{name}.{kind}", dtype=np.uint8).astype(bool)
