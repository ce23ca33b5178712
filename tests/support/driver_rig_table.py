"""What the contract says of each verb: where it is accepted, and which tests prove which aspect of it.

`docs/driver-contract.md` shows the same table to people.
"""

from __future__ import annotations

from dataclasses import dataclass, field
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
    Verb.STOP_INITIAL_REPLICATION: Accepted(primary=_on("InitialReplicationInProgress")),
    Verb.EXPORT_INITIAL_REPLICATION: Accepted(primary=_on("ReadyForInitialReplication")),
    Verb.IMPORT_INITIAL_REPLICATION: Accepted(replica=_on("WaitingForInitialReplication"), needs="a whole export"),
    Verb.UPDATE_SETTINGS: Accepted(primary=_ANY_PRIMARY, replica=_TAKING),
    Verb.SYNCHRONIZE: Accepted(primary=_on("Replicating"), needs="the capability Synchronize"),
    Verb.SUSPEND: Accepted(primary=_on("Replicating", "Resynchronizing"), replica=_on("Replicating")),
    Verb.RESUME: Accepted(primary=_on("Suspended", "Error", "ResynchronizeSuspended"), replica=_on("Suspended")),
    Verb.RESYNCHRONIZE: Accepted(
        primary=_on("WaitingForStartResynchronize", "Suspended"), needs="disks of the same size at both sites"
    ),
    Verb.STOP_RESYNCHRONIZE: Accepted(primary=_on("Resynchronizing", "ResynchronizeSuspended")),
    Verb.DISABLE_REPLICATION: Accepted(
        primary=_ANY_PRIMARY, replica=_TAKING | _FAILED_OVER, alone=True, needs="no test VM"
    ),
    Verb.REMOVE_REPLICA: Accepted(alone=True),
    Verb.RESET_STATISTICS: Accepted(primary=_ANY_PRIMARY, replica=_TAKING),
    Verb.REFRESH_INVENTORY: Accepted(primary=_EVERYWHERE, replica=_EVERYWHERE, alone=True),
    Verb.START_TEST_FAILOVER: Accepted(replica=_on("Replicating"), needs="no test VM of another test"),
    Verb.CHECK_TEST_VM: Accepted(replica=_TAKING, needs="the test's own VM"),
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


@dataclass(frozen=True)
class Proof:
    """Names of the tests that go through a verb, by aspect; `absent` says why an aspect has none."""

    accepted: str
    """Accepted where the table says so; the same key has the same answer; repeated after an unknown outcome it ends in
    the same state; facts and ledgers of both sites afterwards."""
    refused: str
    """Refused in every other state that the suite reaches, with nothing changed."""
    interrupted: str
    """The agent is killed in the middle: taken up again or Interrupted, never Failed."""
    busy: str = "test_one_command_at_a_time"
    """What runs on the VM keeps it off; given up, its VM is free once its work has ended."""
    absent: dict[str, str] = field(default_factory=dict)
