"""The particulars of a test's status: steps, VMs, checks, and the two figures that people ask for."""

from datetime import datetime
from typing import Any, Literal, cast

from secondsite.api.condition import Step, StepState
from secondsite.api.testfailover_status import (
    CheckResult,
    TestedVM,
    TestFailoverState,
    TestFailoverStatus,
    UsedRecoveryPoint,
    VMAdapter,
)
from secondsite.plan.observed import TestWorld
from secondsite.plan.testfailover.progress import CheckProgress, Course, Progress

_MOST_STEPS = 64
_STEP_STATES: dict[str, StepState] = {"Interrupted": "Unknown", "Abandoned": "Unknown"}
_VERDICTS: dict[str, Literal["Pending", "Passed", "Failed", "Unknown"]] = {
    "Running": "Pending",
    "Interrupted": "Pending",
    "Succeeded": "Passed",
    "Failed": "Failed",
    "Abandoned": "Unknown",
}


def status_of(world: TestWorld, how: Course, state: TestFailoverState, *, gone: bool) -> dict[str, Any]:
    """Status without conditions, as the API has it."""
    before = {str(vm["name"]): vm for vm in _listed(world.status.get("vms"))}
    status = TestFailoverStatus(
        state=state,
        steps=_steps(how, gone=gone)[:_MOST_STEPS],
        recovery_time_seconds=_recovery_time(how),
        recovery_point_age_seconds=_point_age(how, before),
    ).manifest()
    status.pop("conditions", None)
    vms = {member.name: _vm(member, before.get(member.name, {})) for member in how.members}
    shown = [vms.get(name) or before.get(name) or {"name": name} for name in world.members]
    return {**status, "vms": shown[:20]}


def _steps(how: Course, *, gone: bool) -> tuple[Step, ...]:
    steps = [step for member in how.members for step in _steps_of(member)]
    if gone:
        steps.append(Step(name="CleanUp", state="Succeeded"))
    return tuple(steps)


def _steps_of(member: Progress) -> list[Step]:
    skew = member.target.skew
    steps = []
    for operation in member.starts[-1:]:
        state = _STEP_STATES.get(operation.state, cast("StepState", operation.state))
        steps.append(
            Step(
                name=f"StartTestFailover {member.name}"[:64],
                state=state,
                message=operation.message or None,
                start_time=operation.start_time - skew,
                end_time=operation.end_time - skew if operation.end_time is not None else None,
            )
        )
    return steps


def _vm(member: Progress, before: dict[str, Any]) -> dict[str, Any]:
    """One VM; what the site has cleaned away is carried on from what we reported while it was there."""
    test_vm = member.test_vm
    adapters: tuple[VMAdapter, ...] = ()
    vm = member.target.vms.get(test_vm.id) if test_vm is not None else None
    if vm is not None:
        adapters = tuple(
            VMAdapter(name=adapter.name, network=adapter.network or None, addresses=adapter.addresses[:16])
            for adapter in vm.adapters[:12]
        )
    point = test_vm.recovery_point if test_vm is not None else None
    now = TestedVM(
        name=member.name,
        test_vm=test_vm.name if test_vm is not None else None,
        host=test_vm.host if test_vm is not None else None,
        recovery_point=UsedRecoveryPoint(id=point.id, source_time=point.source_time, type=point.type)
        if point is not None
        else None,
        adapters=adapters,
        checks=tuple(_check(member, check) for check in member.checks),
    ).manifest()
    known = {name: value for name, value in now.items() if value not in ([], ())}
    return {**before, **known}


def _check(member: Progress, progress: CheckProgress) -> CheckResult:
    operation = progress.operation
    if operation is None:
        return CheckResult(name=progress.check.name, verdict="Pending")
    ended = operation.end_time - member.target.skew if operation.end_time is not None else None
    return CheckResult(
        name=progress.check.name,
        verdict=_VERDICTS[operation.state],
        message=(operation.message or operation.result.get("message", ""))[:512] or None,
        time=ended if progress.ended else None,
    )


def _recovery_time(how: Course) -> int | None:
    start, end = how.start_time(), how.end_time()
    if start is None or end is None or not how.passed:
        return None
    return max(0, round((end - start).total_seconds()))


def _point_age(how: Course, before: dict[str, dict[str, Any]]) -> int | None:
    start = how.start_time()
    times = [time for member in how.members if (time := _point_time(member, before.get(member.name, {}))) is not None]
    if start is None or not times:
        return None
    return max(0, round((start - min(times)).total_seconds()))


def _point_time(member: Progress, before: dict[str, Any]) -> datetime | None:
    """Source time of the point in use, on the operator's clock."""
    if member.test_vm is not None and member.test_vm.recovery_point is not None:
        return member.test_vm.recovery_point.source_time - member.world.source.skew
    reported = before.get("recoveryPoint", {}).get("sourceTime")
    return datetime.fromisoformat(str(reported)) if reported else None


def _listed(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list | tuple) else []
