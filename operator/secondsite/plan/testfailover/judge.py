"""What is to be seen of a test: four conditions, one word, the steps, and each VM with its checks."""

from secondsite.api.condition import CommonReason
from secondsite.api.testfailover_status import TestFailoverCondition as Type
from secondsite.api.testfailover_status import TestFailoverReason as Reason
from secondsite.api.testfailover_status import TestFailoverState as State
from secondsite.plan.actions import Finding, Plan, Report, Trouble
from secondsite.plan.conditions import finding, named
from secondsite.plan.observed import TestWorld
from secondsite.plan.testfailover.details import status_of
from secondsite.plan.testfailover.obstacles import Obstacle, obstacle
from secondsite.plan.testfailover.planner import cleaned_up, finished, wants_cleanup
from secondsite.plan.testfailover.progress import Course, course


def judge(world: TestWorld, plan: Plan, troubles: tuple[Trouble, ...]) -> Report:
    """The report of this turn. What has ended stays reported as it was."""
    if finished(world) and not world.test.deleting:
        return _as_before(world, plan)
    how = course(world)
    way = obstacle(world, how) if not how.begun else None
    cleaning = wants_cleanup(world, how)
    gone = cleaning and cleaned_up(world, how)
    findings = (
        _ready(how, way, troubles),
        _checks_passed(world, how, cleaning=cleaning),
        _cleaned_up(how, troubles, cleaning=cleaning, gone=gone),
        _complete(how, gone=gone),
    )
    state = _state(how, troubles, cleaning=cleaning, gone=gone)
    return Report(findings=findings, status=status_of(world, how, state, gone=gone), due=plan.due)


def _as_before(world: TestWorld, plan: Plan) -> Report:
    status = {name: value for name, value in world.status.items() if name not in ("conditions", "observedGeneration")}
    conditions = world.status.get("conditions")
    findings = tuple(
        Finding(str(c["type"]), str(c["status"]), str(c["reason"]), str(c.get("message", "")))
        for c in (conditions if isinstance(conditions, list | tuple) else ())
    )
    return Report(findings=findings, status=status, due=plan.due)


def _ready(how: Course, way: Obstacle | None, troubles: tuple[Trouble, ...]) -> Finding:
    if way is not None:
        return finding(Type.READY, False if way.known else None, way.reason, way.message)
    failed = [member for member in how.members if member.failure is not None]
    if failed:
        operation = failed[0].failure
        text = f"{operation.message} {operation.remedy}".strip() if operation is not None else ""
        return finding(Type.READY, False, Reason.TEST_VM_FAILED, f"The test VM of {failed[0].name} failed: {text}")
    if how.lost:
        return finding(
            Type.READY, False, Reason.PROTECTED_VM_NOT_FOUND, f"{named(how.lost)} vanished while the test was under way"
        )
    if how.ended:
        return finding(Type.READY, True, Reason.TEST_VMS_RUNNING, "The test VMs ran and every check has ended")
    if how.unknown:
        return finding(
            Type.READY, None, CommonReason.SITE_UNREACHABLE, f"The target of {named(how.unknown)} cannot be asked"
        )
    for trouble in troubles:
        reason = Reason.QUEUED if trouble.kind == "Queued" else CommonReason.SITE_REFUSED
        return finding(Type.READY, False, reason, f"{trouble.message} {trouble.remedy}".strip())
    if how.running:
        return finding(Type.READY, False, Reason.CHECKS_PENDING, "The test VMs run, the checks have not ended")
    return finding(Type.READY, False, Reason.PREPARING, "The test VMs are being made")


def _checks_passed(world: TestWorld, how: Course, *, cleaning: bool) -> Finding:
    checks = [(member.name, check) for member in how.members for check in member.checks]
    failed = [f"{check.check.name} of {vm}" for vm, check in checks if check.ended and not check.passed]
    if failed:
        return finding(Type.CHECKS_PASSED, False, Reason.CHECK_FAILED, f"Failed: {named(failed)}")
    if how.ended and how.passed:
        reason = Reason.CHECKS_PASSED if world.test.spec.checks else Reason.NO_CHECKS
        message = f"{len(checks)} checks passed" if checks else "The test VMs run; the test has no checks"
        return finding(Type.CHECKS_PASSED, True, reason, message)
    if how.ended:
        return finding(Type.CHECKS_PASSED, False, Reason.TEST_VM_FAILED, "Not every test VM could be made")
    if how.unknown and how.begun:
        return finding(Type.CHECKS_PASSED, None, Reason.OUTCOME_UNKNOWN, f"{named(how.unknown)} cannot be asked about")
    if cleaning:
        return finding(Type.CHECKS_PASSED, False, Reason.NOT_STARTED, "Cleaned up before every check had ended")
    passed = sum(check.passed for _, check in checks)
    return finding(Type.CHECKS_PASSED, None, Reason.CHECKS_PENDING, f"{passed} of {len(checks)} checks have passed")


def _cleaned_up(how: Course, troubles: tuple[Trouble, ...], *, cleaning: bool, gone: bool) -> Finding:
    if gone:
        return finding(Type.CLEANED_UP, True, Reason.CLEANED_UP, "Nothing of the test is left at the target")
    if not cleaning:
        reason = Reason.WAITING_FOR_CLEANUP if how.ended else Reason.NOT_STARTED
        return finding(Type.CLEANED_UP, False, reason, "Clean-up comes after the checks" if not how.ended else "")
    if how.unknown:
        return finding(Type.CLEANED_UP, None, CommonReason.SITE_UNREACHABLE, f"Waits for {named(how.unknown)}")
    for trouble in troubles:
        return finding(Type.CLEANED_UP, False, Reason.CLEANUP_FAILED, f"{trouble.message} {trouble.remedy}".strip())
    return finding(Type.CLEANED_UP, False, Reason.CLEANING_UP, "Test VMs and networks are being removed")


def _complete(how: Course, *, gone: bool) -> Finding:
    if not gone:
        return finding(Type.COMPLETE, False, Reason.RUNNING, "The test is complete when it is cleaned up")
    if how.passed:
        return finding(Type.COMPLETE, True, Reason.SUCCEEDED, "Every VM started, every check passed, all cleaned up")
    return finding(Type.COMPLETE, True, Reason.FAILED, "See ChecksPassed and Ready for what failed; all cleaned up")


def _state(how: Course, troubles: tuple[Trouble, ...], *, cleaning: bool, gone: bool) -> State:
    if gone:
        return State.SUCCEEDED if how.passed else State.FAILED
    if cleaning:
        return State.CLEANING_UP
    if how.ended:
        return State.WAITING_FOR_CLEANUP
    if how.running:
        return State.RUNNING
    if any(trouble.kind == "Queued" for trouble in troubles):
        return State.QUEUED
    return State.PREPARING if how.begun else State.PENDING
