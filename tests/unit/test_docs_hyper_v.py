"""docs/hyper-v-replica.md against the code, both ways: whoever reads the page reads what the lab does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from secondsite.agent.lab.datacentre import Knobs
from secondsite.agent.lab.fault_catalogue import KINDS
from secondsite.agent.lab.faults import Fault
from secondsite.agent.lab.health import _TEXTS, Limits, Sight
from secondsite.agent.lab.health import judge as judge_health
from secondsite.agent.lab.table import TABLE, Row
from secondsite.api.condition import CommonReason
from secondsite.api.protectedvm_reasons import ProtectedVMReason
from secondsite.api.protectedvm_status import ProtectedVMState
from secondsite.plan.protectedvm.decide import plan
from secondsite.plan.protectedvm.judge import judge
from secondsite.wire.agent import Capability
from secondsite.wire.facts import Counters, Fact, State
from secondsite.wire.health import Reason
from support import worlds as w
from support.simulated_sites import settle
from support.worlds import NOW, world

PAGE = Path(__file__).parents[2] / "docs" / "hyper-v-replica.md"
SOURCES = ("Documented", "Team blog", "Support articles", "Field report", "Inferred", "Our own")
# VMReplicationState of module 2.0, as the reflection dump of dsccommunity/HyperVDsc lists it.
INTS: dict[State, int] = {
    "Disabled": 0,
    "ReadyForInitialReplication": 1,
    "InitialReplicationInProgress": 2,
    "WaitingForInitialReplication": 3,
    "Replicating": 4,
    "PreparedForFailover": 5,
    "FailedOverWaitingCompletion": 6,
    "FailedOver": 7,
    "Suspended": 8,
    "Error": 9,
    "WaitingForStartResynchronize": 10,
    "Resynchronizing": 11,
    "ResynchronizeSuspended": 12,
    "RecoveryInProgress": 13,
    "WaitingForUpdateCompletion": 16,
    "UpdateError": 17,
}
LIMITS = Limits(missed_percent=20, stale_seconds=3600, latency_seconds=300)
WELL = Sight(True, "Replicating", since_last_seconds=1, missed_percent=0, latency_seconds=1, failing=False)
PROTECTED = w.at(NOW)(settle(world()))


def table(heading: str) -> list[list[str]]:
    """The cells of the first table under a heading, without its head."""
    _, _, text = PAGE.read_text(encoding="utf-8").partition(f"\n## {heading}\n")
    assert text, f"the page has no part {heading}"
    lines = text.split("\n## ")[0].splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("| ---"))
    return list(_rows(lines[first + 1 :]))


def _rows(lines: list[str]) -> Iterator[list[str]]:
    for line in lines:
        if not line.startswith("|"):
            return
        yield [cell.strip() for cell in line.strip().strip("|").split(" | ")]


def code(cell: str) -> str:
    """What stands between back ticks at the cell's beginning."""
    found = re.match(r"`([^`]+)`", cell)
    assert found, cell
    return found[1]


def rendered(row: Row) -> list[str]:
    states = sorted(row.before, key=INTS.__getitem__)
    named = [f"{INTS[state]} {state}" for state in states]
    after = f"{INTS[row.after]} {row.after}" if row.after else "same"
    return [
        str(row.number),
        row.side,
        ", ".join(named if len(named) <= 2 else (str(INTS[state]) for state in states)),
        row.event.value,
        row.guard.value or "-",
        f"{after}, becomes {row.becomes}" if row.becomes else after,
        "; ".join(sorted(effect.value for effect in row.effects)) or "-",
        row.events or "-",
    ]


def test_the_transitions_are_those_of_the_table() -> None:
    shown = table("Transitions")
    assert [cells[:8] for cells in shown] == [rendered(row) for row in TABLE]
    for cells in shown:
        assert cells[8].startswith(SOURCES), cells


def test_every_row_of_hyper_v_is_there_and_ours_begin_at_forty() -> None:
    numbers = {row.number for row in TABLE}
    assert {number for number in numbers if number < 40} == set(range(1, 38)) - {32}
    assert "Row\n32 has no line" in PAGE.read_text(encoding="utf-8")


def test_every_state_is_explained_by_its_int() -> None:
    shown = {cells[1]: cells[0] for cells in table("States")}
    assert shown == {state: str(INTS[state]) if state in INTS else "-" for state in get_args(State)}


@pytest.mark.parametrize("cells", table("States"), ids=lambda cells: cells[1])
def test_a_state_is_shown_to_people_as_the_page_says(cells: list[str]) -> None:
    for half, said in zip((w.source_half, w.target_half), cells[4:6], strict=True):
        made = half(state=cells[1])(PROTECTED)
        assert dict(judge(made, plan(made), ()).status)["state"] == said


def test_every_reason_of_health_is_explained_with_its_level() -> None:
    shown = {code(cells[0]): set(re.findall("Critical|Warning", cells[1])) for cells in table("Health")}
    assert len(shown) == len(table("Health"))
    assert shown.keys() == {reason.value for reason in _TEXTS}
    levels: dict[str, set[str]] = {reason.value: set() for reason in Reason}
    for sight in _ailing():
        verdict = judge_health(sight, LIMITS)
        for reason in verdict.reasons[:1]:
            levels[reason].add(verdict.health)
    assert shown == levels


def _ailing() -> Iterator[Sight]:
    """Halves that each have one thing wrong."""
    for state in get_args(State):
        yield from (replace(WELL, state=state, primary=primary) for primary in (True, False))
    yield replace(WELL, since_last_seconds=3601)
    yield replace(WELL, missed_percent=21)
    yield replace(WELL, latency_seconds=301)
    yield replace(WELL, failing=True)
    yield replace(WELL, unquiesced=True)
    yield replace(WELL, out_of_space=True)
    yield replace(WELL, points_damaged=True)
    yield replace(WELL, newest_damaged=True)
    yield replace(WELL, unreadable=True)


def test_every_word_of_a_protected_vm_is_explained() -> None:
    assert [code(cells[0]) for cells in table("Words of a ProtectedVM")] == list(ProtectedVMState)
    reasons = [code(cells[0]) for cells in table("Reasons of a ProtectedVM")]
    assert len(reasons) == len(set(reasons))
    assert set(reasons) == {*CommonReason, *ProtectedVMReason}


def test_every_counter_is_explained() -> None:
    assert [code(cells[0]) for cells in table("Counters")] == _encoded(Counters)


def test_every_knob_is_there_with_its_default() -> None:
    shown = {code(cells[0]): float(cells[1]) for cells in table("Timings and knobs")}
    assert shown == {field.alias: float(field.default) for field in Knobs.model_fields.values()}
    assert {cells[2] for cells in table("Timings and knobs")} == {"yes", "no"}


def test_every_fault_is_there_with_whom_it_is_for_and_its_value() -> None:
    shown = {code(cells[0]): cells[1:3] for cells in table("Faults")}
    assert shown == {fault.value: [KINDS[fault].scope.value, KINDS[fault].unit or "-"] for fault in Fault}


def test_every_capability_is_there() -> None:
    assert {code(cells[0]) for cells in table("Capabilities")} == {each.value for each in Capability}


def _encoded(kind: type[Fact]) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(kind)]
