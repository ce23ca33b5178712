"""What a test left where no ProtectedVM leads to it any more: found by its owner mark and its own commands."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from secondsite.plan.observed import SiteView, TestWorld
from secondsite.plan.testfailover.identity import owner, start_intent
from secondsite.plan.testfailover.progress import Progress
from secondsite.wire.facts import Operation, Relation


@dataclass(frozen=True, slots=True)
class Trace:
    """One VM at one site that this test dealt with, and that none of its ProtectedVMs names."""

    view: SiteView
    vm_id: str
    relation: Relation | None
    starts: tuple[Operation, ...]
    has_test_vm: bool

    @property
    def name(self) -> str:
        """For people."""
        return self.relation.vm_name if self.relation is not None else f"VM {self.vm_id}"

    @property
    def held(self) -> bool:
        """Whether there is something to stop."""
        return self.has_test_vm or any(op.state == "Running" for op in self.starts)

    def start_time(self) -> datetime | None:
        """By the operator's clock."""
        first = min((op.start_time for op in self.starts), default=None)
        return first - self.view.skew if first is not None else None

    def end_time(self) -> datetime | None:
        """When its start ended, by the operator's clock."""
        last = max((op.end_time for op in self.starts if op.end_time is not None), default=None)
        return last - self.view.skew if last is not None else None


def views(world: TestWorld) -> Mapping[str, SiteView]:
    """Every site that may hold something of the test, by name."""
    targets = (member.target for member in world.members.values() if member is not None)
    return {view.name: view for view in (*world.sites, *targets) if view is not None}


def traces(world: TestWorld, members: Iterable[Progress]) -> tuple[Trace, ...]:
    """All at sites that answer, beside what the members are."""
    told = {(member.target.name, member.replica.vm_id) for member in members if member.replica is not None}
    found = (trace for view in views(world).values() if view.known for trace in _at(world, view))
    return tuple(trace for trace in found if (trace.view.name, trace.vm_id) not in told)


def _at(world: TestWorld, view: SiteView) -> Iterable[Trace]:
    mark, intent = owner(world.test), start_intent(world.test)
    held = {
        vm_id
        for vm_id, relation in view.relations.items()
        if relation.test_vm is not None and relation.test_vm.owner == mark
    }
    ran = {vm_id for vm_id, operations in view.operations.items() if any(op.intent == intent for op in operations)}
    for vm_id in sorted(held | ran):
        yield Trace(view, vm_id, view.relations.get(vm_id), view.ran(vm_id, intent), vm_id in held)
