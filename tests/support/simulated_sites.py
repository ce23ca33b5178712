"""Two sites as pure functions: what each action does to the facts that a VM's world is made of.

It refuses what Hyper-V refuses (a wrong expected state), so a planner that asks for nonsense fails the test.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec

from secondsite.plan.actions import (
    Action,
    AddFinalizer,
    Command,
    LeaveTombstone,
    Plan,
    Release,
    RemoveFinalizer,
    Reserve,
)
from secondsite.plan.observed import SiteView, VMWorld
from secondsite.plan.protectedvm.decide import plan
from secondsite.wire.arguments import (
    AdapterPlan,
    ConfigureReplica,
    EnableReplication,
    PrepareReplica,
    StopTestFailover,
    UpdateSettings,
)
from secondsite.wire.base import Message
from secondsite.wire.facts import (
    AdapterSetting,
    DiskSlot,
    Ledger,
    Operation,
    Owner,
    Point,
    Relation,
    Replication,
    TestVM,
)
from secondsite.wire.inventory import VM
from secondsite.wire.operations import Verb
from support.simulated_pools import release, reserve

_STEP = timedelta(seconds=2)


class RefusedError(AssertionError):
    """A site would have refused this command."""


def apply(world: VMWorld, action: Action) -> VMWorld:
    """The world once the action has succeeded and its effect was heard."""
    match action:
        case AddFinalizer(finalizer):
            return _finalizers(world, (*world.vm.finalizers, finalizer))
        case RemoveFinalizer(finalizer):
            return _finalizers(world, tuple(each for each in world.vm.finalizers if each != finalizer))
        case LeaveTombstone(id=id_):
            return replace(world, tombstones=world.tombstones | {id_})
        case Reserve():
            return _at(world, action.site, reserve(_view(world, action.site), action))
        case Release():
            return _at(world, action.site, release(_view(world, action.site), action))
        case Command():
            return _command(world, action)
    raise AssertionError(f"a ProtectedVM never plans {action}")


def step(world: VMWorld) -> tuple[VMWorld, Plan]:
    """One turn and a little time."""
    made = plan(world)
    for action in made.actions:
        world = apply(world, action)
    return replace(world, now=world.now + _STEP), made


def settle(world: VMWorld, turns: int = 40) -> VMWorld:
    """Turn after turn, with time and replication going on, until nothing is planned any more."""
    for _ in range(turns):
        world, made = step(world)
        world, moved = tick(world)
        if not made.actions and not moved:
            return world
    raise AssertionError(f"no rest after {turns} turns: {plan(world)}")


def tick(world: VMWorld) -> tuple[VMWorld, bool]:
    """Replication goes on by itself: an initial copy arrives."""
    vm_id = _vm_id(world)
    source = world.source.relations.get(vm_id)
    target = world.target.relations.get(vm_id) if world.target else None
    if source is None or target is None or source.state != "InitialReplicationInProgress":
        return world, False
    point = Point(id="p1", source_time=world.now)
    change = msgspec.structs.replace
    world = _relation(world, world.source.name, change(source, state="Replicating", health="Normal", cycles=1))
    arrived = change(target, state="Replicating", health="Normal", newest_point=point, point_count=1)
    return _relation(world, _name(world), arrived), True


def _command(world: VMWorld, command: Command) -> VMWorld:
    view = _view(world, command.site)
    half = view.relations.get(command.vm_id)
    state = half.state if half else "Disabled"
    if command.expects and state not in command.expects:
        raise RefusedError(f"{command.verb} at {command.site} in {state}, expected {command.expects}")
    if view.running(command.vm_id):
        raise RefusedError(f"{command.verb} at {command.site}: another operation runs")
    ledger = view.ledgers.get(command.vm_id) or Ledger(command.vm_id)
    if command.epoch < ledger.epoch or command.epoch <= 0:
        raise RefusedError(f"{command.verb} at {command.site}: epoch {command.epoch} is older than {ledger.epoch}")
    world = _EFFECTS[command.verb](world, command, half)
    return _keep_books(world, command, ledger)


def _keep_books(world: VMWorld, command: Command, ledger: Ledger) -> VMWorld:
    view, owner = _view(world, command.site), _owner(command.arguments)
    releasing = command.verb in (Verb.DISABLE_REPLICATION, Verb.REMOVE_REPLICA)
    after = msgspec.structs.replace(
        ledger,
        epoch=max(ledger.epoch, command.epoch),
        released_epoch=command.epoch if releasing else ledger.released_epoch,
        changes=ledger.changes + 1,
        owner=owner or ledger.owner,
    )
    done = Operation(
        key=f"{command.site}-{ledger.changes}",
        verb=command.verb,
        intent=command.intent,
        attempt=1,
        state="Succeeded",
        start_time=world.now + view.skew,
        end_time=world.now + view.skew,
        vm_id=command.vm_id,
        epoch=command.epoch,
    )
    operations = {**view.operations, command.vm_id: (*view.operations.get(command.vm_id, ()), done)}
    view = replace(view, ledgers={**view.ledgers, command.vm_id: after}, operations=operations)
    world = _at(world, command.site, view)
    half = view.relations.get(command.vm_id)
    if half is None:
        return world
    marked = msgspec.structs.replace(half, owner=after.owner or half.owner, epoch=after.epoch, changes=after.changes)
    return _relation(world, command.site, marked)


def _owner(arguments: Message) -> Owner | None:
    if not isinstance(arguments, PrepareReplica | EnableReplication):
        return None
    return Owner(arguments.owner.vault, arguments.owner.control_plane)


def _prepare(world: VMWorld, command: Command, _: Relation | None) -> VMWorld:
    assert isinstance(command.arguments, PrepareReplica)
    view = _view(world, command.site)
    kept = VM(command.vm_id, command.arguments.vm_name, "silver", "ch-host-1", "Off", role="Replica")
    return _at(world, command.site, replace(view, vms={**view.vms, command.vm_id: kept}))


def _enable(world: VMWorld, command: Command, _: Relation | None) -> VMWorld:
    arguments = command.arguments
    assert isinstance(arguments, EnableReplication)
    target = _view(world, arguments.peer_site)
    ledger = target.ledgers[command.vm_id]
    assert ledger.owner is not None, "enabled before the target was prepared"
    disks = tuple(DiskSlot(d.controller_type, d.controller_number, d.controller_location) for d in arguments.disks)
    shared: dict[str, Any] = {
        "vm_id": command.vm_id,
        "vm_name": "web",
        "health": "Warning",
        "time": world.now,
        "settings": Replication(**arguments.settings.model_dump()),
        "disks": disks,
        "epoch": command.epoch,
        "owner": Owner(arguments.owner.vault, arguments.owner.control_plane),
    }
    source = Relation(mode="Primary", state="ReadyForInitialReplication", peer_site=arguments.peer_site, **shared)
    replica = Relation(mode="Replica", state="WaitingForInitialReplication", peer_site=command.site, **shared)
    return _relation(_relation(world, command.site, source), arguments.peer_site, replica)


def _configure(world: VMWorld, command: Command, half: Relation | None) -> VMWorld:
    assert isinstance(command.arguments, ConfigureReplica)
    assert half is not None
    settings = Replication(**command.arguments.settings.model_dump())
    adapters = tuple(_setting(each) for each in command.arguments.adapters)
    return _relation(world, command.site, msgspec.structs.replace(half, settings=settings, adapters=adapters))


def _update(world: VMWorld, command: Command, half: Relation | None) -> VMWorld:
    assert isinstance(command.arguments, UpdateSettings)
    assert half is not None
    settings = Replication(**command.arguments.settings.model_dump())
    return _relation(world, command.site, msgspec.structs.replace(half, settings=settings))


def _to(state: Any) -> Any:
    def effect(world: VMWorld, command: Command, half: Relation | None) -> VMWorld:
        assert half is not None
        return _relation(world, command.site, msgspec.structs.replace(half, state=state))

    return effect


def _resume(world: VMWorld, command: Command, half: Relation | None) -> VMWorld:
    assert half is not None
    begun = half.mode == "Replica" or half.cycles > 0
    state: Any = "Replicating" if begun else "InitialReplicationInProgress"
    return _relation(world, command.site, msgspec.structs.replace(half, state=state, health="Normal"))


def _disable(world: VMWorld, command: Command, half: Relation | None) -> VMWorld:
    if half is not None and half.test_vm is not None:
        raise RefusedError("a test VM is there")
    view = _view(world, command.site)
    relations = {vm_id: each for vm_id, each in view.relations.items() if vm_id != command.vm_id}
    return _at(world, command.site, replace(view, relations=relations))


def _remove(world: VMWorld, command: Command, half: Relation | None) -> VMWorld:
    if half is not None:
        raise RefusedError("the replica still has its relation")
    view = _view(world, command.site)
    return _at(world, command.site, replace(view, vms={k: v for k, v in view.vms.items() if k != command.vm_id}))


def _stop_test(world: VMWorld, command: Command, half: Relation | None) -> VMWorld:
    assert isinstance(command.arguments, StopTestFailover)
    if half is None or half.test_vm is None or half.test_vm.owner != command.arguments.owner:
        raise RefusedError("there is no such test VM")
    return _relation(world, command.site, msgspec.structs.replace(half, test_vm=None))


_EFFECTS: dict[Verb, Any] = {
    Verb.PREPARE_REPLICA: _prepare,
    Verb.ENABLE_REPLICATION: _enable,
    Verb.CONFIGURE_REPLICA: _configure,
    Verb.UPDATE_SETTINGS: _update,
    Verb.START_INITIAL_REPLICATION: _to("InitialReplicationInProgress"),
    Verb.SUSPEND: _to("Suspended"),
    Verb.RESUME: _resume,
    Verb.DISABLE_REPLICATION: _disable,
    Verb.REMOVE_REPLICA: _remove,
    Verb.STOP_TEST_FAILOVER: _stop_test,
}


def start_test(world: VMWorld, owner: str = "dr/drill/1") -> VMWorld:
    """A test VM, as a TestFailover makes it."""
    half = _view(world, _name(world)).relations[_vm_id(world)]
    test = TestVM("t-1", "web - Test", "ch-host-1", owner, "Running")
    return _relation(world, _name(world), msgspec.structs.replace(half, test_vm=test))


def _setting(each: AdapterPlan) -> AdapterSetting:
    return AdapterSetting(each.adapter, each.network, each.addresses, each.test_network, each.gateway, each.dns_servers)


def _vm_id(world: VMWorld) -> str:
    name = (world.vm.spec.vm.cloud, world.vm.spec.vm.name or "")
    return world.vm.spec.vm.id or next(iter(world.source.vms_by_name.get(name, ())), "")


def _name(world: VMWorld) -> str:
    assert world.target is not None
    return world.target.name


def _view(world: VMWorld, site: str) -> SiteView:
    if site == world.source.name:
        return world.source
    assert world.target is not None
    assert site == world.target.name
    return world.target


def _at(world: VMWorld, site: str, view: SiteView) -> VMWorld:
    return replace(world, source=view) if site == world.source.name else replace(world, target=view)


def _relation(world: VMWorld, site: str, half: Relation) -> VMWorld:
    view = _view(world, site)
    return _at(world, site, replace(view, relations={**view.relations, half.vm_id: half}))


def _finalizers(world: VMWorld, finalizers: tuple[str, ...]) -> VMWorld:
    return replace(world, vm=replace(world.vm, finalizers=finalizers))
