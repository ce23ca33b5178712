"""Changes of roles in memory, by the contract of the engine's `roles`: durable, repeatable, finished after a kill."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from secondsite.agent.lab.engine import CycleKind, EngineError, PointInUse, PromotedAway, RecoveryPoint
from secondsite.agent.lab.engine.primary.state import SourceState
from support.lab_world.clones import MemoryClone
from support.lab_world.files import PointFiles, SiteFiles, StoreFiles, TrackingFiles
from support.lab_world.images import Image, Key, MemoryDisk
from support.lab_world.life import Life
from support.lab_world.store import MemoryStore
from support.lab_world.tracking import MemoryTracking


@dataclass(frozen=True)
class Promotion:
    """What a promotion does from the moment from which it only goes forward."""

    store: Path
    tracking: Path
    disks: Mapping[str, Path]


@dataclass(frozen=True)
class Demotion:
    """The same of a demotion."""

    tracking: Path
    store: Path
    generation: int


def fail_over(store: MemoryStore, point: str, clone: str, generation: int, life: Life) -> MemoryClone:
    """The guest may write to the clone at once, and older generations are refused."""
    standing = store.held.promoted
    if standing is not None and standing != (point, clone, generation):
        raise EngineError(f"failed over already, to {standing}; cancel that failover before another")
    if standing is None and generation <= store.held.generation:
        raise EngineError(f"generation {generation} is not new, {store.held.generation} is here; choose a higher one")
    made = store.clone(point, clone)
    if standing is None:
        life.act()
        store.held.promoted = (point, clone, generation)
    return made


def cancel_failover(store: MemoryStore, clone: str, life: Life) -> None:
    """Give the role back: what was written here is gone."""
    standing = store.held.promoted
    if standing is not None and standing[1] != clone:
        raise EngineError(f"failed over with clone {standing[1]}, not {clone}: cancel that one")
    _expect_closed(store, clone)
    if standing is not None:
        life.act()
        store.held.promoted = None
    store.drop_clone(clone)


def prepare_promotion(store: MemoryStore) -> None:
    """Give up the older points."""
    standing = store.held.promoted
    if standing is None:
        raise EngineError(f"VM {store.vm_id} was not failed over here; there is nothing to promote")
    others = [clone for clone in store.held.clones if clone != standing[1]]
    if others:
        raise PointInUse(f"VM {store.vm_id}: clones {others} stand on recovery points; drop them first")
    points = [point.id for point in store.points()]
    for older in points[: points.index(standing[0])]:
        store.merge(older)


def promote(files: SiteFiles, life: Life, store: MemoryStore, tracking: Path, disks: Mapping[str, Path]) -> None:
    """Turn the clone that was failed over to into disks of a primary."""
    standing = store.held.promoted
    if standing is None:
        raise EngineError(f"VM {store.vm_id}: the failover was cancelled meanwhile")
    _expect_closed(store, standing[1])
    if tracking in files.tracking:
        raise EngineError(f"{tracking} tracks a primary already")
    if any(path.stem in files.disks.get(path.parent, {}) for path in disks.values()):
        raise EngineError(f"{list(disks.values())} exist: a promoted disk replaces nothing")
    life.act()
    files.promotions[store.root] = Promotion(store.root, tracking, disks)
    finish_promotion(files, life, store.root)


def finish_promotion(files: SiteFiles, life: Life, root: Path) -> None:
    """Carry out a promotion that was begun."""
    life.act()
    promotion, held = files.promotions[root], files.stores[root]
    if held.promoted is None:
        raise AssertionError("a promotion of nothing was begun")
    point_id, clone_id, generation = held.promoted
    place = next(index for index, item in enumerate(held.points) if item.fact.id == point_id)
    point, own = held.points[place], held.clones[clone_id][1]
    image = point.image | own
    for name, path in promotion.disks.items():
        blocks = {block: value for (disk, block), value in image.items() if disk == name and value}
        files.disks.setdefault(path.parent, {})[name] = MemoryDisk(name, held.sizes[name], path, blocks)
    newer: set[Key] = set().union(*(item.touched for item in held.points[place + 1 :]))
    lineage = [item.fact.id for item in held.points[place:]]
    parent = held.points[-1].parent
    if parent is not None and parent not in lineage:
        lineage.insert(0, parent)
    state = SourceState(
        vm=held.vm_id,
        disks=dict(held.sizes),
        generation=generation,
        boot_id=str(files.boot),
        clean=True,
        lineage=tuple(lineage),
    )
    files.tracking[promotion.tracking] = TrackingFiles(state, set(own) | newer)
    files.retired[root] = PromotedAway(held.vm_id, generation)
    del files.stores[root], files.promotions[root]


def demote(files: SiteFiles, life: Life, source: MemoryTracking, store: Path, generation: int) -> None:
    """Make the disks of a primary the base of a replica."""
    if generation <= source.generation:
        raise EngineError(f"generation {generation} is not new, this side is in {source.generation}")
    if source.common_point is None:
        raise EngineError(f"VM {source.vm_id} was never replicated: it has no point in common with any other side")
    if store in files.stores:
        raise EngineError(f"{store} holds a replica already; discard it first")
    source.close()
    life.act()
    files.demotions[source.root] = Demotion(source.root, store, generation)
    finish_demotion(files, life, source.root)


def finish_demotion(files: SiteFiles, life: Life, root: Path) -> None:
    """Carry out a demotion that was begun."""
    life.act()
    demotion, maps = files.demotions[root], files.tracking[root]
    state = maps.state
    known = state.trusted and state.compared is None
    differs = maps.current | set(maps.frozen)
    folder = next(folder for folder in files.disks if folder.name == root.name)
    image: Image = {}
    for name in state.disks:
        disk = files.disks[folder].pop(name)
        image |= {(name, block): value for block, value in disk.blocks.items() if value}
    if not files.disks[folder]:
        del files.disks[folder]
    held = StoreFiles(state.vm, generation=demotion.generation, sizes=dict(state.disks))
    held.stale = not known or bool(differs)
    held.stale_keys = differs if known else None
    point = state.common_point or ""
    time = state.head_time or files.now()
    fact = RecoveryPoint(point, CycleKind.Seed, demotion.generation, time, time, 0)
    held.points.append(PointFiles(fact, image, dict(state.disks)))
    files.stores[demotion.store] = held
    files.retired.pop(demotion.store, None)
    del files.tracking[root], files.demotions[root]


def _expect_closed(store: MemoryStore, clone: str) -> None:
    if store.is_open(clone):
        raise PointInUse(f"VM {store.vm_id}: clone {clone} is open; stop its guest and close it first")
