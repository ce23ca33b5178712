"""One turn of one object: observe, plan, act, judge, report. The only place that turns failures into troubles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

from secondsite import logs
from secondsite.api.condition import CommonReason
from secondsite.api.kind import Kind, Object
from secondsite.controller import outcomes, verdict
from secondsite.controller.catalogue import Catalogue, Entry, remember
from secondsite.controller.kinds import Row, Table
from secondsite.controller.limits import Limiter
from secondsite.controller.observe import Observer
from secondsite.controller.pending import Grip, Pending
from secondsite.controller.ports import Key, Receipt
from secondsite.controller.queue import WorkQueue
from secondsite.controller.references import VM
from secondsite.errors import NotYet, SecondsiteError, SiteUnreachable
from secondsite.plan.actions import Action, Finding, Plan, Report, Trouble

SOONEST = 0.2
"""Seconds: a due time that has passed already must not make a busy loop."""
AFTER_DOING = 0.5
"""Seconds after which a turn follows one whose effect no feed tells."""

_log = logs.get(__name__)


class Reporter(Protocol):
    """Takes what is to be seen of an object; writes when and what is due."""

    def submit(self, entry: Entry, report: Report, *, conditions_only: bool = False) -> None: ...


class Performer(Protocol):
    """Performs any action, once."""

    async def perform(self, kind: Kind[Any, Any], key: Key, action: Action, obj: Object[Any]) -> Receipt | None: ...


@dataclass(frozen=True, slots=True)
class Work:
    """A turn that has something to do."""

    key: Key
    entry: Entry
    row: Row
    obj: Object[Any]
    world: Any
    plan: Plan
    doing: tuple[Action, ...]


@dataclass(slots=True)
class _Held:
    """A trouble of an action, held until the action succeeds or is planned no more."""

    trouble: Trouble
    failures: int
    again: float


@dataclass(slots=True)
class Clocks:
    """The wall for what people see, a monotonic one for delays."""

    wall: Callable[[], datetime]
    steady: Callable[[], float]


@dataclass(slots=True)
class Turns:
    """`may_act` is asked before every action: the Lease may be lost at any moment."""

    table: Table
    catalogue: Catalogue
    observer: Observer
    queue: WorkQueue
    pending: Pending
    limiter: Limiter
    performer: Performer
    reporter: Reporter
    clocks: Clocks
    may_act: Callable[[Key, Action], bool]
    judged: Callable[[Key, verdict.Verdict, verdict.Verdict], None] = lambda _key, _before, _now: None
    """Hears of each verdict that differs from the one before."""
    _held: dict[Key, dict[str, _Held]] = field(default_factory=dict)

    def look(self, key: Key) -> Work | None:
        """The part of a turn without I/O. Returns what is left to do, or None when the turn is over."""
        work = self._look(key)
        if work is None:
            # It asks for no place now; whoever does not ask does not stand in line.
            self.limiter.forget(key)
        return work

    def _look(self, key: Key) -> Work | None:
        entry = self.catalogue.get(key)
        if entry is None:
            self.forget(key)
            return None
        if entry.object is None:
            self._report(entry, _unreadable(entry), conditions_only=True)
            return None
        if self.pending.blocked(key):
            return None
        row, now = self.table[key.kind], self.clocks.wall()
        try:
            world = row.observe(self.observer, entry.object, now)
            plan = row.plan(world)
        except Exception as error:  # noqa: BLE001 - whatever it is, this object must not stop the others
            self._defect(entry, "plan", error)
            return None
        self._drop_held(key, plan)
        doing = tuple(one for one in plan.actions if self._is_due(key, one) and self.may_act(key, one))
        work = Work(key, entry, row, entry.object, world, plan, doing)
        if doing:
            return work
        self._finish(work)
        return None

    async def act(self, work: Work) -> None:
        """The rest of a turn: perform each action, then report."""
        unreachable: set[str] = set()
        self.limiter.begin(work.key)
        for action in work.doing:
            site = getattr(action, "site", "")
            if site in unreachable:
                continue
            try:
                await self._perform(work, action)
                self._held.get(work.key, {}).pop(name_of(action), None)
            except Exception as error:  # noqa: BLE001 - the table below knows what it is
                self._hold(work.key, action, error)
                if isinstance(error, SiteUnreachable):
                    unreachable.add(site)
        self.limiter.end(work.key)
        self._finish(work)

    def forget(self, key: Key) -> None:
        """There is no such object any more."""
        self._held.pop(key, None)
        self.queue.forget(key)
        self.limiter.forget(key)

    def forgive(self, key: Key) -> None:
        """What stood in the way has changed: try again now what failed before."""
        for held in self._held.get(key, {}).values():
            held.again = 0.0

    async def _perform(self, work: Work, action: Action) -> None:
        if not self.may_act(work.key, action):
            raise NotYet("This operator does not hold the Lease", delay=1)
        vm_id = str(getattr(action, "vm_id", ""))
        machine = (work.key.namespace, vm_id) if vm_id else None
        if not self.pending.grip(work.key, machine):
            raise NotYet(f"Another object's command for VM {vm_id} is under way", delay=SOONEST)
        grip, receipt = Grip(work.key, machine), None
        try:
            grip = replace(grip, release=self.limiter.admit(work.key, action, work.obj, self.catalogue))
            receipt = await self.performer.perform(work.row.kind, work.key, action, work.obj)
        finally:
            if receipt is not None:
                self.pending.sent(grip, receipt, self.clocks.steady())
            else:
                for waiter in self.pending.let_go(grip):
                    self.queue.add(waiter)
        if receipt is None:
            # Nothing tells of it, so look again whether it has changed what is to be done.
            self.queue.later(work.key, self.clocks.steady() + AFTER_DOING)
        _log.debug("performed", object=str(work.key), action=name_of(action))

    def _finish(self, work: Work) -> None:
        held = self._held.get(work.key, {})
        troubles = tuple(one.trouble for one in held.values())
        try:
            report = work.row.judge(work.world, work.plan, troubles)
        except Exception as error:  # noqa: BLE001 - as in `look`
            self._defect(work.entry, "judge", error)
            return
        self.queue.succeeded(work.key)
        self._report(work.entry, report)
        self._schedule(work, report, [one.again for one in held.values()])

    def _report(self, entry: Entry, report: Report, *, conditions_only: bool = False) -> None:
        if self.catalogue.get(entry.key) is not entry:
            return
        before = entry.verdict
        now = verdict.of_report(report)
        if conditions_only:
            # The rest of the status stays as it was, and so does what others conclude from it.
            now = replace(before, conditions={**before.conditions, **now.conditions}, reason=now.reason)
        elif entry.key.kind == VM:
            # Not only once it is written: what was seen a moment ago is newer than what stands in the cluster.
            entry.memory = remember(VM, report.status)
        entry.verdict, entry.verified = now, True
        self.reporter.submit(entry, report, conditions_only=conditions_only)
        if now != before:
            self.judged(entry.key, before, now)

    def _schedule(self, work: Work, report: Report, again: list[float]) -> None:
        steady, wall = self.clocks.steady(), self.clocks.wall()
        dues = [due for due in (work.plan.due, report.due) if due is not None]
        delays = [(due - wall).total_seconds() for due in dues] + [when - steady for when in again]
        if delays:
            self.queue.later(work.key, steady + max(min(delays), SOONEST))

    def _is_due(self, key: Key, action: Action) -> bool:
        held = self._held.get(key, {}).get(name_of(action))
        # Standing in line costs nothing, and it is the line that says when.
        return held is None or held.trouble.kind == outcomes.QUEUED.kind or held.again <= self.clocks.steady()

    def _drop_held(self, key: Key, plan: Plan) -> None:
        held = self._held.get(key)
        if held:
            planned = {name_of(action) for action in plan.actions}
            self._held[key] = {name: one for name, one in held.items() if name in planned}

    def _hold(self, key: Key, action: Action, error: Exception) -> None:
        name, outcome = name_of(action), outcomes.judge(error)
        held = self._held.setdefault(key, {})
        before = held.get(name)
        trouble = outcomes.trouble(action, error, self.clocks.wall())
        failures = before.failures + 1 if before else 1
        if before and before.trouble.code == trouble.code:
            trouble = replace(trouble, since=before.trouble.since)
        delay = self.queue.spread(outcome.delay(failures))
        held[name] = _Held(trouble, failures, self.clocks.steady() + delay)
        expected = isinstance(error, SecondsiteError)
        _log.log(
            _LEVELS[outcome.level],
            "action_failed",
            object=str(key),
            action=name,
            kind=outcome.kind,
            error=str(error),
            again_seconds=round(delay, 1),
            exc_info=None if expected else error,
        )

    def _defect(self, entry: Entry, step: str, error: Exception) -> None:
        delay = self.queue.failed(entry.key, self.clocks.steady())
        _log.error("turn_failed", object=str(entry.key), step=step, again_seconds=round(delay, 1), exc_info=error)
        message = f"A defect of the operator: {step} raised {type(error).__name__}. Its log has the traceback."
        finding = Finding("Ready", "Unknown", CommonReason.INTERNAL_ERROR, message)
        self._report(entry, Report(findings=(finding,)), conditions_only=True)


_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def name_of(action: Action) -> str:
    """What stays the same when the same thing is planned again."""
    parts = (
        getattr(action, part, "") for part in ("site", "verb", "vm_id", "adapter", "id", "intent", "finalizer", "name")
    )
    return " ".join([type(action).__name__, *(str(part) for part in parts if part)])


def _unreadable(entry: Entry) -> Report:
    message = f"The spec cannot be read: {entry.fault}. Correct it, or bring the operator to the version of its CRDs."
    return Report(findings=(Finding("Ready", "False", CommonReason.SPEC_REFUSED, message),))
