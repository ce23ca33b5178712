"""The transition table of a relation half, as data. Two halves, one at each site, never see each other's state.

Rows follow the state machine of Hyper-V Replica (VMReplicationState of PowerShell module 2.0): `number` is the row of
the project's simulator specification. What no row lists is refused, as Hyper-V refuses it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from secondsite.wire.facts import State
from secondsite.wire.problems import Code, Refusal

Side = Literal["Primary", "Replica", "None"]


class Event(StrEnum):
    """What happens to a half: first what people command, then what replication itself meets."""

    PREPARE = "PrepareReplica"
    ENABLE = "EnableReplication"
    CONFIGURE = "ConfigureReplica"
    START_INITIAL = "StartInitialReplication"
    STOP_INITIAL = "StopInitialReplication"
    UPDATE_SETTINGS = "UpdateSettings"
    SUSPEND = "Suspend"
    RESUME = "Resume"
    DISABLE = "DisableReplication"
    REMOVE_REPLICA = "RemoveReplica"
    RESET_STATISTICS = "ResetStatistics"
    START_TEST = "StartTestFailover"
    CHECK_TEST = "CheckTestVM"
    STOP_TEST = "StopTestFailover"
    PEER_ENABLED = "peer enabled replication"
    INITIAL_DONE = "initial replication done"
    RETRIES_EXHAUSTED = "retries exhausted"
    CYCLE_DONE = "cycle done"
    CYCLE_FAILED = "cycle failed, transient"
    CYCLE_REFUSED = "cycle refused by the replica's side"
    TRACKING_LOST = "change tracking lost"


class Guard(StrEnum):
    """What must hold beside the state."""

    NONE = ""
    INITIAL_DONE = "initial replication is finished"
    INITIAL_PENDING = "initial replication is not finished"
    NO_TEST_VM = "there is no test VM"


@dataclass(frozen=True)
class Row:
    """One transition. `after` None: the state stays."""

    number: int
    side: Side
    before: frozenset[State]
    event: Event
    after: State | None = None
    guard: Guard = Guard.NONE
    events: str = ""
    """Events that Hyper-V logs then (Microsoft-Windows-Hyper-V-VMMS-Admin)."""


@dataclass(frozen=True)
class Look:
    """What guards are judged by."""

    initial_done: bool = False
    test_vm: bool = False

    def allows(self, guard: Guard) -> bool:
        """Whether the guard holds."""
        held = {
            Guard.NONE: True,
            Guard.INITIAL_DONE: self.initial_done,
            Guard.INITIAL_PENDING: not self.initial_done,
            Guard.NO_TEST_VM: not self.test_vm,
        }
        return held[guard]


def _on(*states: State) -> frozenset[State]:
    return frozenset(states)


_IR: State = "InitialReplicationInProgress"
_READY: State = "ReadyForInitialReplication"
_WAITING: State = "WaitingForInitialReplication"
_REPLICATING: State = "Replicating"
_RESYNC: State = "WaitingForStartResynchronize"
_ENABLED_PRIMARY = _on(_READY, _IR, _REPLICATING, "Suspended", "Error", _RESYNC)
_ENABLED_REPLICA = _on(_WAITING, _REPLICATING, "Suspended")
_NO_RELATION = _on("Disabled")

TABLE: tuple[Row, ...] = (
    Row(1, "None", _NO_RELATION, Event.PREPARE),
    Row(1, "None", _NO_RELATION, Event.ENABLE, _READY),
    Row(1, "None", _NO_RELATION, Event.PEER_ENABLED, _WAITING),
    Row(1, "Replica", _on(_WAITING), Event.PEER_ENABLED, _WAITING),
    Row(1, "Replica", _ENABLED_REPLICA, Event.CONFIGURE),
    Row(2, "Primary", _on(_READY), Event.START_INITIAL, _IR),
    Row(5, "Primary", _on(_IR), Event.INITIAL_DONE, _REPLICATING),
    Row(5, "Replica", _on(_WAITING), Event.INITIAL_DONE, _REPLICATING),
    Row(6, "Primary", _on(_IR), Event.STOP_INITIAL, _READY),
    Row(7, "Primary", _on(_IR), Event.CYCLE_FAILED),
    Row(7, "Primary", _on(_IR), Event.RETRIES_EXHAUSTED, "Error", events="32022, 32086"),
    Row(7, "Primary", _on(_IR), Event.CYCLE_REFUSED, "Error", events="32022, 32086"),
    Row(7, "Primary", _on("Error"), Event.RESUME, _IR, Guard.INITIAL_PENDING),
    Row(8, "Primary", _on(_REPLICATING), Event.CYCLE_DONE),
    Row(8, "Replica", _on(_REPLICATING), Event.CYCLE_DONE),
    Row(9, "Primary", _on(_REPLICATING), Event.CYCLE_FAILED, events="32022, 32315"),
    Row(10, "Primary", _on(_REPLICATING), Event.CYCLE_REFUSED, "Error", events="32022, 32086"),
    Row(11, "Primary", _on(_REPLICATING), Event.SUSPEND, "Suspended"),
    Row(12, "Replica", _on(_REPLICATING), Event.SUSPEND, "Suspended"),
    # Tells the other half nothing: its next cycle is refused (row 10), and it is resumed by itself afterwards.
    Row(12, "Replica", _on("Suspended"), Event.RESUME, _REPLICATING),
    Row(13, "Primary", _on("Suspended", "Error"), Event.RESUME, _REPLICATING, Guard.INITIAL_DONE),
    Row(14, "Primary", _on(_IR, _REPLICATING, "Suspended", "Error"), Event.TRACKING_LOST, _RESYNC),
    Row(21, "Replica", _on(_REPLICATING), Event.START_TEST, guard=Guard.NO_TEST_VM),
    Row(21, "Replica", _ENABLED_REPLICA, Event.CHECK_TEST),
    Row(22, "Replica", _ENABLED_REPLICA, Event.STOP_TEST),
    Row(33, "Primary", _ENABLED_PRIMARY, Event.DISABLE, "Disabled"),
    Row(33, "Replica", _ENABLED_REPLICA, Event.DISABLE, "Disabled", Guard.NO_TEST_VM),
    Row(33, "None", _NO_RELATION, Event.DISABLE),
    Row(33, "None", _NO_RELATION, Event.REMOVE_REPLICA),
    Row(33, "None", _NO_RELATION, Event.STOP_TEST),
    Row(0, "Primary", _ENABLED_PRIMARY, Event.UPDATE_SETTINGS),
    Row(0, "Replica", _ENABLED_REPLICA, Event.UPDATE_SETTINGS),
    Row(0, "Primary", _ENABLED_PRIMARY, Event.RESET_STATISTICS),
    Row(0, "Replica", _ENABLED_REPLICA, Event.RESET_STATISTICS),
)

CMDLETS: dict[Event, str] = {
    Event.ENABLE: "Enable-VMReplication",
    Event.START_INITIAL: "Start-VMInitialReplication",
    Event.STOP_INITIAL: "Stop-VMInitialReplication",
    Event.UPDATE_SETTINGS: "Set-VMReplication",
    Event.CONFIGURE: "Set-VMNetworkAdapterFailoverConfiguration",
    Event.SUSPEND: "Suspend-VMReplication",
    Event.RESUME: "Resume-VMReplication",
    Event.DISABLE: "Remove-VMReplication",
    Event.REMOVE_REPLICA: "Remove-VM",
    Event.RESET_STATISTICS: "Reset-VMReplicationStatistics",
    Event.START_TEST: "Start-VMFailover -AsTest",
    Event.CHECK_TEST: "Measure-VM",
    Event.STOP_TEST: "Stop-VMFailover",
}


def find(side: Side, state: State, event: Event, look: Look) -> Row | None:
    """The row that lists this, or None."""
    return next((row for row in _candidates(side, state, event) if look.allows(row.guard)), None)


def require(name: str, side: Side, state: State, event: Event, look: Look) -> Row:
    """The row that lists this. Raises Refusal in Hyper-V's terms where none does; `name` is the VM's."""
    row = find(side, state, event, look)
    if row is None:
        raise _refusal(name, side, state, event)
    return row


def _candidates(side: Side, state: State, event: Event) -> list[Row]:
    return [row for row in TABLE if row.side == side and state in row.before and row.event is event]


def _refusal(name: str, side: Side, state: State, event: Event) -> Refusal:
    cmdlet = CMDLETS.get(event, event.value)
    error_id = f"InvalidOperation,Microsoft.HyperV.PowerShell.Commands.{cmdlet.split()[0].replace('-', '')}"
    half = {"Primary": "the primary VM", "Replica": "the replica VM", "None": "a VM without replication"}[side]
    unmet = [row.guard.value for row in _candidates(side, state, event)]
    allowed = sorted({before for row in TABLE if row.event is event and row.side == side for before in row.before})
    why = f"it needs that {unmet[0]}" if unmet else "the virtual machine is in the wrong replication state"
    return Refusal(
        Code.STATE_CONFLICT,
        f"{cmdlet} on {half} {name} in state {state}: the operation cannot be performed, {why} ({error_id})",
        remedy=f"It works in: {', '.join(allowed) or 'no state on this side'}.",
    )
