"""Giving a VM up: what each site still owes, one step at a time, and a tombstone for what a deadline cuts off.

Only relations of this vault are given up. The source goes first: a replica is never removed before the source's site
has said that it has let go, so a site in ruins costs nobody the only copy.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from secondsite.api.condition import CommonReason
from secondsite.plan.actions import NOTHING, LeaveTombstone, Plan, RemoveFinalizer
from secondsite.plan.finalizers import RELEASE
from secondsite.plan.network.reservations import release
from secondsite.plan.observed import UNKNOWN, Half, SiteView
from secondsite.plan.protectedvm.orders import order, running, wait
from secondsite.plan.protectedvm.picture import Picture
from secondsite.wire.agent import NO_FENCE
from secondsite.wire.arguments import Nothing, Removal, StopTestFailover
from secondsite.wire.facts import Relation
from secondsite.wire.operations import Verb
from secondsite.wire.resources import TombstoneWish

RELEASE_ADDRESSES = "ReleaseAddresses"
_DEFAULT_DEADLINE_MINUTES = 60
_WHY = CommonReason.DELETING


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that a site still owes. `unknown`: perhaps it does, and it cannot be asked."""

    name: str
    site: str
    unknown: bool = False

    @property
    def label(self) -> str:
        """For people."""
        return f"{self.name} at {self.site}"


def deadline(picture: Picture) -> datetime | None:
    """When the steps left are recorded and the object goes."""
    vm, vault = picture.world.vm, picture.world.vault
    minutes = vault.spec.deletion_deadline_minutes if vault else _DEFAULT_DEADLINE_MINUTES
    return vm.deletion_timestamp + timedelta(minutes=minutes) if vm.deletion_timestamp else None


def owed(picture: Picture) -> tuple[Step, ...]:
    """The steps left, in order. Empty: nothing was enabled, or everything was given up."""
    if RELEASE not in picture.world.vm.finalizers or picture.world.rival:
        return ()
    return (*_test(picture), *_owed_by_source(picture), *_owed_by_target(picture))


def plan(picture: Picture) -> Plan:
    """The next step of the deletion."""
    if RELEASE not in picture.world.vm.finalizers:
        return NOTHING
    if not picture.world.identity.vault:
        return wait(_WHY, "Waits for the vault's keys: without them nobody can tell which relations are its own.")
    steps, due = owed(picture), deadline(picture)
    if not steps:
        return Plan((RemoveFinalizer(RELEASE),), waiting=(_WHY, "Everything was released."))
    if due is not None and due <= picture.world.now:
        return _leave(picture, steps)
    blocked = blocker(picture, steps)
    return wait(_WHY, blocked, due) if blocked else _carry_out(picture, steps[0])


def blocker(picture: Picture, steps: tuple[Step, ...]) -> str:
    """What the next step waits for; empty where it can be taken."""
    step = steps[0]
    view = _view(picture, step)
    if step.unknown or view is None:
        reason = view.contact.message if view else ""
        return f"{step.label} waits: the site cannot be asked. {reason}".strip()
    if view.suspended:
        return f"{step.label} waits: the VMMSite is suspended."
    if (busy := running(picture)) is not None:
        return f"{step.label} waits until {busy[1].verb} at {busy[0]} has ended."
    return ""


def _test(picture: Picture) -> tuple[Step, ...]:
    """A test VM of ours at the target: first of all, since its test would go on asking after it."""
    half, view = picture.target, picture.world.target
    there = isinstance(half, Relation) and half.test_vm is not None and picture.claim(half) == "Ours"
    return (Step(Verb.STOP_TEST_FAILOVER, view.name),) if view is not None and there else ()


def _owed_by_source(picture: Picture) -> tuple[Step, ...]:
    site = picture.world.source.name
    if picture.source is UNKNOWN:
        return (Step(Verb.DISABLE_REPLICATION, site, unknown=True),)
    return (Step(Verb.DISABLE_REPLICATION, site),) if _holds(picture, picture.source, picture.world.source) else ()


def _owed_by_target(picture: Picture) -> tuple[Step, ...]:
    view, half = picture.world.target, picture.target
    if view is None:
        # Without a policy nobody can say where the replica is; it matters only if there ever was one.
        once = picture.ledger(picture.world.source).epoch > 0
        return (Step(Verb.DISABLE_REPLICATION, "the target", unknown=True),) if once else ()
    if half is UNKNOWN:
        verbs = (Verb.STOP_TEST_FAILOVER, Verb.DISABLE_REPLICATION, RELEASE_ADDRESSES)
        return tuple(Step(verb, view.name, unknown=True) for verb in (*verbs, *_removal(picture)))
    holds, delete = _holds(picture, half, view), _removal(picture)
    ours = isinstance(half, Relation) and holds
    steps = (
        (Verb.DISABLE_REPLICATION, holds),
        (RELEASE_ADDRESSES, bool(release(picture.vm_id, view))),
        (Verb.REMOVE_REPLICA, bool(delete) and (ours or (half is None and _is_our_replica(picture, view)))),
    )
    return tuple(Step(name, view.name) for name, due in steps if due)


def _removal(picture: Picture) -> tuple[str, ...]:
    delete = picture.policy is not None and picture.policy.replica_on_disable == "Delete"
    return (Verb.REMOVE_REPLICA,) if delete else ()


def _holds(picture: Picture, half: Half, view: SiteView) -> bool:
    """Whether a site holds a half of ours, or was commanded to make one and has not been told to give it up."""
    if isinstance(half, Relation):
        return picture.claim(half) == "Ours"
    ledger = picture.ledger(view)
    return ledger.epoch > ledger.released_epoch and picture.owns(ledger)


def _is_our_replica(picture: Picture, view: SiteView) -> bool:
    """Whether the machine that is left over was a replica of ours: the site remembers, by epoch and owner."""
    machine, ledger = view.vms.get(picture.vm_id), picture.ledger(view)
    ours = ledger.owner is not None and picture.owns(ledger) and ledger.epoch > 0
    return machine is not None and machine.role == "Replica" and ours


def _view(picture: Picture, step: Step) -> SiteView | None:
    source, target = picture.world.source, picture.world.target
    return source if step.site == source.name else target if target and step.site == target.name else None


def _carry_out(picture: Picture, step: Step) -> Plan:
    view = _view(picture, step)
    if view is None:
        return NOTHING
    if step.name == RELEASE_ADDRESSES:
        return Plan(release(picture.vm_id, view), due=deadline(picture), waiting=(_WHY, f"{step.label}."))
    half = view.half(picture.vm_id)
    state = half.state if isinstance(half, Relation) else "Disabled"
    arguments = _arguments(step, half)
    made = order(
        picture,
        view,
        Verb(step.name),
        arguments,
        expects=(state,),
        why=(_WHY, f"{step.label}."),
        epoch=max(picture.commanded, 1),
    )
    return Plan(made.actions, made.due or deadline(picture), made.waiting)


def _arguments(step: Step, half: Half) -> Removal | Nothing | StopTestFailover:
    if step.name == Verb.DISABLE_REPLICATION:
        return Removal()
    test = half.test_vm if isinstance(half, Relation) else None
    return StopTestFailover(owner=test.owner) if test and step.name == Verb.STOP_TEST_FAILOVER else Nothing()


def _leave(picture: Picture, steps: tuple[Step, ...]) -> Plan:
    """Past the deadline: what is left is written down where it will be found, then the object may go."""
    missing = [stone for stone in tombstones(picture, steps) if stone.id not in picture.world.tombstones]
    if missing:
        return Plan(tuple(missing), waiting=(_WHY, "The deadline has passed: the steps left are being recorded."))
    return Plan((RemoveFinalizer(RELEASE),), waiting=(_WHY, "The deadline has passed; the steps left are recorded."))


def tombstones(picture: Picture, steps: tuple[Step, ...]) -> tuple[LeaveTombstone, ...]:
    """One for each site that owes something. Without the VM's id there is nothing that a sweep could look for."""
    vm_id = picture.vm_id or picture.world.known_vm_id
    sites = {step.site: None for step in steps if _view(picture, step) is not None}
    return tuple(_tombstone(picture, vm_id, site, steps) for site in sites) if vm_id else ()


def _tombstone(picture: Picture, vm_id: str, site: str, steps: tuple[Step, ...]) -> LeaveTombstone:
    wish = TombstoneWish(
        fence=NO_FENCE,
        vault=picture.world.identity.vault,
        vm_id=vm_id,
        epoch=picture.commanded,
        steps=tuple(str(step.name) for step in steps if step.site == site),
    )
    return LeaveTombstone(site, f"{vm_id}.{picture.commanded}.{site}", wish)
