"""What the VMs of a test come to together: whether it has begun, goes on, has ended, and what was lost on the way."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from secondsite.api.kind import Object
from secondsite.api.testfailover import TestFailoverSpec
from secondsite.plan.observed import UNKNOWN, TestWorld, Unknown, VMWorld
from secondsite.plan.testfailover.identity import network_id
from secondsite.plan.testfailover.progress import Progress, progress
from secondsite.plan.testfailover.traces import Trace, traces, views
from secondsite.wire.facts import Relation

FORCED_CLEANUP = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class Course:
    """The test as a whole. `unknown`: VMs whose target cannot be asked; `missing`: names without a ProtectedVM.

    `traces` is what it left of VMs that are lost, `networked` says whether its network stands at a site that answers.
    """

    members: tuple[Progress, ...]
    unknown: tuple[str, ...]
    missing: tuple[str, ...]
    traces: tuple[Trace, ...] = ()
    networked: bool = False

    @property
    def begun(self) -> bool:
        known = any(member.starts or member.test_vm for member in self.members)
        # A VM that was never there has left nothing; one that vanished may have left no more than the network.
        return known or bool(self.traces) or (bool(self.missing) and self.networked)

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
        return not self.unknown and (self.begun or (bool(self.members) and not self.missing))

    @property
    def lost(self) -> tuple[str, ...]:
        """Names of VMs that vanished from a test under way, or whose replica did."""
        gone = [member.name for member in self.members if self._is_lost(member)]
        return (*gone, *self.missing) if self.begun else ()

    def _is_lost(self, member: Progress) -> bool:
        return member.replica is None and self.begun

    def end_time(self) -> datetime | None:
        return max(_known(part.end_time() for part in self._parts()), default=None) if self.ended else None

    def start_time(self) -> datetime | None:
        return min(_known(part.start_time() for part in self._parts()), default=None)

    def _parts(self) -> tuple[Progress | Trace, ...]:
        return (*self.members, *self.traces)


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
            members.append(progress(world.test, name, member, member.target, replica))
    network = network_id(world.test)
    return Course(
        members=tuple(members),
        unknown=tuple(unknown),
        missing=tuple(missing),
        traces=traces(world, members) if missing or _astray(world, members) else (),
        networked=any(view.known and network in view.test_networks for view in views(world).values()),
    )


def _astray(world: TestWorld, members: list[Progress]) -> bool:
    """Whether a ProtectedVM does not lead to where its test VM may be."""
    nowhere = any(member is not None and member.target is None for member in world.members.values())
    return nowhere or any(member.replica is None for member in members)


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
    if ended is None and how.ended and not how.members:
        # Every VM vanished, and the sites have forgotten when it was: there is nothing left to wait for.
        ended = test.creation_timestamp
    forced = started + FORCED_CLEANUP if started is not None else None
    if test.spec.cleanup.mode == "Manual" or ended is None:
        return forced
    wanted = ended + timedelta(minutes=test.spec.cleanup.after_minutes)
    return wanted if forced is None else min(wanted, forced)


def _known(times: Iterable[datetime | None]) -> list[datetime]:
    return [time for time in times if time is not None]
