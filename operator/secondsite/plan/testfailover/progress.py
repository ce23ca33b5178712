"""How far a test is, read from the facts of the target: one `Progress` per VM, and what they come to together."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from secondsite.api.kind import Object
from secondsite.api.testfailover import TestFailoverSpec
from secondsite.api.testfailover_check import Check
from secondsite.plan.observed import UNKNOWN, SiteView, TestWorld, Unknown, VMWorld
from secondsite.plan.testfailover.identity import check_intent, owner, start_intent
from secondsite.wire.facts import Operation, Relation, TestVM
from secondsite.wire.problems import CURE, Code, Cure

FORCED_CLEANUP = timedelta(days=14)
_MOST_ATTEMPTS = 5


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
    def failure(self) -> Operation | None:
        """Why the test VM will not be: the last attempt, where trying again is no use."""
        failed = [op for op in self.starts if op.state == "Failed"]
        if self.started or self.starting or not failed:
            return None
        last = failed[-1]
        hopeless = _cure(last.code) is Cure.PERSON
        return last if hopeless or len(failed) >= _MOST_ATTEMPTS else None

    @property
    def ended(self) -> bool:
        """All that was to be found out about this VM has been."""
        return self.failure is not None or (self.started and all(check.ended for check in self.checks))

    @property
    def passed(self) -> bool:
        return self.started and all(check.passed for check in self.checks)

    def end_time(self) -> datetime | None:
        """When it ended, by the operator's clock."""
        operations = [check.operation for check in self.checks if check.operation is not None] or list(self.starts)
        times = [op.end_time for op in operations if op.end_time is not None]
        return max(times) - self.target.skew if times else None

    def start_time(self) -> datetime | None:
        """When its first attempt began, by the operator's clock."""
        return min((op.start_time for op in self.starts), default=None) and self.starts[0].start_time - self.target.skew


@dataclass(frozen=True, slots=True)
class Course:
    """The test as a whole. `unknown`: VMs whose target cannot be asked; `missing`: names without a ProtectedVM."""

    members: tuple[Progress, ...]
    unknown: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def begun(self) -> bool:
        return any(member.starts or member.test_vm for member in self.members)

    @property
    def running(self) -> bool:
        """Every VM was started, or will not be."""
        return self.whole and all(member.started or member.failure or self._is_lost(member) for member in self.members)

    @property
    def ended(self) -> bool:
        return self.whole and all(member.ended or self._is_lost(member) for member in self.members)

    @property
    def passed(self) -> bool:
        return self.ended and not self.missing and all(member.passed for member in self.members)

    @property
    def whole(self) -> bool:
        """Every VM of the test can be asked about. One that vanishes from a test under way is none to wait for."""
        return not self.unknown and bool(self.members) and (self.begun or not self.missing)

    @property
    def lost(self) -> tuple[str, ...]:
        """Names of VMs that vanished from a test under way, or whose replica did."""
        gone = [member.name for member in self.members if self._is_lost(member)]
        return (*gone, *self.missing) if self.begun else ()

    def _is_lost(self, member: Progress) -> bool:
        return member.replica is None and self.begun

    def end_time(self) -> datetime | None:
        return _latest(member.end_time() for member in self.members) if self.ended else None

    def start_time(self) -> datetime | None:
        times = [time for member in self.members if (time := member.start_time()) is not None]
        return min(times, default=None)


def course(world: TestWorld) -> Course:
    """Read the course of a test from what its target sites say."""
    members, unknown, missing = [], [], []
    for name, member in world.members.items():
        if member is None:
            missing.append(name)
            continue
        replica = replica_of(member)
        if isinstance(replica, Unknown) or member.target is None:
            unknown.append(name)
        else:
            members.append(_progress(world.test, name, member, member.target, replica))
    return Course(tuple(members), tuple(unknown), tuple(missing))


def replica_of(world: VMWorld) -> Relation | Unknown | None:
    """The VM's half at its target; by name where its source cannot be asked, for a test must not need the source."""
    if world.target is None or not world.target.known:
        return UNKNOWN
    wanted, source = world.vm.spec.vm, world.source.name
    if wanted.id is not None:
        return world.target.relations.get(wanted.id)
    found = [
        relation
        for relation in world.target.relations.values()
        if relation.mode == "Replica" and relation.peer_site == source and relation.vm_name == wanted.name
    ]
    return found[0] if len(found) == 1 else None


def cleanup_time(test: Object[TestFailoverSpec], how: Course) -> datetime | None:
    """When clean-up begins by itself; None: not before somebody asks, or not known yet."""
    started, ended = how.start_time(), how.end_time()
    forced = started + FORCED_CLEANUP if started is not None else None
    if test.spec.cleanup.mode == "Manual" or ended is None:
        return forced
    wanted = ended + timedelta(minutes=test.spec.cleanup.after_minutes)
    return wanted if forced is None else min(wanted, forced)


def _progress(
    test: Object[TestFailoverSpec], name: str, world: VMWorld, target: SiteView, replica: Relation | None
) -> Progress:
    vm_id = replica.vm_id if replica is not None else ""
    checks = tuple(
        CheckProgress(check, _last(target.ran(vm_id, check_intent(test, check.name))))
        for check in test.spec.checks
        if check.vm in (None, name)
    )
    starts = target.ran(vm_id, start_intent(test)) if vm_id else ()
    return Progress(name, world, target, replica, starts, checks, owner(test))


def _last(operations: tuple[Operation, ...]) -> Operation | None:
    return operations[-1] if operations else None


def _latest(times: Iterable[datetime | None]) -> datetime | None:
    known = [time for time in times if time is not None]
    return max(known, default=None)


def _cure(code: str) -> Cure:
    return CURE[Code(code)] if code in set(Code) else Cure.PERSON
