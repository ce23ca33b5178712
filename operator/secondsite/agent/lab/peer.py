"""What two lab agents say to each other about a relation, beside its bytes: one message, sent when it is enabled.

    POST /v1/relations/{vm}     EnableReplica -> 200 ReplicaEnabled, or a Problem with a code of the agent contract

Everything else a half learns of its peer only by replicating: a suspended replica refuses the next cycle, a removed one
does not know the VM any more.
"""

from __future__ import annotations

from http import HTTPStatus

from secondsite.agent.lab.engine import LinkError, PeerClient, PeerRefused
from secondsite.wire.facts import DiskSlot, Replication
from secondsite.wire.inventory import Adapter
from secondsite.wire.peer import Message
from secondsite.wire.problems import Code, Refusal

RELATIONS = "/v1/relations/"


class ReplicaDisk(Message, frozen=True, kw_only=True):
    """A disk to make room for. `size` in bytes."""

    slot: DiskSlot
    size: int


class EnableReplica(Message, frozen=True, kw_only=True):
    """Make the replica VM, off and with its adapters disconnected (Enable-VMReplication, at the other host)."""

    vm_name: str
    association: str
    generation: int
    configuration_version: str = ""
    operating_system: str
    disks: tuple[ReplicaDisk, ...]
    adapters: tuple[Adapter, ...]
    settings: Replication
    hurry: float
    machine: str = ""
    """The VM's configuration (`datacentre.Machine` as JSON): what a failover starts it with."""


class ReplicaEnabled(Message, frozen=True, kw_only=True):
    """Where the replica VM stands."""

    host: str


def enable(client: PeerClient, vm_id: str, message: EnableReplica) -> ReplicaEnabled:
    """Ask the peer. Raises Refusal: the peer's own, or PeerUnreachable."""
    try:
        return client.post(f"{RELATIONS}{vm_id}", message, ReplicaEnabled)
    except LinkError as error:
        raise Refusal(
            Code.PEER_UNREACHABLE,
            f"Enabling replication of {message.vm_name} at the replica's side: {error}",
            remedy="See that the other site's agent runs and that its data port can be reached from here.",
        ) from error
    except PeerRefused as error:
        raise Refusal(code_of(error), f"The replica's side refused {message.vm_name}: {error.detail}") from error


def code_of(error: PeerRefused) -> Code:
    """The engine has words of its own, which the operator need not know."""
    if error.code in {code.value for code in Code}:
        return Code(error.code)
    if error.status == HTTPStatus.INSUFFICIENT_STORAGE:
        return Code.STORAGE_EXHAUSTED
    return Code.INTERNAL if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR else Code.NOT_AUTHORIZED
