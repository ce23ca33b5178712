"""What must hold after every step, whatever happened: each is a sentence of the design, and fails with it."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from secondsite.agent.lab.state import Half
from secondsite.agent.lab.table import TABLE
from secondsite.wire.facts import Relation
from support.lab_world import judged
from support.lab_world.centres import VM
from support.lab_world.images import faults
from support.lab_world.side import Side
from support.lab_world.world import START, World

Place = tuple[str, str]

# As it was when this was loaded: a mistake that is put into the table later does not change what is right.
ALLOWED: frozenset[tuple[Place, Place]] = frozenset(
    ((row.side, before), (row.becomes or row.side, row.after or before)) for row in TABLE for before in row.before
)
_BORN = frozenset({("Primary", "ReadyForInitialReplication"), ("Replica", "WaitingForInitialReplication")})
_MOVING = frozenset({"time", "pending_bytes", "seconds_outside_rpo"})


@dataclass
class Ledger:
    """What a person who watched both sites from the beginning would know."""

    places: dict[str, Place] = field(default_factory=dict)
    halves: dict[str, Half | None] = field(default_factory=dict)
    resynchronized: dict[str, str] = field(default_factory=dict)
    """By site: the point that a resynchronization ended with."""
    forced: bool = False
    """A failover that was not planned: the former primary may run on."""
    skewed: bool = False
    """A clock was put wrong: times before and after it cannot be compared."""


def every(world: World, ledger: Ledger, *, clock_stood: bool) -> None:
    """All of them."""
    for side in world.living:
        steps_are_rows(side, ledger)
        points_are_replays(side, ledger)
        points_are_kept_no_longer(side)
        one_test_vm(side)
        if clock_stood:
            published_is_computed(side)
        judged.health_is_right(side)
        prepared_stands_still(side)
        lost_maps_are_not_used(side)
        resync_left_no_old_points(side, ledger)
    if not ledger.skewed:
        for side in world.living:
            judged.rpo_is_possible(side, START)
        lag_is_never_flattered(world)
    one_copy_runs(world, ledger)


def steps_are_rows(side: Side, ledger: Ledger) -> None:
    """A half only ever goes where a row of the table leads."""
    for half, time, newest in side.steps:
        before = ledger.places.get(side.name, ("None", "Disabled"))
        known = ledger.halves.get(side.name)
        if half is not None and known is not None and half.side == known.side:
            if not ledger.skewed:
                judged.step_counts_right(known, half, time)
            _note_resync(side, ledger, known, half, newest)
        ledger.halves[side.name] = half
        after = (half.side, half.state) if half else ("None", "Disabled")
        if before[0] == "None" and half is not None:
            assert after in _BORN, f"{side.name}: a half was born as {after}"
        elif half is None:
            assert (before, (before[0], "Disabled")) in ALLOWED, f"{side.name}: {before} was disabled"
        else:
            assert before == after or (before, after) in ALLOWED, f"{side.name}: no row leads from {before} to {after}"
        ledger.places[side.name] = after
    side.steps.clear()


def _note_resync(side: Side, ledger: Ledger, before: Half, after: Half, newest: str) -> None:
    ended = before.side == "Replica" and (before.state, after.state) == ("Resynchronizing", "Replicating")
    if ended and after.cycles > before.cycles:
        ledger.resynchronized[side.name] = newest


def resync_left_no_old_points(side: Side, ledger: Ledger) -> None:
    """After a resynchronization every older point is gone, but for what a test VM stands on."""
    ended, store = ledger.resynchronized.get(side.name), side.store
    if ended is None or store is None or not store.commits or side.capabilities:
        return
    points = store.points()
    older = next((points[:index] for index, point in enumerate(points) if point.id == ended), [])
    left = [point.id for point in older if not point.pinned]
    assert not left, f"{side.name}: points {left} are older than the resynchronization"


def prepared_stands_still(side: Side) -> None:
    """The VM of a primary that is prepared for failover is off."""
    half, guest = side.half, side.guest
    prepared = half is not None and half.state == "PreparedForFailover"
    assert not (prepared and guest and guest.running), f"{side.name}: the VM runs though it is prepared for failover"


def lost_maps_are_not_used(side: Side) -> None:
    """Where a resynchronization is needed, the map of changes vouches for nothing."""
    half = side.half
    if half is not None and half.side == "Primary" and half.state == "WaitingForStartResynchronize":
        trusted = [maps.state.trusted for root, maps in side.files.tracking.items() if root.name == VM]
        assert not any(trusted), f"{side.name}: changes are still tracked, though a resynchronization is needed"


def points_are_replays(side: Side, ledger: Ledger) -> None:
    """Each recovery point, and each disk that a guest runs from, holds writes 1 to n and nothing else."""
    order = ["SCSI-0-0", "SCSI-0-1"]
    store = side.store
    for point in store.held.points if store else []:
        if not (store and store.held.stale and point is store.held.points[-1]):
            wrong = faults(order, point.image)
            assert not wrong, f"{side.name}: recovery point {point.fact.id} is no replay: {wrong}"


def points_are_kept_no_longer(side: Side) -> None:
    """Never more than the retention asks for, the newest, and what a test VM stands on."""
    half, store = side.half, side.store
    # Opened again it thins out with the next cycle that it takes.
    if half is None or store is None or half.side != "Replica" or not store.commits:
        return
    points = store.points()
    free = [point for point in points if not point.pinned]
    special = [point for point in free[:-1] if point.consistency != "CrashConsistent"]
    most = half.settings.retention_hours + 1 + min(1, len(special))
    assert len(free) <= most, f"{side.name}: {len(free)} recovery points are kept, {most} are allowed"


def one_test_vm(side: Side) -> None:
    """One clone at the most beside that of a failover, and none of which the half knows nothing."""
    store, half = side.store, side.half
    if store is None or side.begun is not None:
        return
    failover = store.held.promoted[1] if store.held.promoted else ""
    clones = [clone for clone in store.held.clones if clone != failover]
    assert len(clones) <= 1, f"{side.name}: {len(clones)} test VMs"
    known = [half.clone_id] if half and half.test_vm else []
    assert clones == known, f"{side.name}: the clones are {clones}, the half knows {known}"


def published_is_computed(side: Side) -> None:
    """No change of a relation is kept from whoever reads the feed."""
    said, fact = side.facts.get(Relation, VM), side.relation
    assert (said is None) == (fact is None), f"{side.name}: published {said}, true is {fact}"
    if said is None or fact is None:
        return
    different = {
        name: (getattr(said, name), getattr(fact, name))
        for name in msgspec.structs.asdict(fact)
        if name not in _MOVING and getattr(said, name) != getattr(fact, name)
    }
    assert not different, f"{side.name}: published and true differ: {different}"


def lag_is_never_flattered(world: World) -> None:
    """The first write that a point lacks is not older than the point says: no lag is smaller than the true one."""
    for side in world.living:
        source = world.other(side)
        half, store = side.half, side.store
        peer = source.half if source.up else None
        if half is None or store is None or half.side != "Replica" or peer is None or peer.side != "Primary":
            continue
        guest = source.guest
        for point in store.held.points if guest else []:
            count = point.image.get(("SCSI-0-0", 0), 0)
            if guest and point.fact.generation == peer.generation and count < len(guest.history.times):
                missed = guest.history.times[count]
                assert point.fact.freeze_time <= missed, f"point {point.fact.id} hides a write of {missed}"


def one_copy_runs(world: World, ledger: Ledger) -> None:
    """Both copies of a VM are on only where somebody failed over without asking the source."""
    running = [side.name for side in world.living if side.guest is not None and side.guest.running]
    assert len(running) < 2 or ledger.forced, f"the VM runs at {running}"


def documents(world: World) -> list[dict[tuple[str, str], bytes]]:
    """All that both sites remember."""
    return [dict(side.files.documents) for side in world.sides]


def chain(side: Side) -> list[tuple[str, int]]:
    """The recovery points of a site."""
    return [(point.fact.id, len(point.image)) for point in side.store.held.points] if side.store else []


def described(half: Half | None) -> str:
    """For a story."""
    return f"{half.side} {half.state}" if half else "no half"
