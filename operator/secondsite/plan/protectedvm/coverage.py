"""The condition CoverageComplete: whether every disk of the VM is replicated, or was left out on purpose."""

from secondsite.api.condition import CommonReason
from secondsite.api.protectedvm_reasons import ProtectedVMReason as R
from secondsite.api.protectedvm_status import ProtectedVMCondition
from secondsite.plan.actions import Finding
from secondsite.plan.conditions import finding, first, named
from secondsite.plan.protectedvm import desired
from secondsite.plan.protectedvm.limits import place
from secondsite.plan.protectedvm.view import View
from secondsite.wire.limits import explain

TYPE = ProtectedVMCondition.COVERAGE_COMPLETE


def coverage(view: View) -> Finding:
    """The first check that has something to say."""
    return first(_CHAIN, view) or finding(TYPE, True, R.ALL_DISKS_REPLICATED, "All disks of the VM are replicated.")


def _silent(view: View) -> Finding | None:
    if view.source_unknown and view.silent:
        return finding(TYPE, None, CommonReason.SITE_UNREACHABLE, view.silence)
    return None


def _not_enabled(view: View) -> Finding | None:
    if view.source is not None:
        return None
    return finding(TYPE, False, R.NOT_ENABLED, "Replication is not enabled, so no disk is replicated.")


def _machine_gone(view: View) -> Finding | None:
    problem = view.picture.resolved.problem
    if view.picture.machine is not None or problem is None:
        return None
    return finding(TYPE, None if problem.unknown else False, problem.code, problem.sentence)


def _missing(view: View) -> Finding | None:
    machine, source = view.picture.machine, view.source
    if machine is None or source is None:
        return None
    replicated = {desired.slot(disk) for disk in source.disks}
    wanted = desired.disks(view.picture.spec, machine)
    left = {desired.slot(disk): disk for disk in wanted if desired.slot(disk) not in replicated}
    never = [disk for disk in machine.disks if disk.unsupported and desired.slot(disk.slot) in left]
    if never:
        message, remedy = explain(never[0].unsupported)
        text = f"Not replicated: {named(place(disk.slot) for disk in never)} cannot be: {message}. {remedy}"
        return finding(TYPE, False, R.DISK_NOT_REPLICATED, text)
    if not left:
        return None
    message = (
        f"{named(place(disk) for disk in left.values())} came later and cannot be added by this version: "
        "delete this object and create it again, or add it to spec.excludedDisks."
    )
    return finding(TYPE, False, CommonReason.NOT_IMPLEMENTED, f"Not replicated: {message}")


def _excluded(view: View) -> Finding | None:
    machine = view.picture.machine
    out = desired.excluded(view.picture.spec)
    left = [place(disk.slot) for disk in machine.disks if desired.slot(disk.slot) in out] if machine else []
    return finding(TYPE, True, R.DISKS_EXCLUDED, f"Left out by spec.excludedDisks: {named(left)}.") if left else None


_CHAIN = (_silent, _not_enabled, _machine_gone, _missing, _excluded)
