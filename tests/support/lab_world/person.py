"""What a person does: protects a VM, and afterwards mends whatever a health reason asks to be mended."""

from __future__ import annotations

from collections.abc import Callable

from secondsite.agent.lab.state import Half
from secondsite.wire.operations import Verb
from support.lab_world.commands import message
from support.lab_world.side import Side
from support.lab_world.world import World

_PATIENCE = 30

_FAILED_OVER = ("FailedOverWaitingCompletion", "FailedOver")
_OF_PRIMARY: dict[str, Verb] = {
    "ReadyForInitialReplication": Verb.START_INITIAL_REPLICATION,
    "Suspended": Verb.RESUME,
    "Error": Verb.RESUME,
    "WaitingForStartResynchronize": Verb.RESYNCHRONIZE,
    "ResynchronizeSuspended": Verb.RESUME,
    "UpdateError": Verb.UPDATE_SETTINGS,
}
_OF_REPLICA: dict[str, Verb] = {
    "Suspended": Verb.RESUME,
    "FailedOverWaitingCompletion": Verb.CANCEL_FAILOVER,
    "FailedOver": Verb.REVERSE_REPLICATION,
}


def protect(world: World, writes: int = 3) -> None:
    """Until both halves replicate."""
    for side, verb in (
        (world.west, Verb.PREPARE_REPLICA),
        (world.east, Verb.ENABLE_REPLICATION),
        (world.west, Verb.CONFIGURE_REPLICA),
        (world.east, Verb.START_INITIAL_REPLICATION),
    ):
        outcome = world.perform(side, verb, message(verb, side))
        assert outcome is None, f"{verb.value}: {outcome!r}"
    for _ in range(writes):
        if world.east.guest:
            world.east.guest.write()
    world.settle()
    assert [side.state for side in world.sides] == ["Replicating", "Replicating"]


def mend(world: World, tell: Callable[[str], None]) -> None:
    """All faults clear, agents and link are up, time passes, and what is asked for is done: then all is well."""
    world.network.link.mend()
    for side in world.sides:
        side.files.full = False
        side.life.fuse = None
        if not side.up:
            outcome = world.restart(side)
            tell(f"agent {side.name} starts again: {outcome or 'done'}")
        for found in side.site.estate.faults.all():
            side.fault(found.fault, on=False)
    for attempt in range(_PATIENCE):
        world.wait(900)
        if well(world) or hopeless(world):
            return
        for side in world.sides:
            _help(world, side, tell, tired=attempt > _PATIENCE // 2)
    raise AssertionError(f"the world does not heal: {_described(world)}")


def well(world: World) -> bool:
    """Both halves replicate, in health, and the newest point holds every write; or nobody ever asked for it."""
    halves = [side.half for side in world.sides]
    if halves == [None, None]:
        return True
    facts = [side.relation for side in world.sides]
    if any(fact is None or fact.state != "Replicating" or fact.health != "Normal" for fact in facts):
        return False
    source, target = world.sides if halves[0] and halves[0].side == "Primary" else world.sides[::-1]
    newest = target.store.held.points[-1].image if target.store and target.store.held.points else None
    return source.guest is not None and newest == source.guest.image


def hopeless(world: World) -> bool:
    """Two replicas and no primary: somebody made the primary a replica, and called the failover off.

    Nobody runs the VM then; its disks are kept, and a person protects it anew.
    """
    halves = [side.half for side in world.sides]
    return all(half is not None and half.side == "Replica" and half.state not in _FAILED_OVER for half in halves)


def _help(world: World, side: Side, tell: Callable[[str], None], *, tired: bool) -> None:
    verb = _remedy(world, side, side.half, tired=tired)
    if verb is not None:
        outcome = world.perform(side, verb, message(verb, side))
        tell(f"a person tells {side.name} {verb.value}: {outcome or 'done'}")


def _remedy(world: World, side: Side, half: Half | None, *, tired: bool) -> Verb | None:
    """What the states of both sides ask for, if anything."""
    other = world.other(side).half
    if half is None:
        return None
    if half.test_vm is not None:
        return Verb.STOP_TEST_FAILOVER
    if other is None:
        return Verb.DISABLE_REPLICATION
    waiting = "WaitingForInitialReplication"
    if half.state == other.state == waiting and half.side != other.side:
        # Whoever has carried the media imports them, or gives up where that does not work.
        return Verb.IMPORT_INITIAL_REPLICATION if half.side == "Replica" and not tired else _given_up(half, tired=tired)
    if tired and half.side == "Primary" and other.state == "FailedOver":
        # Its disks have no point in common with the other side: the VM stays where it was failed over to.
        return Verb.DISABLE_REPLICATION
    found = _of_primary(side, half, other) if half.side == "Primary" else _OF_REPLICA.get(half.state)
    return found or _statistics(side)


def _given_up(half: Half, *, tired: bool) -> Verb | None:
    return Verb.DISABLE_REPLICATION if tired and half.side == "Primary" else None


def _of_primary(side: Side, half: Half, other: Half) -> Verb | None:
    if other.side == "Primary":
        # Each was enabled by itself, and both say so.
        return Verb.DISABLE_REPLICATION
    if half.state == "WaitingForInitialReplication" and other.state in _FAILED_OVER:
        return Verb.DISABLE_REPLICATION
    if half.state == "PreparedForFailover":
        return None if other.state in _FAILED_OVER and other.planned else Verb.CANCEL_FAILOVER
    if other.state == "FailedOver" and half.state in ("Error", "WaitingForStartResynchronize"):
        guest = side.guest
        return Verb.STOP_VM if guest and guest.running else Verb.DEMOTE_TO_REPLICA
    return _OF_PRIMARY.get(half.state)


def _statistics(side: Side) -> Verb | None:
    """Counters of the time of the faults stay until the window ends, or are reset."""
    fact = side.relation
    counted = {"missed-over-20-percent", "latency-over-5-minutes"}
    return Verb.RESET_STATISTICS if fact and set(fact.health_reasons) & counted else None


def _described(world: World) -> str:
    return " | ".join(
        f"{side.name}: {fact.mode} {fact.state} {fact.health} {fact.health_reasons} {fact.message}"
        if (fact := side.relation)
        else f"{side.name}: nothing"
        for side in world.sides
    )
