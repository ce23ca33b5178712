"""The transition table of a relation half, as data. Two halves, one at each site, never see each other's state.

Rows follow the state machine of Hyper-V Replica (VMReplicationState of PowerShell module 2.0). Their numbers are those
of `docs/hyper-v-replica.md`, which says what each is known from: 1 to 37 are Hyper-V's, those from 40 on our own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from secondsite.agent.lab.events import Effect, Event, Guard
from secondsite.wire.facts import State

Side = Literal["Primary", "Replica", "None"]


@dataclass(frozen=True)
class Row:
    """One transition. `after` None: the state stays; `becomes` None: the side stays."""

    number: int
    side: Side
    before: frozenset[State]
    event: Event
    after: State | None = None
    guard: Guard = Guard.NONE
    effects: frozenset[Effect] = frozenset()
    becomes: Literal["Primary", "Replica"] | None = None
    events: str = ""
    """Events that Hyper-V logs then (Microsoft-Windows-Hyper-V-VMMS-Admin)."""


@dataclass(frozen=True)
class Look:
    """What guards are judged by."""

    initial_done: bool = False
    test_vm: bool = False
    vm_off: bool = False
    within_a_week: bool = False
    scheduled: bool = False
    same_sizes: bool = True
    peer_prepared: bool = False
    peer_is_replica: bool = False
    may_scan: bool = False

    def allows(self, guard: Guard) -> bool:
        """Whether the guard holds."""
        return _HELD[guard](self)


_HELD: dict[Guard, Callable[[Look], bool]] = {
    Guard.NONE: lambda _: True,
    Guard.INITIAL_DONE: lambda look: look.initial_done,
    Guard.INITIAL_PENDING: lambda look: not look.initial_done,
    Guard.NO_TEST_VM: lambda look: not look.test_vm,
    Guard.VM_OFF: lambda look: look.vm_off,
    Guard.WITHIN_A_WEEK: lambda look: look.within_a_week,
    Guard.SCHEDULED: lambda look: look.scheduled,
    Guard.SAME_SIZES: lambda look: look.same_sizes,
    Guard.PEER_PREPARED: lambda look: look.peer_prepared,
    # A planned failover is reversed by its own row, whatever became of the other side since.
    Guard.PEER_IS_REPLICA: lambda look: look.peer_is_replica and not look.peer_prepared,
    Guard.MAY_SCAN: lambda look: look.may_scan,
    Guard.CANNOT_SCAN: lambda look: not look.may_scan,
}


def _on(*states: State) -> frozenset[State]:
    return frozenset(states)


def _does(*effects: Effect) -> frozenset[Effect]:
    return frozenset(effects)


_READY: State = "ReadyForInitialReplication"
_IR: State = "InitialReplicationInProgress"
_WAITING: State = "WaitingForInitialReplication"
_OK: State = "Replicating"
_RESYNC_WANTED: State = "WaitingForStartResynchronize"
_RESYNC: State = "Resynchronizing"
_RESYNC_PAUSED: State = "ResynchronizeSuspended"
_PREPARED: State = "PreparedForFailover"
_FAILING_OVER: State = "RecoveryInProgress"
_FAILED_OVER: State = "FailedOverWaitingCompletion"
_COMMITTED: State = "FailedOver"
_UPDATING: State = "WaitingForUpdateCompletion"

_NO_RELATION = _on("Disabled")
_RESYNCS = _on(_RESYNC_WANTED, _RESYNC, _RESYNC_PAUSED)
_DELIVERING = _on(_IR, _OK, "Suspended", "Error")
_PRIMARY = _on(_READY, _WAITING, _PREPARED, _UPDATING, "UpdateError", *_DELIVERING, *_RESYNCS)
_TAKING = _on(_WAITING, _OK, "Suspended", _RESYNC)
_RECOVERED = _on(_FAILED_OVER, _COMMITTED)
_REPLICA = _TAKING | _RECOVERED | _on(_FAILING_OVER)

TABLE: tuple[Row, ...] = (
    Row(1, "None", _NO_RELATION, Event.ENABLE, _READY),
    Row(1, "None", _NO_RELATION, Event.PEER_ENABLED, _WAITING),
    Row(1, "Replica", _on(_WAITING), Event.PEER_ENABLED, _WAITING),
    Row(2, "Primary", _on(_READY), Event.START_INITIAL, _IR, effects=_does(Effect.TRACKING_BEGINS)),
    Row(3, "Primary", _on(_READY), Event.START_INITIAL_LATER, guard=Guard.WITHIN_A_WEEK),
    Row(3, "Primary", _on(_READY), Event.INITIAL_TIME_CAME, _IR, effects=_does(Effect.TRACKING_BEGINS)),
    Row(3, "Primary", _on(_READY), Event.STOP_INITIAL, guard=Guard.SCHEDULED),
    Row(4, "Primary", _on(_READY), Event.EXPORT_INITIAL, _IR, effects=_does(Effect.TRACKING_BEGINS)),
    Row(4, "Primary", _on(_IR), Event.EXPORT_DONE, _WAITING),
    Row(5, "Primary", _on(_IR, _WAITING), Event.INITIAL_DONE, _OK),
    Row(5, "Replica", _on(_WAITING), Event.INITIAL_DONE, _OK),
    Row(5, "Replica", _on(_WAITING), Event.IMPORT_INITIAL, _OK),
    Row(6, "Primary", _on(_IR), Event.STOP_INITIAL, _READY),
    Row(7, "Primary", _on(_IR, _WAITING), Event.CYCLE_FAILED),
    Row(7, "Primary", _on(_IR), Event.RETRIES_EXHAUSTED, "Error", events="32022, 32086"),
    Row(7, "Primary", _on(_IR), Event.CYCLE_REFUSED, "Error", events="32022, 32086"),
    Row(7, "Primary", _on("Error"), Event.RESUME, _IR, Guard.INITIAL_PENDING),
    Row(8, "Primary", _on(_OK), Event.CYCLE_DONE),
    Row(8, "Replica", _on(_OK), Event.CYCLE_DONE),
    Row(9, "Primary", _on(_OK), Event.CYCLE_FAILED, events="32022, 32315"),
    Row(10, "Primary", _on(_OK), Event.CYCLE_REFUSED, "Error", events="32022, 32086"),
    Row(11, "Primary", _on(_OK), Event.SUSPEND, "Suspended"),
    # Tells the other half nothing: its next cycle is refused (row 10), and it is resumed by itself afterwards.
    Row(12, "Replica", _on(_OK), Event.SUSPEND, "Suspended"),
    Row(12, "Replica", _on("Suspended"), Event.RESUME, _OK),
    Row(13, "Primary", _on("Suspended", "Error"), Event.RESUME, _OK, Guard.INITIAL_DONE),
    Row(14, "Primary", _DELIVERING, Event.RESYNC_NEEDED, _RESYNC_WANTED, effects=_does(Effect.TRACKING_STOPS)),
    Row(
        15,
        "Primary",
        _on(_RESYNC_WANTED),
        Event.RESYNCHRONIZE,
        _RESYNC,
        Guard.SAME_SIZES,
        _does(Effect.TRACKING_BEGINS),
        events="29242",
    ),
    Row(15, "Primary", _on(_RESYNC_WANTED), Event.RESYNCHRONIZE_LATER, guard=Guard.WITHIN_A_WEEK),
    Row(15, "Primary", _on(_RESYNC_WANTED), Event.STOP_RESYNCHRONIZE, guard=Guard.SCHEDULED),
    Row(15, "Replica", _on(_OK, _RESYNC), Event.PEER_RESYNCHRONIZES, _RESYNC),
    Row(16, "Primary", _on(_RESYNC), Event.SUSPEND, _RESYNC_PAUSED),
    Row(16, "Primary", _on(_RESYNC_PAUSED), Event.RESUME, _RESYNC),
    Row(17, "Primary", _on(_RESYNC, _RESYNC_PAUSED), Event.STOP_RESYNCHRONIZE, _RESYNC_WANTED),
    Row(17, "Replica", _on(_OK, _RESYNC), Event.PEER_STOPPED_RESYNC, _OK),
    Row(18, "Primary", _on(_RESYNC), Event.RESYNC_DONE, _OK, events="29244"),
    Row(18, "Replica", _on(_OK, _RESYNC), Event.RESYNC_DONE, _OK, effects=_does(Effect.POINTS_DELETED)),
    Row(19, "Primary", _on(_RESYNC), Event.RESYNC_NEEDED, _RESYNC_WANTED, effects=_does(Effect.TRACKING_STOPS)),
    Row(
        20,
        "Primary",
        _on("Suspended"),
        Event.RESYNCHRONIZE,
        _RESYNC,
        Guard.SAME_SIZES,
        _does(Effect.TRACKING_BEGINS),
        events="29242",
    ),
    Row(21, "Replica", _on(_OK), Event.START_TEST, guard=Guard.NO_TEST_VM),
    # A failover leaves the test VM; without this row nobody could clean it up.
    Row(22, "Replica", _TAKING | _RECOVERED, Event.STOP_TEST),
    Row(23, "Primary", _on(_OK), Event.PREPARE_FAILOVER, _PREPARED, Guard.VM_OFF, _does(Effect.LAST_DELTA)),
    Row(24, "Primary", _on(_PREPARED), Event.CANCEL_FAILOVER, _OK),
    Row(
        25,
        "Replica",
        _on(_OK, "Suspended", _RESYNC),
        Event.FAILOVER,
        _FAILING_OVER,
        Guard.INITIAL_DONE,
        _does(Effect.RESYNC_CANCELLED),
    ),
    Row(25, "Replica", _on(_FAILING_OVER), Event.FAILOVER_DONE, _FAILED_OVER),
    Row(26, "Primary", _on(_OK), Event.PEER_FAILED_OVER, "Error", events="32022, 32086"),
    Row(27, "Replica", _on(_FAILED_OVER), Event.CANCEL_FAILOVER, _OK, effects=_does(Effect.CHANGES_DISCARDED)),
    Row(
        28,
        "Replica",
        _on(_FAILED_OVER),
        Event.COMMIT_FAILOVER,
        _COMMITTED,
        effects=_does(Effect.OTHER_POINTS_REMOVED),
    ),
    Row(
        29,
        "Replica",
        _RECOVERED,
        Event.REVERSE,
        _OK,
        Guard.PEER_PREPARED,
        _does(Effect.OTHER_POINTS_REMOVED),
        becomes="Primary",
    ),
    Row(29, "Primary", _on(_PREPARED), Event.PEER_REVERSED, _OK, becomes="Replica"),
    Row(30, "Primary", _on("Error", _RESYNC_WANTED), Event.DEMOTE, _WAITING, Guard.VM_OFF, becomes="Replica"),
    Row(
        31,
        "Replica",
        _RECOVERED,
        Event.REVERSE,
        _READY,
        Guard.PEER_IS_REPLICA,
        _does(Effect.OTHER_POINTS_REMOVED),
        becomes="Primary",
    ),
    Row(33, "Primary", _PRIMARY, Event.DISABLE, "Disabled"),
    Row(33, "Replica", _TAKING | _RECOVERED, Event.DISABLE, "Disabled", Guard.NO_TEST_VM),
    Row(34, "Primary", _PRIMARY, Event.SERVICE_RESTARTED),
    Row(34, "Replica", _REPLICA, Event.SERVICE_RESTARTED),
    Row(
        35,
        "Primary",
        _DELIVERING,
        Event.HOST_CRASHED,
        _RESYNC_WANTED,
        Guard.CANNOT_SCAN,
        _does(Effect.TRACKING_STOPS),
    ),
    Row(36, "Primary", _on(_OK, "UpdateError"), Event.CHANGE_DISKS, _UPDATING),
    Row(36, "Primary", _on(_UPDATING), Event.DISKS_CHANGED, _OK),
    Row(36, "Primary", _on(_UPDATING), Event.DISKS_FAILED, "UpdateError"),
    Row(37, "Primary", _on(_OK), Event.OUT_OF_BOUNDS, "Error", events="32022, 32086"),
    Row(40, "None", _NO_RELATION, Event.PREPARE),
    Row(41, "Replica", _TAKING, Event.CONFIGURE),
    Row(42, "Primary", _PRIMARY, Event.UPDATE_SETTINGS),
    Row(42, "Replica", _TAKING, Event.UPDATE_SETTINGS),
    Row(43, "Primary", _on(_OK), Event.SYNCHRONIZE),
    Row(44, "Primary", _PRIMARY, Event.RESET_STATISTICS),
    Row(44, "Replica", _TAKING, Event.RESET_STATISTICS),
    Row(45, "Replica", _TAKING | _RECOVERED, Event.CHECK_TEST),
    Row(46, "None", _NO_RELATION, Event.DISABLE),
    Row(46, "None", _NO_RELATION, Event.REMOVE_REPLICA),
    Row(46, "None", _NO_RELATION, Event.STOP_TEST),
    Row(47, "Primary", _DELIVERING, Event.HOST_CRASHED, guard=Guard.MAY_SCAN),
    Row(48, "None", _NO_RELATION, Event.START_VM),
    Row(48, "None", _NO_RELATION, Event.STOP_VM),
    Row(48, "Primary", _PRIMARY - {_PREPARED}, Event.START_VM),
    Row(48, "Primary", _PRIMARY, Event.STOP_VM),
    Row(48, "Replica", _RECOVERED, Event.START_VM),
    Row(48, "Replica", _RECOVERED, Event.STOP_VM),
)


def candidates(side: Side, state: State, event: Event) -> list[Row]:
    """The rows for an event in a state, whatever their guards."""
    return [row for row in TABLE if row.side == side and state in row.before and row.event is event]


def find(side: Side, state: State, event: Event, look: Look) -> Row | None:
    """The row that lists this, or None."""
    return next((row for row in candidates(side, state, event) if look.allows(row.guard)), None)
