"""What the side that was failed over to says to the other one, before it replicates the other way round.

    POST /v1/reversals/{vm}     Reversal -> 200 Reversed, or a Problem with a code of the agent contract

First it only looks, so that nothing has changed where the answer is no; then it asks for it. It may be repeated.
"""

from __future__ import annotations

from secondsite.agent.lab.engine import LinkError, PeerClient, PeerRefused
from secondsite.agent.lab.peer import code_of
from secondsite.wire.facts import Replication
from secondsite.wire.peer import Message
from secondsite.wire.problems import Code, Refusal

REVERSALS = "/v1/reversals/"


class Reversal(Message, frozen=True, kw_only=True):
    """Be the replica from now on, of a primary in `generation`. `look`: say only whether that is possible."""

    association: str
    """Of the direction to come: what lets the asking site replicate to the one that is asked."""
    generation: int
    settings: Replication
    hurry: float
    look: bool


class Reversed(Message, frozen=True, kw_only=True):
    """Planned: the other side was prepared, and has all up to the failover. Else it was made a replica before."""

    planned: bool
    generation: int
    """Of the side that answers."""


def ask(client: PeerClient, vm_id: str, name: str, message: Reversal) -> Reversed:
    """Ask the peer. Raises Refusal: the peer's own, or PeerUnreachable."""
    try:
        return client.post(f"{REVERSALS}{vm_id}", message, Reversed)
    except LinkError as error:
        raise Refusal(
            Code.PEER_UNREACHABLE,
            f"Reversing the replication of {name}: the other side does not answer: {error}",
            remedy="See that its agent runs, and that it was prepared as a target of this site, so that its data port "
            "is open; the VM runs on here meanwhile.",
        ) from error
    except PeerRefused as error:
        raise Refusal(
            code_of(error),
            f"The other side refused to become the replica of {name}: {error.detail}",
            remedy="Nothing was changed here; see what it says, then reverse again.",
        ) from error
