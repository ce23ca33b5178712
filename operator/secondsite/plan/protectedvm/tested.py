"""The condition TestFailoverCurrent: whether the VM passed a test lately enough."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from secondsite.api.protectedvm_reasons import ProtectedVMReason as R
from secondsite.api.protectedvm_status import LastTestFailover, ProtectedVMCondition
from secondsite.plan.actions import Finding
from secondsite.plan.conditions import finding
from secondsite.plan.protectedvm.view import View

TYPE = ProtectedVMCondition.TEST_FAILOVER_CURRENT


@dataclass(frozen=True, slots=True)
class Tested:
    """The condition, the test that it speaks of, and when it turns by itself."""

    finding: Finding
    last: LastTestFailover | None = None
    due: datetime | None = None


def tested(view: View) -> Tested:
    """How the last test ended, and how long ago."""
    last = _last(view)
    if last is None:
        return Tested(finding(TYPE, False, R.NEVER_TESTED, "No test failover of this VM has ended yet."))
    when = f"{last.time:%Y-%m-%d %H:%M} UTC"
    if last.result == "Failed":
        return Tested(finding(TYPE, False, R.TEST_FAILED, f"TestFailover '{last.name}' failed on {when}."), last)
    policy = view.picture.policy
    expiry = last.time + timedelta(days=policy.test_failover.max_age_days) if policy else None
    if expiry is not None and expiry <= view.now:
        message = f"The last test failover passed on {when}, longer ago than the policy allows."
        return Tested(finding(TYPE, False, R.TEST_OUTDATED, message), last)
    return Tested(finding(TYPE, True, R.TESTED, f"TestFailover '{last.name}' passed on {when}."), last, expiry)


def _last(view: View) -> LastTestFailover | None:
    test = view.world.last_test
    if test is not None:
        return LastTestFailover(name=test.name, time=test.time, result="Succeeded" if test.passed else "Failed")
    said = view.world.status.get("lastTestFailover")
    try:
        return None if said is None else LastTestFailover.model_validate(said)
    except ValueError:
        return None
