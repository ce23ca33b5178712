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
from secondsite.plan.protectedvm.lag import POINT_TYPES
from secondsite.plan.testfailover.course import Course
from secondsite.plan.testfailover.progress import CheckProgress, Progress

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
        recovery_point_age_seconds=_point_age(how),
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
    """One VM, from the result of its start, which the site remembers longer than the test VM lives."""
    made = member.made
    now = TestedVM(
        name=member.name,
        test_vm=made.get("testVM"),
        host=made.get("host"),
        recovery_point=_point(made),
        adapters=_adapters(member, made.get("network", "")),
        checks=tuple(_check(member, check) for check in member.checks),
    ).manifest()
    known = {name: value for name, value in now.items() if value not in ([], ())}
    return {**before, **known}


def _adapters(member: Progress, network: str) -> tuple[VMAdapter, ...]:
    """The adapters of the test VM while it is there, as its site shows them."""
    vm = member.target.vms.get(member.test_vm.id) if member.test_vm is not None else None
    adapters = vm.adapters if vm is not None else ()
    return tuple(
        VMAdapter(name=adapter.name, network=adapter.network or network or None, addresses=adapter.addresses[:16])
        for adapter in adapters[:12]
    )


def _point(made: dict[str, str]) -> UsedRecoveryPoint | None:
    if "recoveryPointTime" not in made:
        return None
    kind = made.get("recoveryPointType", "")
    return UsedRecoveryPoint(
        id=made.get("recoveryPoint", ""),
        source_time=datetime.fromisoformat(made["recoveryPointTime"]),
        type=POINT_TYPES.get(kind, kind),
    )


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


def _point_age(how: Course) -> int | None:
    """Age of the oldest recovery point used, when the test began; both by the operator's clock."""
    start = how.start_time()
    points = [(point, member) for member in how.members if (point := _point(member.made)) is not None]
    if start is None or not points:
        return None
    oldest = min(point.source_time - member.world.source.skew for point, member in points)
    return max(0, round((start - oldest).total_seconds()))


def _listed(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list | tuple) else []
