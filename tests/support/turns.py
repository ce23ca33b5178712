"""One turn of the controller with everything around it in the test's hand."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from secondsite.api.kind import Kind, Object
from secondsite.api.protectedvm import PROTECTED_VM
from secondsite.controller.catalogue import Catalogue, Entry
from secondsite.controller.kinds import Row
from secondsite.controller.limits import Limiter
from secondsite.controller.machines import Machines
from secondsite.controller.observe import Observer
from secondsite.controller.pending import Pending
from secondsite.controller.ports import Key, Receipt
from secondsite.controller.queue import WorkQueue
from secondsite.controller.turn import Clocks, Turns
from secondsite.plan.actions import Action, Command, Finding, Plan, Report, Slot, Trouble
from secondsite.plan.observed import Contact, SiteView
from secondsite.wire.arguments import Nothing
from secondsite.wire.operations import Verb

KEY = Key("ProtectedVM", "recovery", "web")
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
BODY = {
    "metadata": {
        "name": "web",
        "namespace": "recovery",
        "uid": "u1",
        "resourceVersion": "1",
        "generation": 1,
        "creationTimestamp": "2026-11-21T10:00:00Z",
    },
    "spec": {"vm": {"siteRef": {"name": "newyork"}, "cloud": "gold", "name": "web"}, "policyRef": {"name": "gold"}},
}


def command(intent: str = "one", *, site: str = "newyork", slot: Slot | None = None) -> Command:
    return Command(site, Verb.SUSPEND, "vm-1", intent, Nothing(), slot=slot)


SEEN = Receipt("newyork", "i", 7)


class Sites:
    """Mirrors that have told nothing yet but how far they have come."""

    def __init__(self) -> None:
        self.revision = 0

    def view(self, namespace: str, name: str) -> SiteView:
        return SiteView(name=name, contact=Contact())

    def reached(self, namespace: str, receipt: Receipt) -> bool:
        return self.revision >= receipt.revision


@dataclass
class Bench:
    """A turn with everything around it in the test's hand."""

    actions: tuple[Action, ...] = ()
    due: datetime | None = None
    leading: bool = True
    answer: Callable[[Action], Receipt | None] = lambda _action: None
    now: float = 1000.0
    done: list[Action] = field(default_factory=list)
    reports: list[tuple[Report, bool]] = field(default_factory=list)
    troubles: tuple[Trouble, ...] = ()
    sites: Any = field(default_factory=Sites)

    def __post_init__(self) -> None:
        self.catalogue = Catalogue()
        self.catalogue.take(PROTECTED_VM, BODY)
        self.queue = WorkQueue(chance=random.Random(1))
        self.pending = Pending(self.sites.reached)
        self.limiter = Limiter(self.sites)
        row = Row(PROTECTED_VM, lambda _observer, obj, _now: obj, self.plan, self.judge)
        self.turns = Turns(
            table={"ProtectedVM": row},
            catalogue=self.catalogue,
            observer=Observer(self.catalogue, self.sites, self.sites, Machines(), self.sites),
            queue=self.queue,
            pending=self.pending,
            limiter=self.limiter,
            performer=self,
            reporter=self,
            clocks=Clocks(lambda: NOON + timedelta(seconds=self.now - 1000), lambda: self.now),
            may_act=lambda _key, _action: self.leading,
        )

    def plan(self, _world: object) -> Plan:
        return Plan(self.actions, self.due)

    def judge(self, _world: object, _plan: Plan, troubles: tuple[Trouble, ...]) -> Report:
        self.troubles = troubles
        return Report((Finding("Ready", "False" if troubles else "True", "Told"),))

    async def perform(self, kind: Kind[Any, Any], key: Key, action: Action, obj: Object[Any]) -> Receipt | None:
        self.done.append(action)
        return self.answer(action)

    def submit(self, entry: Entry, report: Report, *, conditions_only: bool = False) -> None:
        self.reports.append((report, conditions_only))

    async def turn(self, after: float = 0.0) -> list[Action]:
        """One turn, some seconds later; returns what was done in it."""
        self.now += after
        before = len(self.done)
        self.queue.add(KEY)
        assert self.queue.take() == KEY
        work = self.turns.look(KEY)
        if work is not None:
            await self.turns.act(work)
        self.queue.done(KEY)
        return self.done[before:]

    def fails(self, error: Exception) -> None:
        def answer(_action: Action) -> Receipt | None:
            raise error

        self.answer = answer

    @property
    def next_turn(self) -> float | None:
        """In how many seconds the key is due."""
        due = self.queue.wake_due(self.now - 1)
        return None if due is None else due - self.now
