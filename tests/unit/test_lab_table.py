"""The transition table: what is listed happens, everything else is refused in Hyper-V's terms."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from secondsite.agent.lab.counters import Window
from secondsite.agent.lab.events import Effect, Event, Guard
from secondsite.agent.lab.halves import Halves
from secondsite.agent.lab.refusals import _REMEDIES, CMDLETS, Category, StateRefused, require
from secondsite.agent.lab.state import Documents, Half
from secondsite.agent.lab.table import TABLE, Look, Row, Side, find
from secondsite.wire.facts import Replication, State
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Code, Refusal

STATES: tuple[State, ...] = get_args(State)
SIDES: tuple[Side, ...] = get_args(Side)
LOOKS = [Look(*values) for values in product((False, True), repeat=len(fields(Look)))]

EXPECTED = {
    ("Primary", "ReadyForInitialReplication", Event.START_INITIAL): "InitialReplicationInProgress",
    ("Primary", "InitialReplicationInProgress", Event.INITIAL_DONE): "Replicating",
    ("Primary", "InitialReplicationInProgress", Event.STOP_INITIAL): "ReadyForInitialReplication",
    ("Primary", "InitialReplicationInProgress", Event.RETRIES_EXHAUSTED): "Error",
    ("Primary", "Replicating", Event.CYCLE_REFUSED): "Error",
    ("Primary", "Replicating", Event.SUSPEND): "Suspended",
    ("Primary", "Replicating", Event.RESYNC_NEEDED): "WaitingForStartResynchronize",
    ("Primary", "Suspended", Event.RESUME): "Replicating",
    ("Primary", "Error", Event.RESUME): "Replicating",
    ("Primary", "WaitingForStartResynchronize", Event.DISABLE): "Disabled",
    ("Replica", "WaitingForInitialReplication", Event.INITIAL_DONE): "Replicating",
    ("Replica", "Replicating", Event.SUSPEND): "Suspended",
    ("Replica", "Suspended", Event.RESUME): "Replicating",
    ("Replica", "Replicating", Event.DISABLE): "Disabled",
    ("None", "Disabled", Event.ENABLE): "ReadyForInitialReplication",
    ("None", "Disabled", Event.PEER_ENABLED): "WaitingForInitialReplication",
}


@pytest.mark.parametrize("case", EXPECTED, ids=" ".join)
def test_the_table_moves_as_hyper_v_does(case: tuple[Side, State, Event]) -> None:
    row = find(*case, Look(initial_done=True))
    assert row is not None
    assert row.after == EXPECTED[case]


def test_resume_after_a_broken_initial_replication_goes_on_with_it() -> None:
    row = find("Primary", "Error", Event.RESUME, Look(initial_done=False))
    assert row is not None
    assert row.after == "InitialReplicationInProgress"


def test_a_suspended_vm_without_initial_replication_does_not_exist() -> None:
    assert find("Primary", "Suspended", Event.RESUME, Look(initial_done=False)) is None


def test_accepted_is_what_the_rows_list_and_everything_else_is_refused_with_id_category_and_remedy() -> None:
    """The full product of side, state and event, under every look where a row asks for one."""
    refused = accepted = 0
    for side, state, event in product(SIDES, STATES, Event):
        rows = [row for row in TABLE if row.side == side and state in row.before and row.event is event]
        for look in LOOKS if rows else [Look()]:
            fitting = [row for row in rows if look.allows(row.guard)]
            if fitting:
                assert fitting == [require("web01", side, state, event, look)], "no two rows answer the same"
                accepted += 1
                continue
            with pytest.raises(StateRefused) as caught:
                require("web01", side, state, event, look)
            _words_of_hyper_v(caught.value, side, state, event, rows)
            refused += 1
    assert accepted > 1000
    assert refused > 2000


def _words_of_hyper_v(refusal: StateRefused, side: Side, state: State, event: Event, rows: list[Row]) -> None:
    assert refusal.code is Code.STATE_CONFLICT
    category, _, raiser = refusal.error_id.partition(",")
    assert category == refusal.category
    assert raiser == "VMMS" or raiser.startswith("Microsoft.HyperV.PowerShell.Commands.")
    assert f"web01 in state {state}" in refusal.detail
    assert refusal.error_id in refusal.detail
    assert refusal.category is not Category.OBJECT_NOT_FOUND or side == "None"
    if rows:
        assert rows[0].guard.value in refusal.detail
        assert "It works in" not in refusal.remedy
    else:
        works = {(row.side, before) for row in TABLE if row.event is event for before in row.before}
        here = {before for found, before in works if found == side} or {before for _, before in works}
        assert all(before in refusal.remedy for before in here), refusal.remedy
        assert refusal.remedy.startswith("It works ")


def test_every_event_and_guard_and_effect_is_in_a_row() -> None:
    assert {row.event for row in TABLE} == set(Event)
    assert {row.guard for row in TABLE} == set(Guard) == {*_REMEDIES, Guard.NONE}
    assert {effect for row in TABLE for effect in row.effects} == set(Effect)


def test_every_command_is_a_cmdlet_but_the_one_that_hyper_v_lacks() -> None:
    """Verbs come first among the events; Synchronize is a capability of our own."""
    verbs = {event for event in Event if event.value.split()[0] in set(Verb)}
    assert verbs - set(CMDLETS) == {Event.SYNCHRONIZE}


def test_every_row_can_be_reached_from_a_vm_without_replication() -> None:
    reached: set[tuple[Side, State]] = {("None", "Disabled")}
    starts: set[tuple[Side, State]] = set()
    while reached != starts:
        starts = set(reached)
        reached |= {_after(row, side, state) for row in TABLE for side, state in starts if _lists(row, side, state)}
    listed = {(row.side, state) for row in TABLE for state in row.before}
    assert listed <= reached


def _lists(row: Row, side: Side, state: State) -> bool:
    return row.side == side and state in row.before


def _after(row: Row, side: Side, state: State) -> tuple[Side, State]:
    after = row.after or state
    if after == "Disabled":
        return "None", after
    made: dict[Event, Side] = {Event.ENABLE: "Primary", Event.PEER_ENABLED: "Replica"}
    return (row.becomes or (made.get(row.event, side) if side == "None" else side)), after


def test_roles_change_in_the_rows_of_a_reversal_only() -> None:
    assert {(row.number, row.side, row.becomes) for row in TABLE if row.becomes} == {
        (29, "Replica", "Primary"),
        (29, "Primary", "Replica"),
        (30, "Primary", "Replica"),
        (31, "Replica", "Primary"),
    }


def test_what_no_row_lists_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    documents = Documents(tmp_path / "lab.db")
    refused = 0
    for side in ("Primary", "Replica"):
        for state in STATES:
            half = _half(side, state)
            documents.put("vm", half)
            halves = Halves(documents, lambda _: None)
            for event in Event:
                if find(half.side, state, event, half.look) is None:
                    with pytest.raises(Refusal) as refusal:
                        halves.step("vm", event)
                    assert refusal.value.code is Code.STATE_CONFLICT
                    assert state in refusal.value.detail
                    refused += 1
            assert halves.get("vm") == half
    assert refused > 500
    documents.close()


def test_a_refusal_names_cmdlet_state_and_what_would_do() -> None:
    with pytest.raises(Refusal) as refusal:
        require("web01", "Primary", "InitialReplicationInProgress", Event.SUSPEND, Look())
    assert "Suspend-VMReplication on the primary VM web01 in state InitialReplicationInProgress" in str(refusal.value)
    assert "Microsoft.HyperV.PowerShell.Commands.SuspendVMReplication" in str(refusal.value)
    assert refusal.value.remedy == "It works in: Replicating, Resynchronizing."


def test_a_step_is_durable_before_it_is_seen(tmp_path: Path) -> None:
    documents = Documents(tmp_path / "lab.db")
    documents.put("vm", _half("Primary", "Replicating"))
    seen: list[str] = []

    def changed(vm_id: str) -> None:
        kept = Documents(tmp_path / "lab.db").get(Half, vm_id)
        seen.append(kept.state if kept else "Disabled")

    halves = Halves(documents, changed)
    halves.step("vm", Event.SUSPEND)
    halves.step("vm", Event.DISABLE)
    assert seen == ["Suspended", "Disabled"]
    assert halves.state("vm") == "Disabled"
    documents.close()


def _half(side: str, state: State) -> Half:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return msgspec.convert(
        {
            "vm_id": "vm",
            "vm_name": "web01",
            "side": side,
            "state": state,
            "peer_site": "west",
            "association": "a",
            "settings": Replication(interval_seconds=30),
            "disks": (),
            "window": Window(start=now),
        },
        Half,
    )
