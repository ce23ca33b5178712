"""The condition CoverageComplete: whether every disk of the VM is replicated, or was left out on purpose."""

from secondsite.api.condition import CommonReason
from secondsite.api.protectedvm_reasons import ProtectedVMReason as R
from secondsite.api.protectedvm_status import ProtectedVMCondition
from secondsite.plan.actions import Finding
from secondsite.plan.conditions import finding, first, named
from secondsite.plan.protectedvm import desired
from secondsite.plan.protectedvm.readiness import place
from secondsite.plan.protectedvm.view import View

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
    left = [disk for disk in desired.disks(view.picture.spec, machine) if desired.slot(disk) not in replicated]
    if not left:
        return None
    message = (
        f"{named(place(disk) for disk in left)} came later and cannot be added by this version: "
        "delete this object and create it again, or add it to spec.excludedDisks."
    )
    return finding(TYPE, False, CommonReason.NOT_IMPLEMENTED, f"Not replicated: {message}")


def _excluded(view: View) -> Finding | None:
    machine = view.picture.machine
    out = desired.excluded(view.picture.spec)
    left = [place(disk.slot) for disk in machine.disks if desired.slot(disk.slot) in out] if machine else []
    return finding(TYPE, True, R.DISKS_EXCLUDED, f"Left out by spec.excludedDisks: {named(left)}.") if left else None


_CHAIN = (_silent, _not_enabled, _machine_gone, _missing, _excluded)
