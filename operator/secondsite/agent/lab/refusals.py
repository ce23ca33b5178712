"""Refusals as Hyper-V words them: what no row of the transition table lists."""

from __future__ import annotations

from secondsite.agent.lab import table
from secondsite.agent.lab.events import Event
from secondsite.agent.lab.table import Look, Row, Side, candidates, find
from secondsite.wire.facts import State
from secondsite.wire.problems import Code, Refusal

CMDLETS: dict[Event, str] = {
    Event.ENABLE: "Enable-VMReplication",
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
    Event.DEMOTE: "Set-VMReplication -AsReplica",
    Event.START_VM: "Start-VM",
    Event.STOP_VM: "Stop-VM",
}


def require(name: str, side: Side, state: State, event: Event, look: Look) -> Row:
    """The row that lists this. Raises Refusal in Hyper-V's terms where none does; `name` is the VM's."""
    row = find(side, state, event, look)
    if row is None:
        raise _refusal(name, side, state, event)
    return row


def _refusal(name: str, side: Side, state: State, event: Event) -> Refusal:
    cmdlet = CMDLETS.get(event, event.value)
    error_id = f"InvalidOperation,Microsoft.HyperV.PowerShell.Commands.{cmdlet.split()[0].replace('-', '')}"
    half = {"Primary": "the primary VM", "Replica": "the replica VM", "None": "a VM without replication"}[side]
    unmet = [row.guard.value for row in candidates(side, state, event)]
    listed = [row for row in table.TABLE if row.event is event and row.side == side]
    allowed = sorted({before for row in listed for before in row.before})
    why = f"it needs that {unmet[0]}" if unmet else "the virtual machine is in the wrong replication state"
    return Refusal(
        Code.STATE_CONFLICT,
        f"{cmdlet} on {half} {name} in state {state}: the operation cannot be performed, {why} ({error_id})",
        remedy=f"It works in: {', '.join(allowed) or 'no state on this side'}.",
    )
