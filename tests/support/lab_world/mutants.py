"""Deliberate mistakes, one for each kind of rule: each is put in place for a while, and must be found out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest

from secondsite.agent.lab import counters, cycles, health, relation, returning, rpo, table
from secondsite.agent.lab.events import Event, Guard
from secondsite.agent.lab.table import Row
from secondsite.wire.health import Reason
from support.lab_world.store import MemoryStore
from support.lab_world.story import BUSY_HOURS

Put = Callable[[pytest.MonkeyPatch], None]


def rows(choose: Callable[[Row], bool], change: Callable[[Row], Row | None]) -> Put:
    """The table with some rows changed, or left out."""

    def put(patch: pytest.MonkeyPatch) -> None:
        changed = [change(row) if choose(row) else row for row in table.TABLE]
        assert changed != list(table.TABLE), "the mistake changes nothing"
        patch.setattr(table, "TABLE", tuple(row for row in changed if row is not None))

    return put


def _is(number: int, event: Event, side: str) -> Callable[[Row], bool]:
    return lambda row: (row.number, row.event, row.side) == (number, event, side)


def _with(**changes: Any) -> Callable[[Row], Row]:
    return lambda row: dataclasses.replace(row, **changes)


def _instead(place: Any, name: str, value: Any) -> Put:
    return lambda patch: patch.setattr(place, name, value)


def _after(place: Any, name: str, change: Callable[..., Any]) -> Put:
    """What a function returns, changed: `change` sees that, then what it was called with."""

    def put(patch: pytest.MonkeyPatch) -> None:
        right = getattr(place, name)
        patch.setattr(place, name, lambda *args, **more: change(right(*args, **more), *args))

    return put


def _no_delay(outcome: cycles.Outcome, *_: object) -> cycles.Outcome:
    return dataclasses.replace(outcome, changes=outcome.changes | {"retry_time": None, "last_cycle_start": None})


def _forgetful(outcome: cycles.Outcome, *_: object) -> cycles.Outcome:
    return dataclasses.replace(outcome, changes=outcome.changes | {"failure": ""})


def _longer(patch: pytest.MonkeyPatch) -> None:
    right = MemoryStore.apply_retention

    def longer(self: MemoryStore, now: Any, spacing: float, kept: float) -> list[str]:
        return right(self, now, spacing, kept + spacing)

    patch.setattr(MemoryStore, "apply_retention", longer)


def _without(reason: Reason) -> Put:
    def put(patch: pytest.MonkeyPatch) -> None:
        for name in ("_critical", "_warning"):
            _after(health, name, lambda found, *_: [item for item in found if item != reason])(patch)

    return put


def _missed_uncounted(patch: pytest.MonkeyPatch) -> None:
    right = counters.Window.failed

    def failed(self: counters.Window, kind: Any) -> counters.Window:
        return msgspec.structs.replace(right(self, kind), missed=self.missed)

    patch.setattr(counters.Window, "failed", failed)


@contextmanager
def mistake(put: Put) -> Iterator[None]:
    """While inside, the product is wrong."""
    with pytest.MonkeyPatch.context() as patch:
        put(patch)
        yield


def _always_normal_when_paused(verdict: health.Verdict, sight: health.Sight, *_: object) -> health.Verdict:
    return dataclasses.replace(verdict, health="Warning") if sight.state == "Error" else verdict


def _boundless(_: counters.Window, window: counters.Window, *__: object) -> counters.Window:
    return window


def _unsplit(days: Iterator[tuple[str, float]], *_: object) -> Iterator[tuple[str, float]]:
    found = list(days)
    return iter([(found[0][0], sum(seconds for _, seconds in found))] if found else [])


def _at_the_limit(seconds: float | None, limit: float) -> bool:
    return seconds is not None and seconds >= limit


# What each breaks, how, and with which way the stories begin that are to find it (none: with any).
MUTANTS: dict[str, tuple[Put, str | None]] = {
    "guard dropped: a primary is prepared while its VM runs": (
        rows(_is(23, Event.PREPARE_FAILOVER, "Primary"), _with(guard=Guard.NONE)),
        "a failover without preparation",
    ),
    "guard dropped: a second test VM is allowed": (
        rows(_is(21, Event.START_TEST, "Replica"), _with(guard=Guard.NONE)),
        "a rehearsal, and another",
    ),
    "guard dropped: a VM that runs is made a replica": (
        rows(_is(30, Event.DEMOTE, "Primary"), _with(guard=Guard.NONE)),
        "a demotion in haste",
    ),
    "wrong state after: a suspended primary goes on": (
        rows(_is(11, Event.SUSPEND, "Primary"), _with(after=None)),
        "a suspension of the source",
    ),
    "wrong state after: a failover is over before it is committed": (
        rows(_is(25, Event.FAILOVER_DONE, "Replica"), _with(after="FailedOver")),
        "a failover that is called off",
    ),
    "effect lost: what needs a resynchronization is tracked on": (
        rows(lambda row: row.event is Event.RESYNC_NEEDED, _with(effects=frozenset())),
        "DiskTouchedOffline",
    ),
    "effect lost: points from before a resynchronization stay": (
        rows(_is(18, Event.RESYNC_DONE, "Replica"), _with(effects=frozenset())),
        "a forced resynchronization",
    ),
    "side not changed: a demoted primary stays one": (
        rows(_is(30, Event.DEMOTE, "Primary"), _with(becomes=None)),
        "an unplanned failover and the way back",
    ),
    "row missing: a suspended primary cannot be resumed": (
        rows(_is(13, Event.RESUME, "Primary"), lambda _: None),
        None,
    ),
    "row missing: a cycle that failed for good is no error": (
        rows(_is(10, Event.CYCLE_REFUSED, "Primary"), lambda _: None),
        "AuthorizationRevoked",
    ),
    "row too many: a prepared primary may be started": (
        rows(
            lambda row: row.number == 48 and row.event is Event.START_VM and row.side == "Primary",
            lambda row: dataclasses.replace(row, before=row.before | {"PreparedForFailover"}),
        ),
        "a prepared VM that people want to start",
    ),
    "threshold off: behind by exactly an hour is behind": (
        _instead(health, "_over", _at_the_limit),
        "LinkDown",
    ),
    "Warning for Critical: an error is no alarm": (
        _after(relation, "judge", _always_normal_when_paused),
        "AuthorizationRevoked",
    ),
    "reason lost: nobody is told of a suspension": (
        _without(Reason.PAUSED),
        "a suspension of the source",
    ),
    "reason lost: an error without a word": (
        _after(cycles, "failed", _forgetful),
        None,
    ),
    "counters are never reset": (
        _after(counters, "current", _boundless),
        None,
    ),
    "a failed cycle is not missed": (
        _missed_uncounted,
        None,
    ),
    "tried again at once": (
        _after(cycles, "failed", _no_delay),
        None,
    ),
    "retention off by one": (
        _longer,
        BUSY_HOURS,
    ),
    "RPO not split at midnight": (
        _after(rpo, "_outside", _unsplit),
        None,
    ),
    "effect lost: the last delta is not sent": (
        _instead(returning, "deliver_last", lambda _: None),
        "a planned failover and the way back",
    ),
}
