"""Cleaning a test up: what each site still holds of it, one thing after the other, and where a deletion has to end.

Test VMs go first, then their network, then the finalizer. A site that is silent is waited for, by a deletion until the
vault's deadline: past that, what is left is recorded as a tombstone, and the object goes.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from secondsite.plan.actions import Action, Command, LeaveTombstone, Plan, RemoveFinalizer, RemoveTestNetwork
from secondsite.plan.conditions import earliest, named
from secondsite.plan.finalizers import RELEASE
from secondsite.plan.intents import changes
from secondsite.plan.observed import SiteView, TestWorld, VMWorld
from secondsite.plan.testfailover import identity
from secondsite.plan.testfailover.course import Course
from secondsite.plan.testfailover.progress import Progress
from secondsite.plan.testfailover.traces import Trace, views
from secondsite.wire.agent import NO_FENCE
from secondsite.wire.arguments import StopTestFailover
from secondsite.wire.operations import Verb
from secondsite.wire.resources import TombstoneWish

REMOVE_NETWORK = "RemoveTestNetwork"
LOOK_AGAIN = timedelta(seconds=15)
"""News of a VM that no ProtectedVM names wakes no test."""
_DEFAULT_DEADLINE_MINUTES = 60


@dataclass(frozen=True, slots=True)
class Debt:
    """What one site still holds of the test, or perhaps holds while it cannot be asked."""

    view: SiteView
    what: str
    """For people."""
    vm_id: str = ""
    """Empty: no VM, or nobody can say which."""
    epoch: int = 0
    test_vm: bool = True
    """Whether there is, or may be, a test VM beside the network."""

    @property
    def label(self) -> str:
        return f"{self.what} at {self.view.name}"

    @property
    def blocker(self) -> str:
        """What its clean-up waits for; empty where it can be done."""
        if not self.view.known:
            return f"{self.label} waits: the site cannot be asked. {self.view.contact.message}".strip()
        return f"{self.label} waits: the VMMSite is suspended." if self.view.suspended else ""


def deadline(world: TestWorld) -> datetime | None:
    """When a deletion ends, whatever is left; None: it is not being deleted."""
    minutes = world.vault.spec.deletion_deadline_minutes if world.vault else _DEFAULT_DEADLINE_MINUTES
    deleted = world.test.deletion_timestamp
    return deleted + timedelta(minutes=minutes) if deleted is not None else None


def debts(world: TestWorld, how: Course) -> tuple[Debt, ...]:
    """All that is left of the test, test VMs first. What cannot be asked about may be left."""
    members = (_of_member(member) for member in how.members if member.test_vm is not None or member.starting)
    lost = (_of_trace(trace) for trace in how.traces if trace.held)
    found = (*members, *lost, *_at_silent_targets(world, how), *_anywhere(world, how))
    return (*found, *_networks(world, {debt.view.name for debt in found}))


def plan(world: TestWorld, how: Course) -> Plan:
    """The next step of the clean-up."""
    owed = debts(world, how)
    again = world.now + LOOK_AGAIN if owed and (how.missing or how.traces) else None
    if not world.test.deleting:
        return Plan(_clear(world, owed), due=again)
    if RELEASE not in world.test.finalizers:
        return Plan()
    if not owed:
        return Plan((RemoveFinalizer(RELEASE),))
    end = deadline(world)
    if end is not None and end <= world.now:
        return _leave(world, owed)
    return Plan(_clear(world, owed), due=earliest(end, again))


def _of_member(member: Progress) -> Debt:
    vm_id, epoch = (member.replica.vm_id, member.replica.epoch) if member.replica is not None else ("", 0)
    return Debt(member.target, f"The test VM of {member.name}", vm_id, epoch)


def _of_trace(trace: Trace) -> Debt:
    epoch = trace.relation.epoch if trace.relation is not None else 0
    return Debt(trace.view, f"The test VM of {trace.name}", trace.vm_id, epoch)


def _at_silent_targets(world: TestWorld, how: Course) -> tuple[Debt, ...]:
    """One for each VM whose target is known but cannot be asked."""
    members = ((name, world.members[name]) for name in how.unknown)
    return tuple(
        Debt(member.target, f"The test VM of {name}", _vm_id(member, member.target))
        for name, member in members
        if member is not None and member.target is not None
    )


def _anywhere(world: TestWorld, how: Course) -> tuple[Debt, ...]:
    """One for each silent site, where nobody can say at which site a VM was tested."""
    nowhere = [name for name in how.unknown if (vm := world.members[name]) is None or vm.target is None]
    lost = (*how.missing, *nowhere)
    if len(how.traces) >= len(lost):
        return ()
    silent = (view for view in views(world).values() if not view.known)
    return tuple(Debt(view, f"Perhaps the test VM of {named(lost)}") for view in silent)


def _networks(world: TestWorld, used: set[str]) -> tuple[Debt, ...]:
    """The networks of sites that have no test VM any more."""
    network = identity.network_id(world.test)
    holding = (view for view in views(world).values() if view.known and network in view.test_networks)
    return tuple(Debt(view, "The test's network", test_vm=False) for view in holding if view.name not in used)


def _vm_id(member: VMWorld, target: SiteView) -> str:
    """Which VM it is, as far as anybody remembers: this only names what is recorded."""
    spec = member.vm.spec.vm
    ids = [relation.vm_id for relation in target.relations.values() if spec.name and relation.vm_name == spec.name]
    return spec.id or member.known_vm_id or (ids[0] if len(ids) == 1 else "")


def _clear(world: TestWorld, owed: tuple[Debt, ...]) -> tuple[Action, ...]:
    """What can be done now."""
    network = identity.network_id(world.test)
    open_ = [debt for debt in owed if not debt.blocker]
    return tuple(_stop(world, debt) if debt.test_vm else RemoveTestNetwork(debt.view.name, network) for debt in open_)


def _stop(world: TestWorld, debt: Debt) -> Command:
    # A test VM may turn up after it was stopped once, from a start that was abandoned: that is another wish.
    turn = changes(debt.view, debt.vm_id)
    return Command(
        site=debt.view.name,
        verb=Verb.STOP_TEST_FAILOVER,
        vm_id=debt.vm_id,
        intent=f"{identity.stop_intent(world.test)}.{turn}",
        arguments=StopTestFailover(owner=identity.owner(world.test)),
        epoch=debt.epoch,
    )


def _leave(world: TestWorld, owed: tuple[Debt, ...]) -> Plan:
    """Past the deadline: what is left is written down where it will be found, then the object may go."""
    stones = {stone.id: stone for debt in owed if (stone := _tombstone(world, debt)).id not in world.tombstones}
    return Plan(tuple(stones.values()) or (RemoveFinalizer(RELEASE),))


def _tombstone(world: TestWorld, debt: Debt) -> LeaveTombstone:
    """By whom the test VM is marked, and the network's id, are all that a sweep needs to find them."""
    network, owner = identity.network_id(world.test), identity.owner(world.test)
    may_stand = not debt.view.known or network in debt.view.test_networks
    steps = (
        *((f"{Verb.STOP_TEST_FAILOVER} {owner}",) if debt.test_vm else ()),
        *((f"{REMOVE_NETWORK} {network}",) if may_stand else ()),
    )
    wish = TombstoneWish(fence=NO_FENCE, vault=world.identity.vault, vm_id=debt.vm_id, epoch=debt.epoch, steps=steps)
    return LeaveTombstone(debt.view.name, f"{network}.{debt.vm_id or 'site'}.{debt.view.name}", wish)
