"""How far one VM of a test is, read from the facts of its target."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from secondsite.api.kind import Object
from secondsite.api.testfailover import TestFailoverSpec
from secondsite.api.testfailover_check import Check
from secondsite.plan.observed import SiteView, VMWorld
from secondsite.plan.testfailover.identity import check_intent, owner, start_intent, stop_intent
from secondsite.wire.facts import Operation, Relation, TestVM
from secondsite.wire.operations import Verb
from secondsite.wire.problems import CURE, Code, Cure

OFF_FOR = timedelta(minutes=10)
"""How long checks wait for a test VM that is Off."""
_MOST_ATTEMPTS = 5
_UNSUCCESSFUL = ("Failed", "Interrupted", "Abandoned")


@dataclass(frozen=True, slots=True)
class CheckProgress:
    """One check of one VM. `operation` is its latest attempt, None before the first."""

    check: Check
    operation: Operation | None

    @property
    def ended(self) -> bool:
        """Passed or failed; an interruption is neither."""
        return self.operation is not None and self.operation.state in ("Succeeded", "Failed", "Abandoned")

    @property
    def passed(self) -> bool:
        return self.operation is not None and self.operation.state == "Succeeded"


@dataclass(frozen=True, slots=True)
class Progress:
    """One VM of the test whose target answers. `replica` None: there is no replica of it."""

    name: str
    world: VMWorld
    target: SiteView
    replica: Relation | None
    starts: tuple[Operation, ...]
    checks: tuple[CheckProgress, ...]
    owner: str
    stopped: bool = False
    """Its clean-up has begun: we commanded it, and do nothing else to it any more."""

    @property
    def test_vm(self) -> TestVM | None:
        """The test VM, if it is ours."""
        found = self.replica.test_vm if self.replica is not None else None
        return found if found is not None and found.owner == self.owner else None

    @property
    def foreign_test_vm(self) -> TestVM | None:
        """A test VM that somebody else holds: there can be only one."""
        found = self.replica.test_vm if self.replica is not None else None
        return found if found is not None and found.owner != self.owner else None

    @property
    def started(self) -> bool:
        """The test VM was made, whether it is still there or not."""
        return any(op.state == "Succeeded" for op in self.starts)

    @property
    def made(self) -> dict[str, str]:
        """What the site said of the test VM when it had made it: its name, host, network, recovery point."""
        return next((op.result for op in reversed(self.starts) if op.state == "Succeeded"), {})

    @property
    def starting(self) -> bool:
        return any(op.state == "Running" for op in self.starts)

    @property
    def failure(self) -> str:
        """Why the test VM will not do; empty while it may."""
        if self.off:
            return f"it is Off, and has been for {OFF_FOR.seconds // 60} minutes in which its checks waited for it"
        return self._failed_start()

    def _failed_start(self) -> str:
        """The last attempt, where trying again is no use. One that was given up may succeed the next time."""
        ended = [op for op in self.starts if op.state in _UNSUCCESSFUL]
        if self.started or self.starting or not ended:
            return ""
        last = ended[-1]
        hopeless = last.state == "Failed" and _cure(last.code) is Cure.PERSON
        if not hopeless and len(ended) < _MOST_ATTEMPTS:
            return ""
        return f"{last.message or last.code or last.state} {last.remedy}".strip()

    @property
    def off(self) -> bool:
        """Whether checks have waited too long for the test VM to run."""
        limit = self.off_limit()
        return limit is not None and limit <= self.world.now

    def off_limit(self) -> datetime | None:
        """Until when a test VM that is Off may come up, by the operator's clock; None: nothing waits for that.

        It counts from the last thing that is known to have gone on: its start, or the end of a check.
        """
        if not self.started or self.test_vm is None or self.test_vm.state == "Running" or self._checking_or_checked():
            return None
        checks = [check.operation for check in self.checks if check.operation is not None]
        ends = [op.end_time for op in (*self.starts, *checks) if op.end_time is not None]
        return max(ends) - self.target.skew + OFF_FOR if ends else None

    def _checking_or_checked(self) -> bool:
        return all(check.ended for check in self.checks) or any(
            check.operation is not None and check.operation.state == "Running" for check in self.checks
        )

    @property
    def cut_off(self) -> bool:
        """Its clean-up began before every check had ended."""
        return self.stopped and not self._failed_start() and not all(check.ended for check in self.checks)

    @property
    def ended(self) -> bool:
        """All that was to be found out about this VM has been, or will not be."""
        if self.stopped or self.failure:
            return True
        return self.started and all(check.ended for check in self.checks)

    @property
    def passed(self) -> bool:
        return self.started and all(check.passed for check in self.checks)

    def end_time(self) -> datetime | None:
        """When it ended, by the operator's clock."""
        if self.off:
            return self.off_limit()
        operations = [check.operation for check in self.checks if check.operation is not None] or list(self.starts)
        times = [op.end_time for op in operations if op.end_time is not None]
        return max(times) - self.target.skew if times else None

    def start_time(self) -> datetime | None:
        """When its first attempt began, by the operator's clock."""
        first = min((op.start_time for op in self.starts), default=None)
        return first - self.target.skew if first is not None else None


def progress(
    test: Object[TestFailoverSpec], name: str, world: VMWorld, target: SiteView, replica: Relation | None
) -> Progress:
    """What the facts of its target say of one VM of the test."""
    vm_id = replica.vm_id if replica is not None else ""
    checks = tuple(
        CheckProgress(check, _last(target.ran(vm_id, check_intent(test, check.name))))
        for check in test.spec.checks
        if check.vm in (None, name)
    )
    starts = target.ran(vm_id, start_intent(test)) if vm_id else ()
    stops = target.operations.get(vm_id, ()) if vm_id else ()
    stopped = any(op.verb == Verb.STOP_TEST_FAILOVER and op.intent.startswith(stop_intent(test)) for op in stops)
    return Progress(name, world, target, replica, starts, checks, owner(test), stopped)


def _last(operations: tuple[Operation, ...]) -> Operation | None:
    return operations[-1] if operations else None


def _cure(code: str) -> Cure:
    return CURE[Code(code)] if code in set(Code) else Cure.PERSON
