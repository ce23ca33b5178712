"""What the contract says of each verb: where it is accepted, and which tests prove which aspect of it.

`docs/driver-contract.md` shows the same table to people.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from secondsite.wire.facts import State
from secondsite.wire.operations import Verb

Side = Literal["Primary", "Replica", "None"]
SIDES: tuple[Side, ...] = get_args(Side)
STATES: tuple[State, ...] = get_args(State)


def _on(*states: State) -> frozenset[State]:
    return frozenset(states)


NOWHERE = _on()
_SENDING = _on("InitialReplicationInProgress", "Replicating", "Suspended", "Error")
_RESYNC = _on("WaitingForStartResynchronize", "Resynchronizing", "ResynchronizeSuspended")
_ANY_PRIMARY = (
    _SENDING
    | _RESYNC
    | _on(
        "ReadyForInitialReplication",
        "WaitingForInitialReplication",
        "PreparedForFailover",
        "WaitingForUpdateCompletion",
        "UpdateError",
    )
)
_TAKING = _on("WaitingForInitialReplication", "Replicating", "Suspended", "Resynchronizing")
_FAILED_OVER = _on("FailedOverWaitingCompletion", "FailedOver")
_EVERYWHERE = frozenset(STATES)


@dataclass(frozen=True)
class Accepted:
    """In which states of a half a verb may begin. `alone`: where the site has no half of the VM."""

    primary: frozenset[State] = NOWHERE
    replica: frozenset[State] = NOWHERE
    alone: bool = False
    needs: str = ""
    """What must hold beside the state, in words."""

    def allows(self, side: Side, state: State) -> bool:
        """Whether the state does not stand against it."""
        if side == "None":
            return self.alone
        return state in (self.primary if side == "Primary" else self.replica)


ACCEPTED: dict[Verb, Accepted] = {
    Verb.PREPARE_REPLICA: Accepted(alone=True, needs="an association that lets the peer replicate to here"),
    Verb.CONFIGURE_REPLICA: Accepted(replica=_TAKING),
    Verb.ENABLE_REPLICATION: Accepted(alone=True, needs="a VM and disks that can be replicated, a prepared replica"),
    Verb.START_INITIAL_REPLICATION: Accepted(primary=_on("ReadyForInitialReplication")),
    Verb.STOP_INITIAL_REPLICATION: Accepted(
        primary=_on("InitialReplicationInProgress"), needs="or a start that was set for a time"
    ),
    Verb.EXPORT_INITIAL_REPLICATION: Accepted(primary=_on("ReadyForInitialReplication")),
    Verb.IMPORT_INITIAL_REPLICATION: Accepted(replica=_on("WaitingForInitialReplication"), needs="a whole export"),
    Verb.UPDATE_SETTINGS: Accepted(primary=_ANY_PRIMARY, replica=_TAKING),
    Verb.SYNCHRONIZE: Accepted(primary=_on("Replicating"), needs="the capability Synchronize"),
    Verb.SUSPEND: Accepted(primary=_on("Replicating", "Resynchronizing"), replica=_on("Replicating")),
    Verb.RESUME: Accepted(primary=_on("Suspended", "Error", "ResynchronizeSuspended"), replica=_on("Suspended")),
    Verb.RESYNCHRONIZE: Accepted(
        primary=_on("WaitingForStartResynchronize", "Suspended"), needs="disks of the same size at both sites"
    ),
    Verb.STOP_RESYNCHRONIZE: Accepted(
        primary=_on("Resynchronizing", "ResynchronizeSuspended"), needs="or a start that was set for a time"
    ),
    Verb.DISABLE_REPLICATION: Accepted(
        primary=_ANY_PRIMARY, replica=_TAKING | _FAILED_OVER, alone=True, needs="no test VM"
    ),
    Verb.REMOVE_REPLICA: Accepted(alone=True),
    Verb.RESET_STATISTICS: Accepted(primary=_ANY_PRIMARY, replica=_TAKING),
    Verb.REFRESH_INVENTORY: Accepted(primary=_EVERYWHERE, replica=_EVERYWHERE, alone=True),
    Verb.START_TEST_FAILOVER: Accepted(replica=_on("Replicating"), needs="no test VM of another test"),
    Verb.CHECK_TEST_VM: Accepted(replica=_TAKING | _FAILED_OVER, needs="the test's own VM"),
    # Nothing there is no error, wherever one asks.
    Verb.STOP_TEST_FAILOVER: Accepted(primary=_EVERYWHERE, replica=_EVERYWHERE, alone=True, needs="the test's own VM"),
    Verb.PREPARE_FAILOVER: Accepted(primary=_on("Replicating"), needs="the VM is off"),
    Verb.FAILOVER: Accepted(
        replica=_on("Replicating", "Suspended", "Resynchronizing"), needs="initial replication is done"
    ),
    Verb.CANCEL_FAILOVER: Accepted(primary=_on("PreparedForFailover"), replica=_on("FailedOverWaitingCompletion")),
    Verb.COMMIT_FAILOVER: Accepted(replica=_on("FailedOverWaitingCompletion")),
    Verb.REVERSE_REPLICATION: Accepted(
        replica=_FAILED_OVER, needs="the other side prepared the failover, or was made a replica"
    ),
    Verb.DEMOTE_TO_REPLICA: Accepted(
        primary=_on("Error", "WaitingForStartResynchronize"), needs="the VM is off, its replica failed over"
    ),
    Verb.START_VM: Accepted(primary=_ANY_PRIMARY - _on("PreparedForFailover"), replica=_FAILED_OVER, alone=True),
    Verb.STOP_VM: Accepted(primary=_ANY_PRIMARY, replica=_FAILED_OVER, alone=True),
}


PROOFS: dict[Verb, tuple[str, ...]] = {
    Verb.PREPARE_REPLICA: ("test_enable",),
    Verb.CONFIGURE_REPLICA: ("test_enable",),
    Verb.ENABLE_REPLICATION: ("test_enable", "test_nothing_is_enabled_where_no_replica_is_prepared"),
    Verb.START_INITIAL_REPLICATION: ("test_enable", "test_initial_replication_at_a_time"),
    Verb.STOP_INITIAL_REPLICATION: ("test_stop_initial_replication",),
    Verb.EXPORT_INITIAL_REPLICATION: ("test_media",),
    Verb.IMPORT_INITIAL_REPLICATION: ("test_media", "test_media_that_are_not_there_or_not_its_own_are_refused"),
    Verb.UPDATE_SETTINGS: ("test_update_settings", "test_the_replicated_disks_can_change"),
    Verb.SYNCHRONIZE: ("test_synchronize_is_a_capability",),
    Verb.SUSPEND: ("test_suspend_and_resume", "test_a_suspended_replica_stops_its_primary"),
    Verb.RESUME: ("test_suspend_and_resume", "test_a_suspended_replica_stops_its_primary"),
    Verb.RESYNCHRONIZE: ("test_resynchronize", "test_a_suspended_vm_can_be_resynchronized"),
    Verb.STOP_RESYNCHRONIZE: ("test_a_resynchronization_can_be_suspended_resumed_and_stopped",),
    Verb.DISABLE_REPLICATION: ("test_disable_and_remove", "test_a_half_that_is_left_alone_finds_out"),
    Verb.REMOVE_REPLICA: ("test_disable_and_remove",),
    Verb.RESET_STATISTICS: ("test_reset_statistics",),
    Verb.REFRESH_INVENTORY: ("test_refresh_inventory",),
    Verb.START_TEST_FAILOVER: ("test_rehearse", "test_only_a_point_that_there_is_can_be_tested"),
    Verb.CHECK_TEST_VM: ("test_rehearse", "test_a_check_that_does_not_pass", "test_a_check_is_not_taken_up_again"),
    Verb.STOP_TEST_FAILOVER: ("test_rehearse", "test_one_test_at_a_time_and_each_its_own"),
    Verb.PREPARE_FAILOVER: ("_move",),
    Verb.FAILOVER: ("_move", "test_unplanned_and_taken_back", "test_the_point_can_be_chosen"),
    Verb.CANCEL_FAILOVER: ("_move", "test_unplanned_and_taken_back"),
    Verb.COMMIT_FAILOVER: ("test_unplanned_and_for_good",),
    Verb.REVERSE_REPLICATION: ("_move", "test_unplanned_and_for_good"),
    Verb.DEMOTE_TO_REPLICA: ("test_unplanned_and_for_good",),
    Verb.START_VM: ("_move",),
    Verb.STOP_VM: ("_move", "test_unplanned_and_taken_back"),
}
"""Functions of the suite that carry a verb out with all its promises: accepted, the same key again, repeated after an
unknown outcome, told in the feed, booked in the ledger, seen in the relations. Refusal is tried for every verb in
every state by test_driver_refused, interruption by the stories."""

NOT_INTERRUPTED: dict[Verb, str] = {
    Verb.CHECK_TEST_VM: "a look is never taken up again: test_a_check_is_not_taken_up_again",
    Verb.REFRESH_INVENTORY: "a look at the whole site, which every start makes anyway",
    Verb.SYNCHRONIZE: "a cycle, and cycles go on by themselves after a restart",
}


def rendered() -> list[str]:
    """The table as docs/driver-contract.md shows it."""
    return [
        f"| `{verb}` | {_states(row.primary)} | {_states(row.replica)} | {'yes' if row.alone else ''} | {row.needs} |"
        for verb, row in ACCEPTED.items()
    ]


def _states(states: frozenset[State]) -> str:
    if states >= _ANY_PRIMARY:
        return "every"
    if states == _ANY_PRIMARY - _on("PreparedForFailover"):
        return "every but PreparedForFailover"
    return ", ".join(state for state in STATES if state in states)
