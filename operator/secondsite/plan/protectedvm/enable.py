"""From nothing to a running initial replication, each step found by facts: what is half done is taken up again."""

from secondsite.api.protectedvm_reasons import ProtectedVMReason as R
from secondsite.plan.actions import AddFinalizer, Limit, Plan
from secondsite.plan.association import endpoint_of
from secondsite.plan.finalizers import RELEASE
from secondsite.plan.protectedvm import desired, readiness
from secondsite.plan.protectedvm.orders import last_ended, order, wait
from secondsite.plan.protectedvm.picture import Picture
from secondsite.plan.window import opening
from secondsite.wire.arguments import ConfigureReplica, EnableReplication, Endpoint, Nothing, PrepareReplica, Slot
from secondsite.wire.facts import DiskSlot, Relation
from secondsite.wire.operations import Verb

CONFIGURABLE = ("WaitingForInitialReplication", "Replicating", "Suspended")


def ready(picture: Picture) -> Plan | None:
    """Before the first command everything must be in order; afterwards the same problems are only reported."""
    if picture.source is not None:
        return None
    found = readiness.problems(picture)
    return wait(found[0].code, found[0].sentence) if found else None


def finalizer(picture: Picture) -> Plan | None:
    """No command before the object is sure to be asked when it goes."""
    if RELEASE in picture.world.vm.finalizers:
        return None
    return Plan(
        (AddFinalizer(RELEASE),), waiting=(R.VALIDATING, "Everything is in order; replication is enabled next.")
    )


def associated(picture: Picture) -> Plan | None:
    """Both sides of the pair of clouds are the policy's to prepare."""
    if isinstance(picture.source, Relation):
        return None
    world = picture.world
    sides = [view for view in (world.source, world.target) if view and world.association not in view.associations]
    if not sides and _endpoint(picture) is not None:
        return None
    name = world.policy.name if world.policy else ""
    waiting = sides[0].name if sides else picture.site_names[1]
    return wait(R.POLICY_NOT_READY, f"ReplicationPolicy '{name}' has not prepared site {waiting} yet.")


def prepare(picture: Picture) -> Plan | None:
    """Target: a place for the replica."""
    machine, target, pair = picture.machine, picture.world.target, picture.pair
    if (
        picture.source is not None
        or picture.target is not None
        or _prepared(picture)
        or machine is None
        or target is None
        or pair is None
    ):
        return None
    arguments = PrepareReplica(
        vm_name=machine.name,
        association=picture.world.association,
        peer_site=picture.world.source.name,
        owner=picture.owner,
        storage=desired.storage(picture.spec, pair, machine),
        host_group=picture.spec.target.host_group or "",
    )
    why = (R.ENABLING, f"Site {target.name} makes place for the replica.")
    return order(picture, target, Verb.PREPARE_REPLICA, arguments, expects=("Disabled",), why=why)


def enable(picture: Picture) -> Plan | None:
    """Source: the relation."""
    machine, endpoint, settings = picture.machine, _endpoint(picture), picture.settings
    if picture.source is not None or machine is None or endpoint is None or settings is None:
        return None
    arguments = EnableReplication(
        association=picture.world.association,
        peer_site=picture.site_names[1],
        owner=picture.owner,
        endpoint=endpoint,
        settings=settings,
        disks=[_slot(disk) for disk in desired.disks(picture.spec, machine)],
    )
    view = picture.world.source
    why = (R.ENABLING, f"Site {view.name} enables replication to site {picture.site_names[1]}.")
    return order(picture, view, Verb.ENABLE_REPLICATION, arguments, expects=("Disabled",), why=why)


def replica_seen(picture: Picture) -> Plan | None:
    """The target's half comes about by the source's command; it is seen a little later."""
    if picture.target is not None:
        return None
    return wait(R.ENABLING, f"Site {picture.site_names[1]} has not reported the replica yet.")


def configure(picture: Picture) -> Plan | None:
    """Target: adapters as planned, kept disconnected. What still waits for an address does not hold up the rest."""
    target, view, settings = picture.target, picture.world.target, picture.settings
    if not isinstance(target, Relation) or view is None or settings is None or target.state not in CONFIGURABLE:
        return None
    planned = picture.adapters
    if planned is None or _pending(picture) or desired.has_adapters(target, planned):
        return None
    arguments = ConfigureReplica(adapters=desired.adapter_plans(planned), settings=settings)
    why = (R.ENABLING, f"Site {view.name} configures the replica.")
    return order(picture, view, Verb.CONFIGURE_REPLICA, arguments, expects=CONFIGURABLE, why=why)


def configure_first(picture: Picture) -> Plan | None:
    """Before the first copy, once: a configuration that the site refuses must not keep the data from being copied."""
    source, view = picture.source, picture.world.target
    if not isinstance(source, Relation) or source.state != "ReadyForInitialReplication" or view is None:
        return None
    last = last_ended(view, picture.vm_id, Verb.CONFIGURE_REPLICA)
    refused = last is not None and last.state != "Succeeded" and last.epoch == picture.epoch
    return None if refused else configure(picture)


def start(picture: Picture) -> Plan | None:
    """Source: the first copy, when people, window and slots allow it."""
    source = picture.source
    if not isinstance(source, Relation) or source.state != "ReadyForInitialReplication":
        return None
    if picture.spec.replication == "Suspended":
        return wait(R.SUSPENDED_BY_USER, "Initial replication starts when spec.replication is Enabled.")
    opens = opening(picture.policy.initial_replication.window if picture.policy else None, picture.world.now)
    if opens is not None:
        return wait(R.WAITING_FOR_WINDOW, f"Initial replication may start at {opens:%Y-%m-%d %H:%M} UTC.", opens)
    return order(
        picture,
        picture.world.source,
        Verb.START_INITIAL_REPLICATION,
        Nothing(),
        expects=("ReadyForInitialReplication",),
        why=(R.ENABLING, "Initial replication starts."),
        limit=Limit.INITIAL_REPLICATIONS,
    )


STEPS = (
    ready,
    finalizer,
    associated,
    prepare,
    enable,
    replica_seen,
    configure_first,
    start,
)


def _endpoint(picture: Picture) -> Endpoint | None:
    target = picture.world.target
    return endpoint_of(target.associations.get(picture.world.association)) if target else None


def _slot(disk: DiskSlot) -> Slot:
    return Slot(
        controller_type=disk.controller_type,
        controller_number=disk.controller_number,
        controller_location=disk.controller_location,
    )


def _prepared(picture: Picture) -> bool:
    ledger = picture.ledger(picture.world.target)
    return ledger.epoch >= picture.epoch and picture.owns(ledger)


def _pending(picture: Picture) -> bool:
    return any(each.resolution == "Pending" for each in picture.adapters or ())
