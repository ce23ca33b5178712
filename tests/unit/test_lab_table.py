"""The transition table: what is listed happens, everything else is refused in Hyper-V's terms."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from secondsite.agent.lab.counters import Window
from secondsite.agent.lab.events import Event
from secondsite.agent.lab.halves import Halves
from secondsite.agent.lab.refusals import require
from secondsite.agent.lab.state import Documents, Half
from secondsite.agent.lab.table import TABLE, Look, Side, find
from secondsite.wire.facts import Replication, State
from secondsite.wire.problems import Code, Refusal

STATES: tuple[State, ...] = get_args(State)
LOOKS = [Look(initial_done=done, test_vm=test) for done in (False, True) for test in (False, True)]

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


def test_no_two_rows_answer_the_same() -> None:
    for look in LOOKS:
        for side in get_args(Side):
            for state in STATES:
                for event in Event:
                    fitting = [
                        row
                        for row in TABLE
                        if row.side == side and state in row.before and row.event is event and look.allows(row.guard)
                    ]
                    assert len(fitting) <= 1, (side, state, event, fitting)


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
