"""What keeps a test from starting, in the order in which a person would mend it. Each heals by itself when mended."""

from dataclasses import dataclass

from secondsite.api.condition import CommonReason
from secondsite.api.testfailover_status import TestFailoverReason as Reason
from secondsite.plan.conditions import first, named
from secondsite.plan.observed import TestWorld
from secondsite.plan.testfailover.course import Course
from secondsite.wire.facts import Relation
from secondsite.wire.health import Reason as HealthReason

_USABLE = ("Replicating",)


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why the test cannot start. `known` False: nobody can say whether it could."""

    reason: str
    message: str
    known: bool = True


@dataclass(frozen=True, slots=True)
class _Case:
    world: TestWorld
    course: Course


def obstacle(world: TestWorld, how: Course) -> Obstacle | None:
    """The first thing in the way; None: the test may start."""
    return first(_CHAIN, _Case(world, how))


def _plan_is_asked_for(case: _Case) -> Obstacle | None:
    if case.world.test.spec.recovery_plan_ref is None:
        return None
    return Obstacle(CommonReason.NOT_IMPLEMENTED, "Recovery plans are not built yet: name the VMs in protectedVMRefs")


def _vm_is_missing(case: _Case) -> Obstacle | None:
    if not case.course.missing:
        return None
    return Obstacle(Reason.PROTECTED_VM_NOT_FOUND, f"There is no ProtectedVM {named(case.course.missing)}")


def _vm_is_in_another_test(case: _Case) -> Obstacle | None:
    if not case.world.others:
        return None
    vm, test = next(iter(case.world.others.items()))
    return Obstacle(Reason.VM_IN_ANOTHER_TEST, f"{vm} is in the older test {test}: it starts when that is cleaned up")


def _target_is_silent(case: _Case) -> Obstacle | None:
    if not case.course.unknown:
        return None
    message = f"The target of {named(case.course.unknown)} cannot be asked"
    return Obstacle(CommonReason.SITE_UNREACHABLE, message, known=False)


def _target_is_suspended(case: _Case) -> Obstacle | None:
    suspended = sorted({member.target.name for member in case.course.members if member.target.suspended})
    if not suspended:
        return None
    return Obstacle(
        Reason.SITE_SUSPENDED, f"spec.suspended of VMMSite {named(suspended)} is true: nothing is sent to it"
    )


def _vm_is_not_protected(case: _Case) -> Obstacle | None:
    for member in case.course.members:
        replica = member.replica
        if replica is None or replica.newest_point is None:
            return Obstacle(Reason.VM_NOT_PROTECTED, f"{member.name} has no recovery point at {member.target.name} yet")
        if replica.state not in _USABLE and not member.started:
            message = f"The replica of {member.name} is {replica.state} at {member.target.name}; it must be Replicating"
            return Obstacle(Reason.VM_NOT_PROTECTED, message)
    return None


def _latest_is_damaged(case: _Case) -> Obstacle | None:
    """As at Hyper-V, Latest is the newest point and no other: a person chooses whether an older one will do."""
    if case.world.test.spec.recovery_point.type != "Latest":
        return None
    for member in case.course.members:
        replica = member.replica
        if replica is not None and not member.started and _newest_damaged(replica):
            message = (
                f"Latest is the newest recovery point, and that of {member.name} at {member.target.name} is damaged: "
                f"{replica.message.rstrip('.') or 'it cannot be read in full'}. The test starts when it is mended; "
                "to test an older point, make another test with recoveryPoint of type At or Named"
            )
            return Obstacle(Reason.RECOVERY_POINT_DAMAGED, message)
    return None


def _newest_damaged(replica: Relation) -> bool:
    point = replica.newest_point
    return HealthReason.NEWEST_POINT_DAMAGED in replica.health_reasons or (point is not None and point.damaged)


def _foreign_test_vm(case: _Case) -> Obstacle | None:
    for member in case.course.members:
        found = member.foreign_test_vm
        if found is not None:
            message = f"{member.name} has the test VM {found.name} of {found.owner} at {member.target.name}"
            return Obstacle(Reason.VM_IN_ANOTHER_TEST, message)
    return None


def _network_is_missing(case: _Case) -> Obstacle | None:
    wanted = case.world.test.spec.network
    for member in case.course.members:
        if wanted.type == "Existing" and wanted.name not in member.target.networks:
            message = f"Site {member.target.name} has no VM network {wanted.name}"
            return Obstacle(Reason.NETWORK_NOT_FOUND, message)
    return None


_CHAIN = (
    _plan_is_asked_for,
    _vm_is_missing,
    _vm_is_in_another_test,
    _target_is_silent,
    _target_is_suspended,
    _vm_is_not_protected,
    _latest_is_damaged,
    _foreign_test_vm,
    _network_is_missing,
)
