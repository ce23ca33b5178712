"""Refusals as Hyper-V words them: what no row of the transition table lists.

Error id and category have the shape of PowerShell's error records (FullyQualifiedErrorId, CategoryInfo): a caller tells
errors apart by these, never by text, which Windows localizes.
"""

from __future__ import annotations

from enum import StrEnum

from secondsite.agent.lab import table
from secondsite.agent.lab.events import Event, Guard
from secondsite.agent.lab.table import Look, Row, Side, candidates, find
from secondsite.wire.facts import State
from secondsite.wire.problems import Code, Refusal

CMDLETS: dict[Event, str] = {
    Event.PREPARE: "New-VMReplicationAuthorizationEntry",
    Event.ENABLE: "Enable-VMReplication",
    Event.PEER_ENABLED: "Enable-VMReplication",
    Event.START_INITIAL: "Start-VMInitialReplication",
    Event.START_INITIAL_LATER: "Start-VMInitialReplication",
    Event.EXPORT_INITIAL: "Start-VMInitialReplication",
    Event.IMPORT_INITIAL: "Import-VMInitialReplication",
    Event.STOP_INITIAL: "Stop-VMInitialReplication",
    Event.UPDATE_SETTINGS: "Set-VMReplication",
    Event.CHANGE_DISKS: "Set-VMReplication",
    Event.CONFIGURE: "Set-VMNetworkAdapterFailoverConfiguration",
    Event.SUSPEND: "Suspend-VMReplication",
    Event.RESUME: "Resume-VMReplication",
    Event.RESYNCHRONIZE: "Resume-VMReplication -Resynchronize",
    Event.RESYNCHRONIZE_LATER: "Resume-VMReplication -Resynchronize",
    Event.STOP_RESYNCHRONIZE: "Stop-VMReplication",
    Event.DISABLE: "Remove-VMReplication",
    Event.REMOVE_REPLICA: "Remove-VM",
    Event.RESET_STATISTICS: "Reset-VMReplicationStatistics",
    Event.START_TEST: "Start-VMFailover -AsTest",
    Event.CHECK_TEST: "Measure-VM",
    Event.STOP_TEST: "Stop-VMFailover",
    Event.PREPARE_FAILOVER: "Start-VMFailover -Prepare",
    Event.FAILOVER: "Start-VMFailover",
    Event.CANCEL_FAILOVER: "Stop-VMFailover",
    Event.COMMIT_FAILOVER: "Complete-VMFailover",
    Event.REVERSE: "Set-VMReplication -Reverse",
    Event.PEER_REVERSED: "Set-VMReplication -Reverse",
    Event.DEMOTE: "Set-VMReplication -AsReplica",
    Event.START_VM: "Start-VM",
    Event.STOP_VM: "Stop-VM",
}
"""What people type for it. What is not here happens without a command, or (Synchronize) Hyper-V has none for it."""

_REMEDIES: dict[Guard, str] = {
    Guard.INITIAL_DONE: "Wait for the end of initial replication.",
    Guard.INITIAL_PENDING: "Initial replication is over; nothing is left to do.",
    Guard.NO_TEST_VM: "Clean the test up first (StopTestFailover).",
    Guard.VM_OFF: "Shut the virtual machine down first (StopVM).",
    Guard.WITHIN_A_WEEK: "Give a time between now and seven days from now.",
    Guard.SCHEDULED: "Nothing waits for its time; there is nothing to cancel.",
    Guard.SAME_SIZES: "Give each disk the same size at both sites, then try again.",
    Guard.PEER_PREPARED: (
        "After a planned failover the primary must be prepared (PrepareFailover); after an unplanned one it is made a "
        "replica first (DemoteToReplica)."
    ),
    Guard.PEER_IS_REPLICA: "Make the old primary a replica first (DemoteToReplica), with its VM off.",
    Guard.MAY_SCAN: "The site needs the capability ScanAfterCrash.",
    Guard.CANNOT_SCAN: "The site has the capability ScanAfterCrash; nothing is to be done.",
}
_HALVES: dict[Side, str] = {
    "Primary": "the primary VM",
    "Replica": "the replica VM",
    "None": "a VM without replication",
}
_SIDES: dict[Side, str] = {
    "Primary": "at the primary's site",
    "Replica": "at the replica's site",
    "None": "where the VM has no replication",
}


class Category(StrEnum):
    """PowerShell's ErrorCategory, as far as these refusals need it."""

    INVALID_OPERATION = "InvalidOperation"
    INVALID_ARGUMENT = "InvalidArgument"
    OBJECT_NOT_FOUND = "ObjectNotFound"


class StateRefused(Refusal):
    """A refusal with what a PowerShell error record says beside its message."""

    def __init__(self, detail: str, category: Category, error_id: str, remedy: str) -> None:
        super().__init__(Code.STATE_CONFLICT, f"{detail} ({error_id})", remedy=remedy)
        self.category = category
        self.error_id = error_id


def require(name: str, side: Side, state: State, event: Event, look: Look) -> Row:
    """The row that lists this. Raises StateRefused in Hyper-V's terms where none does; `name` is the VM's."""
    row = find(side, state, event, look)
    if row is None:
        raise _refusal(name, side, state, event)
    return row


def _refusal(name: str, side: Side, state: State, event: Event) -> StateRefused:
    unmet = [row.guard for row in candidates(side, state, event)]
    category = _category(side, unmet)
    cmdlet = CMDLETS.get(event, event.value)
    return StateRefused(
        f"{cmdlet} on {_HALVES[side]} {name} in state {state}: the operation cannot be performed, {_why(side, unmet)}",
        category,
        f"{category},{_raiser(event)}",
        _REMEDIES[unmet[0]] if unmet else _where(side, event),
    )


def _category(side: Side, unmet: list[Guard]) -> Category:
    if Guard.WITHIN_A_WEEK in unmet:
        return Category.INVALID_ARGUMENT
    return Category.INVALID_OPERATION if side != "None" else Category.OBJECT_NOT_FOUND


def _why(side: Side, unmet: list[Guard]) -> str:
    if unmet:
        return f"it needs that {unmet[0].value}"
    if side == "None":
        return "there is no replication relationship for the virtual machine"
    return "the virtual machine is in the wrong replication state"


def _raiser(event: Event) -> str:
    """The class of the cmdlet that reports the error; the service itself where no cmdlet is behind the event."""
    cmdlet = CMDLETS.get(event)
    return f"Microsoft.HyperV.PowerShell.Commands.{cmdlet.split()[0].replace('-', '')}" if cmdlet else "VMMS"


def _where(side: Side, event: Event) -> str:
    """The states in which the event works: on this side, or else where it does."""
    here = _states(side, event)
    if here:
        return f"It works in: {', '.join(here)}."
    others = [other for other in _SIDES if _states(other, event)]
    told = [f"{_SIDES[other]}, in: {', '.join(_states(other, event))}" for other in others]
    return f"It works {'; '.join(told)}."


def _states(side: Side, event: Event) -> list[State]:
    return sorted({state for row in table.TABLE if row.event is event and row.side == side for state in row.before})
