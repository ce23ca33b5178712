"""What a ProtectedVM does next: the chain of everything that can decide about it."""

from dataclasses import replace

from secondsite.api.condition import CommonReason
from secondsite.api.protectedvm_reasons import ProtectedVMReason as R
from secondsite.plan.actions import NOTHING, Plan
from secondsite.plan.conditions import first
from secondsite.plan.finalizers import RELEASE
from secondsite.plan.network.reservations import reserve
from secondsite.plan.observed import SiteView, VMWorld
from secondsite.plan.protectedvm import delete, enable, ownership, readiness, replication, settings
from secondsite.plan.protectedvm.orders import running, wait
from secondsite.plan.protectedvm.picture import Picture


def plan(world: VMWorld) -> Plan:
    """The next step for one ProtectedVM. At most one command: observe again before the next."""
    picture = Picture(world)
    if world.vm.deleting:
        return delete.plan(picture)
    chosen = first(CHAIN, picture) or NOTHING
    return _with_addresses(picture, chosen)


def _identity(picture: Picture) -> Plan | None:
    """Without the vault's id nobody can tell which relations are ours."""
    if picture.world.identity.vault:
        return None
    found = readiness.problems(picture)
    waiting = (found[0].code, found[0].sentence) if found and picture.world.vault is None else None
    return Plan(waiting=waiting or (str(CommonReason.PENDING), "The vault has no certificate authority yet."))


def _rival(picture: Picture) -> Plan | None:
    if not picture.world.rival:
        return None
    return wait(R.ALREADY_PROTECTED, f"ProtectedVM '{picture.world.rival}' is older and protects the same VM.")


def _unresolved(picture: Picture) -> Plan | None:
    if picture.vm_id:
        return None
    found = readiness.problems(picture)
    return wait(found[0].code, found[0].sentence)


def _busy(picture: Picture) -> Plan | None:
    busy = running(picture)
    if busy is None:
        return None
    site, operation = busy
    return wait(R.ENABLING if picture.source is None else R.APPLYING, f"{operation.verb} is running at site {site}.")


def _source_silent(picture: Picture) -> Plan | None:
    return _silent(picture.world.source) or _paused(picture.world.source)


def _target_silent(picture: Picture) -> Plan | None:
    view = picture.world.target
    if view is not None:
        return _silent(view) or _paused(view)
    found = readiness.problems(picture)
    return wait(found[0].code, found[0].sentence) if found else wait(R.VALIDATING, "The target site is not known.")


def _silent(view: SiteView) -> Plan | None:
    if view.known:
        return None
    what = view.contact.message or "it has not told everything since the operator started"
    return wait(CommonReason.SITE_UNREACHABLE, f"Site {view.name} cannot be asked: {what}.")


def _paused(view: SiteView) -> Plan | None:
    return (
        wait(R.SITE_NOT_READY, f"VMMSite '{view.name}' is suspended: no command is sent to it.")
        if view.suspended
        else None
    )


CHAIN = (
    _identity,
    _rival,  # the older object is served
    _unresolved,  # which machine is meant
    ownership.foreign,  # never touch what is not ours
    _busy,
    _source_silent,
    ownership.other_roles,
    replication.suspend,  # needs the source only: a silent target does not keep people from it
    _target_silent,
    ownership.other_peers,
    ownership.left_over,
    ownership.removed,
    *enable.STEPS,
    *replication.STEPS,
    *settings.STEPS,
)


def _with_addresses(picture: Picture, chosen: Plan) -> Plan:
    """Addresses are reserved beside whatever else is done: they hold nothing up, and nothing holds them up."""
    target = picture.world.target
    if target is None or target.suspended or picture.adapters is None or not _may_reserve(picture, chosen):
        return chosen
    steps = reserve(picture.vm_id, target, picture.adapters)
    return replace(chosen, actions=(*chosen.actions, *steps)) if steps else chosen


def _may_reserve(picture: Picture, chosen: Plan) -> bool:
    """Not before the object has its finalizer, nor where the chain has refused to act."""
    held = RELEASE in picture.world.vm.finalizers
    refused = chosen.waiting is not None and not chosen.actions
    return held and not refused
