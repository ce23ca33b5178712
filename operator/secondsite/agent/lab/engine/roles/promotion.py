"""From a clone to a primary's disks: what failed over becomes flat files that a replication source tracks.

Steps: verify the point and merge what is older, while the guest still writes to the clone; then, the guest at rest:
`promotion.json` (from here it only goes forward), per disk: absorb layers and the clone's blocks into the base, write
the map of what the other side lacks, rename the base; then the source's state; the rest is removed; `done`. Every step
may be redone: until a base is renamed all that went into it is still there.
"""

from collections.abc import Mapping
from pathlib import Path

from secondsite.agent.lab.engine.durable import make_directories
from secondsite.agent.lab.engine.errors import DamagedBlock, EngineError, NoSpace, PointInUse
from secondsite.agent.lab.engine.primary.state import state_path
from secondsite.agent.lab.engine.replica.clone import written_blocks
from secondsite.agent.lab.engine.replica.core import StoreCore
from secondsite.agent.lab.engine.replica.repair import mend_footer
from secondsite.agent.lab.engine.replica.space import Space
from secondsite.agent.lab.engine.replica.store import TargetStore
from secondsite.agent.lab.engine.roles.failover import expect_closed
from secondsite.agent.lab.engine.roles.flattening import finish_promotion
from secondsite.agent.lab.engine.roles.retired import Promotion, demotion_pending, save_promotion
from secondsite.wire.peer import BLOCK_BYTES


def prepare_promotion(store: TargetStore) -> None:
    """What of a promotion need not wait for the guest to rest: verify the point, give up the older ones.

    EngineError when nothing was failed over. DamagedBlock: repair the replica, or let the guest overwrite the block.
    PointInUse while other clones stand on points, or an older point is being read.
    """
    promoted = store.promoted
    if promoted is None:
        raise EngineError(f"VM {store.vm_id} was not failed over here; there is nothing to promote")
    others = [info.clone_id for info in store.clones() if info.clone_id != promoted.clone]
    if others:
        raise PointInUse(f"VM {store.vm_id}: clones {others} stand on recovery points; drop them first")
    folder = store.core.clone_folder(promoted.clone)
    overwritten = {name: set(written_blocks(folder, name).tolist()) for name in store.disks}
    for reference in store.scrub(promoted.point):
        if reference.block not in overwritten[reference.disk]:
            raise DamagedBlock(promoted.point, reference.disk, reference.block)
    points = [point.id for point in store.points()]
    for older in points[: points.index(promoted.point)]:
        store.merge(older)


def promote(store: TargetStore, source_root: Path, disks: Mapping[str, Path], *, prepared: bool = False) -> None:
    """Turn the clone that was failed over to into flat files at `disks`, with a tracking folder at `source_root`.

    Close the clone first, and let the data server have `promoted_away` in the store's place: it is closed, and is no
    store any more; its recovery points are gone. No data is copied but what layers and clone hold: the paths must lie
    on the store's file system, and nothing may be there yet (EngineError; NoSpace where even that does not fit). Then
    open `SourceDisk`s and a `ReplicationSource` on `source_root`. `prepared`: `prepare_promotion` has just returned,
    the guest need not wait for that again. Raises as that does. After a kill: `finish_promotion` where
    `promotion_pending`, else promote again.
    """
    if not prepared:
        prepare_promotion(store)
    root = store.core.root
    with store.core.merge_lock:
        save_promotion(root, _planned(store, source_root, disks))
        store.core.close()
    finish_promotion(root)


def _planned(store: TargetStore, source_root: Path, disks: Mapping[str, Path]) -> Promotion:
    """All that the rest needs, checked. Merges are held off."""
    core = store.core
    with core.lock:
        contents, promoted = core.contents, core.contents.promoted
        if promoted is None:
            raise EngineError(f"VM {core.vm_id}: the failover was cancelled meanwhile")
        expect_closed(store, promoted.clone)
        sizes = contents.sizes_at(promoted.point)
        if set(disks) != set(sizes):
            raise EngineError(f"VM {core.vm_id} has disks {sorted(sizes)}, paths came for {sorted(disks)}")
        make_directories(source_root)
        _expect_free(core.root, source_root, disks)
        points = [entry.point for entry in contents.points]
        _expect_room(core, points[: contents.position(promoted.point) + 1], promoted.clone)
        place = contents.position(promoted.point)
        for layer in core.layers(*points[: place + 1]):
            # Past the point of no return nobody has it in memory any more.
            mend_footer(layer)
        lineage = points[place:]
        # The former primary may not have heard of its last commit.
        before_last = contents.points[-1].parent
        if before_last is not None and before_last not in lineage:
            lineage.insert(0, before_last)
        return Promotion(
            vm=core.vm_id,
            point=promoted.point,
            clone=promoted.clone,
            generation=promoted.generation,
            chain=points[: place + 1],
            newer=points[place + 1 :],
            lineage=lineage,
            sizes=dict(sizes),
            disks={name: str(path.absolute()) for name, path in disks.items()},
            source_root=str(source_root.absolute()),
        )


def _expect_room(core: StoreCore, chain: list[str], clone: str) -> None:
    """Past the point of no return a guest would have to wait until somebody has made room."""
    own = sum(len(written_blocks(core.clone_folder(clone), name)) for name in core.contents.sizes_at(chain[-1]))
    needed = sum(layer.bytes for layer in core.layers(*chain)) + own * BLOCK_BYTES
    free = Space(core.root, None).free
    if needed > free:
        raise NoSpace(
            f"promoting VM {core.vm_id} needs up to {needed} bytes, and {free} are free at {core.root}: free "
            f"{needed - free} bytes there; until then the guest can go on in its clone"
        )


def _expect_free(store_root: Path, source_root: Path, disks: Mapping[str, Path]) -> None:
    if state_path(source_root).exists() or demotion_pending(source_root):
        raise EngineError(f"{source_root} tracks a primary already; stop that and remove the folder first")
    for path in disks.values():
        if path.exists():
            raise EngineError(f"{path} exists: a promoted disk replaces nothing; move that file away first")
        if path.parent.stat().st_dev != store_root.stat().st_dev:
            raise EngineError(f"{path} is on another file system than {store_root}: disks are moved there, not copied")
