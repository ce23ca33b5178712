"""The half of a promotion that only goes forward: from a store's files to a primary's. See `promotion`."""

import os
from pathlib import Path

import numpy as np

from secondsite.agent.lab.engine.blocks import Blocks, Bytes, block_count
from secondsite.agent.lab.engine.durable import lock_directory, replace_file, sync_directory
from secondsite.agent.lab.engine.errors import EngineError, StoreDamaged
from secondsite.agent.lab.engine.primary.state import SourceState, current_boot_id, save_state, state_path
from secondsite.agent.lab.engine.replica.base import BaseImage
from secondsite.agent.lab.engine.replica.clone import copy_written
from secondsite.agent.lab.engine.replica.layer import Layer
from secondsite.agent.lab.engine.roles.retired import Promotion, load_promotion, mark_done, remove_replica


def finish_promotion(store_root: Path) -> None:
    """Carry out a promotion that was begun, or what is left of it. EngineError when there is none; OSError."""
    promotion = load_promotion(store_root)
    if promotion is None:
        raise EngineError(f"{store_root}: no promotion was begun here")
    lock = lock_directory(store_root)
    try:
        if not promotion.done:
            _carry_out(store_root, promotion)
    finally:
        os.close(lock)


def _carry_out(store_root: Path, promotion: Promotion) -> None:
    source_root = Path(promotion.source_root)
    lock = lock_directory(source_root)
    try:
        for name in promotion.disks:
            _move_disk(store_root, promotion, name)
        # A second time it would forget what the source has done since.
        if not state_path(source_root).exists():
            save_state(state_path(source_root), _first_state(promotion))
        remove_replica(store_root)
        mark_done(store_root, promotion)
    finally:
        os.close(lock)


def _move_disk(store_root: Path, promotion: Promotion, name: str) -> None:
    folder, target = store_root / "disks" / name, Path(promotion.disks[name])
    raw = folder / "base.raw"
    if not raw.exists():
        if not target.exists():
            raise StoreDamaged(f"disk {name} is neither at {raw} nor at {target}; restore one of them")
        return
    if target.exists():
        raise EngineError(f"{target} exists: a promoted disk replaces nothing; move that file away, then finish")
    size = promotion.sizes[name]
    written = _flatten(store_root, promotion, name)
    lacking = np.zeros(block_count(size), dtype=np.uint8)
    lacking[written] = 1
    for point in promotion.newer:
        lacking |= _blocks_of(folder / "layers" / f"{point}.lay", len(lacking))
    _write_maps(Path(promotion.source_root), name, lacking)
    raw.rename(target)
    sync_directory(target.parent)
    sync_directory(folder)


def _flatten(store_root: Path, promotion: Promotion, name: str) -> Blocks:
    """Bring the base to the state of the clone, durably; the blocks that the clone had of its own."""
    folder, size = store_root / "disks" / name, promotion.sizes[name]
    base = BaseImage(folder, size)
    for point in promotion.chain:
        base.absorb(Layer(folder / "layers" / f"{point}.lay"))
    written = copy_written(store_root / "clones" / promotion.clone, name, base.fd)
    # A store pads the last block, a disk does not.
    os.ftruncate(base.fd, size)
    os.fsync(base.fd)
    return written


def _blocks_of(path: Path, count: int) -> Bytes:
    """One byte per block that the layer holds; all of them where it cannot be told any more."""
    try:
        index = Layer(path).index
    except (StoreDamaged, OSError):
        return np.ones(count, dtype=np.uint8)
    held = np.zeros(count, dtype=np.uint8)
    held[index["block"].astype(np.int64)] = 1
    return held


def _write_maps(source_root: Path, name: str, current: Bytes) -> None:
    """The tracker's files, as if these blocks had just been written."""
    replace_file(source_root / f"{name}.current", current.tobytes())
    replace_file(source_root / f"{name}.frozen", bytes(len(current)))


def _first_state(promotion: Promotion) -> SourceState:
    return SourceState(
        vm=promotion.vm,
        disks=promotion.sizes,
        generation=promotion.generation,
        boot_id=current_boot_id(),
        # All is durable, and nobody has written yet.
        clean=True,
        lineage=tuple(promotion.lineage),
    )
