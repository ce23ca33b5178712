"""Deliberate mistakes, one for each kind of rule: each is put in place for a while, and must be found out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest

from secondsite.agent.lab import counters, cycles, health, table
from secondsite.agent.lab.events import Event
from secondsite.agent.lab.state import Half
from secondsite.agent.lab.table import Row
from secondsite.wire.health import Reason
from support.lab_world.store import MemoryStore

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


def _failures_stay(outcome: cycles.Outcome, half: Half, *_: object) -> cycles.Outcome:
    return dataclasses.replace(outcome, changes=outcome.changes | {"failures": half.failures})


def _stale_hours(right: Any, self: MemoryStore, *args: Any) -> Any:
    return right


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
