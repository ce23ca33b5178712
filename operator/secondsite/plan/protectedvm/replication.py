"""Suspended or running, as the spec says; out of an error as soon as it may help."""

from datetime import timedelta

from secondsite.api.protectedvm_reasons import ProtectedVMReason as R
from secondsite.plan.actions import Plan
from secondsite.plan.protectedvm.orders import ended, last_ended, order, scaled, wait
from secondsite.plan.protectedvm.picture import Picture
from secondsite.wire.arguments import Nothing
from secondsite.wire.facts import Relation
from secondsite.wire.operations import Verb

# The pause of Hyper-V Replica's own retries.
RETRY = timedelta(minutes=5)
RESYNCHRONIZATION = frozenset({"WaitingForStartResynchronize", "Resynchronizing", "ResynchronizeSuspended"})


def suspend(picture: Picture) -> Plan | None:
    """People want it suspended: the source stops sending, and goes on tracking."""
    source = picture.source
    if picture.spec.replication != "Suspended" or not isinstance(source, Relation) or source.state != "Replicating":
        return None
    why = (R.SUSPENDED_BY_USER, "Replication is being suspended.")
    return order(picture, picture.world.source, Verb.SUSPEND, Nothing(), expects=("Replicating",), why=why)


def resume_target(picture: Picture) -> Plan | None:
    """A suspended replica makes the source fail: it goes first."""
    target, view = picture.target, picture.world.target
    if picture.spec.replication != "Enabled" or view is None or not _is(target, "Suspended"):
        return None
    why = (R.SUSPENDED_AT_SITE, f"Replication was suspended at site {view.name} and is being resumed.")
    return order(picture, view, Verb.RESUME, Nothing(), expects=("Suspended",), why=why)


def resume_source(picture: Picture) -> Plan | None:
    """The spec says Enabled, whoever suspended it."""
    if picture.spec.replication != "Enabled" or not _is(picture.source, "Suspended"):
        return None
    view = picture.world.source
    why = (R.SUSPENDED_AT_SITE, f"Replication is suspended at site {view.name} and is being resumed.")
    return order(picture, view, Verb.RESUME, Nothing(), expects=("Suspended",), why=why)


def retry(picture: Picture) -> Plan | None:
    """Out of Error only a command leads: at once the first time, then after a pause."""
    if picture.spec.replication != "Enabled" or not _is(picture.source, "Error"):
        return None
    view = picture.world.source
    last = last_ended(view, picture.vm_id, Verb.RESUME)
    due = ended(last, view) + scaled(view, RETRY) if last else None
    if due is not None and due > picture.world.now:
        message = f"Replication failed at site {view.name}; it is resumed after a pause."
        return wait(R.REPLICATION_ERROR, message, due)
    why = (R.REPLICATION_ERROR, f"Replication failed at site {view.name} and is being resumed.")
    return order(picture, view, Verb.RESUME, Nothing(), expects=("Error",), why=why, again=timedelta(0))


def resynchronize(picture: Picture) -> Plan | None:
    """The site's own business, by the policy's window, or a person's there."""
    source = picture.source
    if not isinstance(source, Relation) or source.state not in RESYNCHRONIZATION:
        return None
    return wait(*resynchronization(source, picture.site_names[0]))


def resynchronization(source: Relation, site: str) -> tuple[R, str]:
    """Why nothing is sent meanwhile, and what makes it go on."""
    if source.state == "Resynchronizing":
        percent = "" if source.resynchronize_percent is None else f" ({source.resynchronize_percent} %)"
        return R.RESYNCHRONIZING, f"Site {site} compares source and replica{percent}; nothing is sent until it is done."
    lost = f"Site {site} does not know any more what changed, and sends nothing until source and replica are compared"
    if source.state == "ResynchronizeSuspended":
        return R.RESYNCHRONIZATION_REQUIRED, f"{lost}; that was suspended. Run Resume-VMReplication there."
    settings = source.settings
    if settings is None or not settings.auto_resynchronize:
        return R.RESYNCHRONIZATION_REQUIRED, f"{lost}. Run Resume-VMReplication -Resynchronize there."
    window = f"{settings.resynchronize_start} to {settings.resynchronize_end} {settings.resynchronize_time_zone}"
    message = f"{lost}. It begins by itself from {window}; to begin now, run Resume-VMReplication -Resynchronize there."
    return R.RESYNCHRONIZATION_REQUIRED, message


STEPS = (
    resume_target,
    resume_source,
    resynchronize,
    retry,
)


def _is(half: object, state: str) -> bool:
    return isinstance(half, Relation) and half.state == state
