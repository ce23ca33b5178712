"""What is to be seen of a test: four conditions, one word, the steps, and each VM with its checks."""

from secondsite.api.condition import CommonReason
from secondsite.api.testfailover_status import TestFailoverCondition as Type
from secondsite.api.testfailover_status import TestFailoverReason as Reason
from secondsite.api.testfailover_status import TestFailoverState as State
from secondsite.plan.actions import Finding, Plan, Report, Trouble
from secondsite.plan.conditions import finding, named
from secondsite.plan.observed import TestWorld
from secondsite.plan.testfailover.cleanup import Debt, deadline, debts
from secondsite.plan.testfailover.course import Course, course
from secondsite.plan.testfailover.details import status_of
from secondsite.plan.testfailover.obstacles import Obstacle, obstacle
from secondsite.plan.testfailover.planner import finished, wants_cleanup

_MOST_BLOCKERS = 3


def judge(world: TestWorld, plan: Plan, troubles: tuple[Trouble, ...]) -> Report:
    """The report of this turn. What has ended stays reported as it was."""
    if finished(world) and not world.test.deleting:
        return _as_before(world, plan)
    how = course(world)
    way = obstacle(world, how) if not how.begun else None
    cleaning = wants_cleanup(world, how)
    owed = debts(world, how) if cleaning else ()
    gone = cleaning and not owed
    findings = (
        _ready(world, how, way, troubles),
        _checks_passed(world, how, cleaning=cleaning),
        _cleaned_up(world, how, owed, troubles, cleaning=cleaning),
        _complete(world, how, gone=gone),
    )
    state = _state(how, troubles, cleaning=cleaning, gone=gone)
    return Report(findings=findings, status=status_of(world, how, state, gone=gone), due=plan.due)


def _as_before(world: TestWorld, plan: Plan) -> Report:
    status = {name: value for name, value in world.status.items() if name not in ("conditions", "observedGeneration")}
    return Report(findings=_conditions(world), status=status, due=plan.due)


def _conditions(world: TestWorld) -> tuple[Finding, ...]:
    """What we said last."""
    found = world.status.get("conditions")
    return tuple(
        Finding(str(c["type"]), str(c["status"]), str(c["reason"]), str(c.get("message", "")))
        for c in (found if isinstance(found, list | tuple) else ())
    )


def _earlier(world: TestWorld, kind: Type) -> Finding | None:
    """What was said of a test VM that failed: it is gone now, and its site remembers no more than that."""
    said = (found for found in _conditions(world) if found.type == kind)
    return next((found for found in said if found.reason == Reason.TEST_VM_FAILED), None)


def _again(world: TestWorld, how: Course) -> str:
    """Said where the result is that of an earlier object: the same name and spec are the same test."""
    ends = [op.end_time - member.target.skew if op.end_time else None for member in how.members for op in member.starts]
    known = [end for end in ends if end is not None]
    if not known or len(known) < len(ends) or max(known) >= world.test.creation_timestamp:
        return ""
    ran = f"{max(known):%Y-%m-%d %H:%M} UTC"
    return f". This test (same name and spec) already ran on {ran}: give it another name to run it again"


def _ready(world: TestWorld, how: Course, way: Obstacle | None, troubles: tuple[Trouble, ...]) -> Finding:
    if way is not None:
        return finding(Type.READY, False if way.known else None, way.reason, way.message)
    failed = next((member for member in how.members if member.failure), None)
    if failed is not None:
        text = f"The test VM of {failed.name} failed: {failed.failure}{_again(world, how)}"
        return finding(Type.READY, False, Reason.TEST_VM_FAILED, text)
    if how.lost:
        return finding(
            Type.READY, False, Reason.PROTECTED_VM_NOT_FOUND, f"{named(how.lost)} vanished while the test was under way"
        )
    cut_off = [member.name for member in how.members if member.cut_off]
    if cut_off:
        message = f"The test VM of {named(cut_off)} was cleaned up before its checks had ended{_again(world, how)}"
        return _earlier(world, Type.READY) or finding(Type.READY, False, Reason.NOT_STARTED, message)
    if how.ended:
        message = f"The test VMs ran and every check has ended{_again(world, how)}"
        return finding(Type.READY, True, Reason.TEST_VMS_RUNNING, message)
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
    if how.ended and not any(member.cut_off for member in how.members):
        return finding(Type.CHECKS_PASSED, False, Reason.TEST_VM_FAILED, "Not every test VM could be made, or ran")
    if how.unknown and how.begun:
        return finding(Type.CHECKS_PASSED, None, Reason.OUTCOME_UNKNOWN, f"{named(how.unknown)} cannot be asked about")
    if cleaning:
        message = "Cleaned up before every check had ended"
        earlier = _earlier(world, Type.CHECKS_PASSED)
        return earlier or finding(Type.CHECKS_PASSED, False, Reason.NOT_STARTED, message)
    passed = sum(check.passed for _, check in checks)
    return finding(Type.CHECKS_PASSED, None, Reason.CHECKS_PENDING, f"{passed} of {len(checks)} checks have passed")


def _cleaned_up(
    world: TestWorld, how: Course, owed: tuple[Debt, ...], troubles: tuple[Trouble, ...], *, cleaning: bool
) -> Finding:
    if not cleaning:
        reason = Reason.WAITING_FOR_CLEANUP if how.ended else Reason.NOT_STARTED
        return finding(Type.CLEANED_UP, False, reason, "Clean-up comes after the checks" if not how.ended else "")
    if not owed:
        return finding(Type.CLEANED_UP, True, Reason.CLEANED_UP, "Nothing of the test is left at the target")
    until = _until(world)
    blocked = [debt for debt in owed if debt.blocker]
    if blocked:
        unknown = any(not debt.view.known for debt in blocked)
        why = CommonReason.SITE_UNREACHABLE if unknown else Reason.CLEANING_UP
        message = " ".join(debt.blocker for debt in blocked[:_MOST_BLOCKERS])
        return finding(Type.CLEANED_UP, None if unknown else False, why, f"{message}{until}")
    for trouble in troubles:
        message = f"{trouble.message} {trouble.remedy}".strip()
        return finding(Type.CLEANED_UP, False, Reason.CLEANUP_FAILED, f"{message}{until}")
    return finding(Type.CLEANED_UP, False, Reason.CLEANING_UP, f"{named(d.label for d in owed)}: being removed{until}")


def _until(world: TestWorld) -> str:
    end = deadline(world)
    if end is None:
        return ""
    if end <= world.now:
        return " The deadline of the deletion has passed: what is left is being recorded"
    return f" Until {end:%Y-%m-%d %H:%M} UTC; then what is left is recorded in a tombstone, and this object goes"


def _complete(world: TestWorld, how: Course, *, gone: bool) -> Finding:
    if not gone:
        return finding(Type.COMPLETE, False, Reason.RUNNING, "The test is complete when it is cleaned up")
    if how.passed:
        message = f"Every VM started, every check passed, all cleaned up{_again(world, how)}"
        return finding(Type.COMPLETE, True, Reason.SUCCEEDED, message)
    message = f"See ChecksPassed and Ready for what failed; all cleaned up{_again(world, how)}"
    return finding(Type.COMPLETE, True, Reason.FAILED, message)


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
