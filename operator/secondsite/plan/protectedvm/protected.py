"""The condition Protected: True while the VM could be recovered now and its changes are being replicated."""

from secondsite.api.condition import CommonReason
from secondsite.api.protectedvm_reasons import ProtectedVMReason as R
from secondsite.api.protectedvm_status import ProtectedVMCondition
from secondsite.plan.actions import Finding
from secondsite.plan.conditions import finding, first
from secondsite.plan.protectedvm import ownership, readiness
from secondsite.plan.protectedvm.problems import Problem
from secondsite.plan.protectedvm.replication import RESYNCHRONIZATION, resynchronization
from secondsite.plan.protectedvm.view import View

TYPE = ProtectedVMCondition.PROTECTED


def protected(view: View) -> Finding:
    """The first check that has something to say; silence of all means that replication runs."""
    return first(_CHAIN, view) or finding(
        TYPE, True, R.REPLICATING, f"Recovery points arrive at site {view.picture.site_names[1]}."
    )


def no(reason: str, message: str) -> Finding:
    return finding(TYPE, False, reason, message)


def _deleting(view: View) -> Finding | None:
    if not view.world.vm.deleting:
        return None
    return no(CommonReason.DELETING, view.plan.waiting[1] if view.plan.waiting else "Protection is being given up.")


def _silent(view: View) -> Finding | None:
    if view.silent and (view.source_unknown or view.target_unknown):
        return finding(TYPE, None, CommonReason.SITE_UNREACHABLE, view.silence)
    return None


def _rival(view: View) -> Finding | None:
    name = view.world.rival
    return no(R.ALREADY_PROTECTED, f"ProtectedVM '{name}' is older and protects the same VM.") if name else None


def _nowhere(view: View) -> Finding | None:
    """It replicates, and nothing says to which site."""
    if view.source is None or view.world.target is not None:
        return None
    message = f"The VM replicates to {view.source.peer_site}, and no policy says how that site can be asked."
    return finding(TYPE, None, view.plan.waiting[0] if view.plan.waiting else R.POLICY_NOT_FOUND, message)


def _not_enabled(view: View) -> Finding | None:
    if view.source is not None and view.picture.target is not None:
        return None
    return _troubled(view) or _waiting(view) or no(R.VALIDATING, "Replication is not enabled yet.")


def _troubled(view: View) -> Finding | None:
    """What went wrong with the step that is due says more than that it is due."""
    for trouble in view.troubles:
        if trouble.kind == "Queued":
            return no(R.WAITING_FOR_SLOT, trouble.message)
        if trouble.kind in ("Refused", "SiteRefused"):
            return no(R.OPERATION_FAILED, f"{trouble.message} {trouble.remedy}".strip())
        if trouble.kind == "Bug":
            return no(CommonReason.INTERNAL_ERROR, trouble.message)
    return None


def _waiting(view: View) -> Finding | None:
    return no(*view.plan.waiting) if view.plan.waiting else None


def _refused(view: View) -> Finding | None:
    """What the plan will not touch."""
    for check in (ownership.foreign, ownership.other_roles, ownership.other_peers, ownership.removed):
        refusal = check(view.picture)
        if refusal is not None and refusal.waiting is not None:
            return no(*refusal.waiting)
    return None


def _starting(view: View) -> Finding | None:
    state = view.source.state if view.source else ""
    if state == "ReadyForInitialReplication":
        return _troubled(view) or _waiting(view) or no(R.ENABLING, "Initial replication has not started yet.")
    if state == "InitialReplicationInProgress":
        site = view.picture.site_names[1]
        return no(R.INITIAL_REPLICATION_RUNNING, f"The initial copy is on its way to site {site}.")
    if state == "WaitingForInitialReplication":
        site = view.picture.site_names[1]
        return no(R.WAITING_FOR_MEDIA, f"The initial copy was exported to media and has to be imported at site {site}.")
    if state == "WaitingForUpdateCompletion":
        return no(R.APPLYING, f"Site {view.picture.site_names[0]} changes which disks are replicated.")
    return None


def _resynchronizing(view: View) -> Finding | None:
    if view.source is None or view.source.state not in RESYNCHRONIZATION:
        return None
    return no(*resynchronization(view.source, view.picture.site_names[0]))


def _failed(view: View) -> Finding | None:
    for half, site in zip((view.source, view.target), view.picture.site_names, strict=True):
        if half is not None and half.state in ("Error", "UpdateError", "Unknown"):
            never = view.target is not None and view.target.newest_point is None
            reason = R.INITIAL_REPLICATION_FAILED if never else R.REPLICATION_ERROR
            return no(reason, f"Replication has failed at site {site}: {half.message or half.state}")
    return None


def _suspended(view: View) -> Finding | None:
    for half, site in zip((view.source, view.target), view.picture.site_names, strict=True):
        if half is not None and half.state == "Suspended":
            if view.picture.spec.replication == "Suspended":
                return no(R.SUSPENDED_BY_USER, "Replication is suspended, as spec.replication says.")
            return no(R.SUSPENDED_AT_SITE, f"Replication is suspended at site {site} and is being resumed.")
    return None


def _not_running(view: View) -> Finding | None:
    for half, site in zip((view.source, view.target), view.picture.site_names, strict=True):
        if half is not None and half.state != "Replicating":
            return no(R.REPLICATION_ERROR, f"Site {site} says {half.state}, which is not Replicating.")
    return None


def _pointless(view: View) -> Finding | None:
    if view.target is None or view.target.newest_point is not None:
        return None
    return no(R.NO_RECOVERY_POINT, f"Site {view.picture.site_names[1]} has no recovery point yet.")


def _critical(view: View) -> Finding | None:
    for half, site in zip((view.source, view.target), view.picture.site_names, strict=True):
        if half is not None and half.health == "Critical":
            return no(R.REPLICATION_CRITICAL, f"Site {site} calls the replication critical: {half.message}")
    return None


_CHAIN = (
    _deleting,
    _rival,
    _silent,
    _nowhere,
    _refused,
    _not_enabled,
    _starting,
    _resynchronizing,
    _failed,
    _suspended,
    _not_running,
    _pointless,
    _critical,
)


def obstacles(view: View) -> tuple[Problem, ...]:
    """Everything that keeps replication from being enabled; nothing once it is."""
    enabled = view.source is not None or view.world.vm.deleting
    return () if enabled else readiness.problems(view.picture)
