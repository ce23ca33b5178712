"""The fields of a ProtectedVM's status, apart from its conditions."""

from collections.abc import Iterable, Mapping
from typing import Any

from secondsite.api.condition import Step
from secondsite.api.protectedvm_status import (
    Deletion,
    Half,
    Operation,
    PlannedAdapter,
    ProblemReport,
    ProtectedVMStatus,
    VMRequestsServed,
)
from secondsite.plan.network import adapters
from secondsite.plan.observed import SiteView
from secondsite.plan.protectedvm import delete, desired, lag
from secondsite.plan.protectedvm.orders import running
from secondsite.plan.protectedvm.problems import Problem
from secondsite.plan.protectedvm.view import View
from secondsite.wire import facts

VOLATILE = frozenset(
    {"lastRecoveryPoint", "recoveryPoints", "pendingBytes", "initialReplicationPercent", "rpoBudget", "operation"}
)
_NOT_OURS = frozenset({"conditions", "observedGeneration"})


def fields(view: View, **more: object) -> Mapping[str, Any]:
    """Everything that is known, in the API's spelling. What is absent is not named."""
    source, target = view.picture.site_names
    status = ProtectedVMStatus(
        active_site=_active(view),
        replica_site=_replica_site(view),
        vm_id=view.picture.vm_id or _said(view, "vmID") or view.world.known_vm_id or None,
        vm_name=_name(view),
        rpo_target_seconds=lag.rpo_target(view),
        policy_generation=_policy_generation(view),
        epoch=view.picture.commanded or None,
        primary=_half(source, view.source),
        replica=_half(target, view.target),
        recovery_points=lag.points(view),
        initial_replication_percent=_percent(view.source),
        pending_bytes=view.source.pending_bytes if view.source else None,
        rpo_budget=lag.budget(view),
        operation=_operation(view),
        network_adapters=tuple(map(_adapter, view.picture.adapters or ())),
        requests=_requests(view),
        deletion=_deletion(view),
    )
    whole = status.model_copy(update=more).manifest()
    return {name: value for name, value in whole.items() if name not in _NOT_OURS and value not in ([], {})}


def problem_reports(problems: Iterable[Problem]) -> tuple[ProblemReport, ...]:
    """As entries of `status.errors`."""
    return tuple(ProblemReport.model_validate(problem.entry()) for problem in problems)


def _said(view: View, name: str) -> str | None:
    value = view.world.status.get(name)
    return value if isinstance(value, str) else None


def _name(view: View) -> str | None:
    machine, half = view.picture.machine, view.source or view.target
    return (machine.name if machine else None) or (half.vm_name if half else None) or view.picture.spec.vm.name


def _active(view: View) -> str | None:
    """Where the VM runs: at the side that calls itself primary, else where the spec found it."""
    return view.picture.site_names[1] if view.target and view.target.mode == "Primary" else view.picture.site_names[0]


def _replica_site(view: View) -> str | None:
    source, target = view.picture.site_names
    return source if _active(view) == target else target or None


def _policy_generation(view: View) -> int | None:
    wanted, policy = view.picture.settings, view.world.policy
    halves = (view.source, view.target)
    same = wanted is not None and all(half is not None and desired.has_settings(half, wanted) for half in halves)
    return policy.generation if policy is not None and same else None


def _half(site: str, half: facts.Relation | None) -> Half | None:
    if half is None:
        return None
    reasons = half.health_reasons or None
    return Half(site=site, mode=half.mode, state=half.state, health=half.health, health_reasons=reasons)


def _percent(source: facts.Relation | None) -> int | None:
    """Of the initial copy, rounded down: 100 only when it is there."""
    if source is None or source.initial_total_bytes is None or source.initial_sent_bytes is None:
        return None
    if source.initial_total_bytes <= 0:
        return 100
    return max(0, min(100, 100 * source.initial_sent_bytes // source.initial_total_bytes))


def _operation(view: View) -> Operation | None:
    busy = running(view.picture)
    if busy is None:
        return None
    site, op = busy
    clock = _site(view, site)
    steps = tuple(Step(name=step.name, state=_STEP_STATES[step.state], message=step.message) for step in op.steps)
    start = op.start_time - clock.skew if clock else op.start_time
    return Operation(name=op.verb, start_time=start, steps=steps)


_STEP_STATES: Mapping[str, Any] = {
    "Pending": "Pending",
    "Running": "Running",
    "Succeeded": "Succeeded",
    "Failed": "Failed",
    "Interrupted": "Unknown",
    "Abandoned": "Unknown",
}


def _site(view: View, name: str) -> SiteView | None:
    views = (view.world.source, view.world.target)
    return next((each for each in views if each is not None and each.name == name), None)


def _adapter(planned: adapters.PlannedAdapter) -> PlannedAdapter:
    return PlannedAdapter(
        name=planned.adapter.name,
        mac_address=planned.adapter.mac_address,
        source_network=planned.adapter.network or None,
        source_addresses=planned.adapter.addresses,
        resolution=planned.resolution,
        mapping=planned.mapping or None,
        target_network=planned.network or None,
        target_subnet=planned.subnet or None,
        addresses=planned.addresses,
        gateway=planned.gateway or None,
        dns_servers=planned.dns_servers,
        test_network=planned.test_network or None,
        message=planned.message or None,
    )


def _requests(view: View) -> VMRequestsServed | None:
    served = dict(pair for half in (view.target, view.source) if half is not None for pair in half.served_requests)
    return VMRequestsServed.model_validate(served) if served else None


def _deletion(view: View) -> Deletion | None:
    if not view.world.vm.deleting:
        return None
    # Not as last heard: a deletion that waits for a silent site waits from the first moment on.
    steps = delete.owed(view.present)
    return Deletion(
        remaining=tuple(step.label for step in steps),
        blocked_by=(delete.blocker(view.present, steps) or _refusal(view)) if steps else None,
        deadline_time=delete.deadline(view.present),
    )


def _refusal(view: View) -> str | None:
    return next((each.message for each in view.troubles if each.kind in ("SiteRefused", "SiteUnreachable")), None)
