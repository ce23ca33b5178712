"""The next step of a test: make a network, start the test VMs, check them, and have it all cleaned up again."""

from datetime import datetime, timedelta

from secondsite.api.testfailover_check import Check
from secondsite.plan.actions import (
    Action,
    AddFinalizer,
    Command,
    DeleteSelf,
    Limit,
    MakeTestNetwork,
    Plan,
    RemoveFinalizer,
    Slot,
)
from secondsite.plan.conditions import earliest
from secondsite.plan.finalizers import RELEASE
from secondsite.plan.observed import TestWorld
from secondsite.plan.testfailover import cleanup, identity
from secondsite.plan.testfailover.course import Course, cleanup_time, course
from secondsite.plan.testfailover.network import adapters_for_test, isolated
from secondsite.plan.testfailover.obstacles import obstacle
from secondsite.plan.testfailover.progress import CheckProgress, Progress
from secondsite.wire.agent import NO_FENCE
from secondsite.wire.arguments import CheckTestVM, StartTestFailover
from secondsite.wire.operations import Verb
from secondsite.wire.resources import TestNetworkWish

START_SECONDS = 900
"""How long one attempt to make a test VM may take: a thin copy is made and booted in minutes."""
_DEFAULT_PORTS = {"HTTP": 80, "HTTPS": 443}


def plan(world: TestWorld) -> Plan:
    """Actions of this turn, and when the clean-up or the end of the object's life is due."""
    how = course(world)
    if finished(world) and not world.test.deleting:
        return _retire(world)
    if wants_cleanup(world, how):
        return cleanup.plan(world, how)
    due = earliest(cleanup_time(world.test, how), *(member.off_limit() for member in how.members if not member.off))
    if how.ended or (not how.begun and obstacle(world, how) is not None):
        return Plan(due=earliest(due, _next_look(world, how)))
    if RELEASE not in world.test.finalizers:
        return Plan(actions=(AddFinalizer(RELEASE),))
    networks = _networks(world, how)
    actions = networks or tuple(action for member in how.members for action in _go_on(world, member))
    return Plan(actions=actions, due=due)


def finished(world: TestWorld) -> bool:
    """Whether we have reported the end of this test: it is over for good, whatever the site has forgotten."""
    return world.status.get("state") in ("Succeeded", "Failed")


def wants_cleanup(world: TestWorld, how: Course) -> bool:
    """Whether the test VMs are to go now."""
    if world.test.deleting or (world.test.spec.cleanup.requested and (how.begun or how.whole)):
        return True
    if any(member.stopped for member in how.members):
        # A clean-up that was begun is finished: what it removed is not waited for, or made, again.
        return True
    due = cleanup_time(world.test, how)
    return due is not None and world.now >= due


def _next_look(world: TestWorld, how: Course) -> datetime | None:
    """A VM that vanished leads to no site whose news would wake the test."""
    lost = bool(how.missing) and RELEASE in world.test.finalizers
    return world.now + cleanup.LOOK_AGAIN if lost and not how.begun else None


def _retire(world: TestWorld) -> Plan:
    """A finished test lets go of its finalizer, and is deleted when its time is over."""
    if RELEASE in world.test.finalizers:
        return Plan(actions=(RemoveFinalizer(RELEASE),))
    ttl, ended = world.test.spec.ttl_seconds_after_finished, course(world).end_time() or world.started
    if ttl is None or ended is None:
        return Plan()
    due = ended + timedelta(seconds=ttl)
    return Plan(actions=(DeleteSelf(),)) if world.now >= due else Plan(due=due)


def _networks(world: TestWorld, how: Course) -> tuple[Action, ...]:
    """The isolated network at every target where a VM of the test needs one."""
    id_ = identity.network_id(world.test)
    sites = {
        member.target.name
        for member in how.members
        if isolated(world.test, member) and id_ not in member.target.test_networks and not member.target.suspended
    }
    wish = TestNetworkWish(fence=NO_FENCE, name=f"{world.test.name} (test, isolated)")
    return tuple(MakeTestNetwork(site, id_, wish) for site in sorted(sites))


def _go_on(world: TestWorld, member: Progress) -> tuple[Action, ...]:
    if member.replica is None or member.target.suspended or member.starting or member.failure:
        return ()
    if not member.started:
        return (_start(world, member),)
    # Gone though it was started: of checks that ran the site knows the outcome, and the others it refuses.
    if member.test_vm is not None and member.test_vm.state != "Running":
        return ()
    return tuple(_check(world, member, check) for check in member.checks if _is_open(check))


def _is_open(check: CheckProgress) -> bool:
    """Not begun, or broken off by a restart of the agent: then it is asked again."""
    return check.operation is None or check.operation.state == "Interrupted"


def _start(world: TestWorld, member: Progress) -> Command:
    spec, adapters = world.test.spec, adapters_for_test(world.test, member)
    arguments = StartTestFailover(
        owner=member.owner,
        network=next((adapter.network for adapter in adapters if adapter.network), ""),
        recovery_point=spec.recovery_point.type,
        time=spec.recovery_point.time,
        name=spec.recovery_point.name or "",
        adapters=adapters,
    )
    return Command(
        site=member.target.name,
        verb=Verb.START_TEST_FAILOVER,
        vm_id=member.replica.vm_id if member.replica is not None else "",
        intent=identity.start_intent(world.test),
        arguments=arguments,
        expects=("Replicating",),
        epoch=member.replica.epoch if member.replica is not None else 0,
        deadline_seconds=START_SECONDS,
        slot=Slot(Limit.TEST_FAILOVERS, (member.world.source.name, member.target.name)),
    )


def _check(world: TestWorld, member: Progress, progress: CheckProgress) -> Command:
    check = progress.check
    return Command(
        site=member.target.name,
        verb=Verb.CHECK_TEST_VM,
        vm_id=member.replica.vm_id if member.replica is not None else "",
        intent=identity.check_intent(world.test, check.name),
        arguments=_probe(check, member.owner),
        epoch=member.replica.epoch if member.replica is not None else 0,
        deadline_seconds=check.timeout_seconds + 60,
    )


def _probe(check: Check, owner: str) -> CheckTestVM:
    port = check.port if check.port is not None else _DEFAULT_PORTS[check.scheme] if check.type == "HTTP" else None
    return CheckTestVM(
        owner=owner,
        name=check.name,
        type=check.type,
        port=port,
        scheme=check.scheme,
        host=check.host or "",
        path=check.path,
        expected_status=check.expected_status,
        body_contains=check.body_contains or "",
        period_seconds=check.period_seconds,
        timeout_seconds=check.timeout_seconds,
    )
