"""What a primary tells the replica's side of a resynchronization: that it is under way, that it is not any more.

    POST /v1/resynchronizations/{vm}     Resynchronization -> 200 ReplicaState

Sent again until it is answered. That one ended well the replica's side sees by itself: by the cycle that ends it.
"""

from __future__ import annotations

from secondsite.agent.lab.engine import PeerClient
from secondsite.agent.lab.events import Event
from secondsite.agent.lab.halves import Halves
from secondsite.agent.lab.table import find
from secondsite.wire.facts import State
from secondsite.wire.peer import Message

RESYNCHRONIZATIONS = "/v1/resynchronizations/"


class Resynchronization(Message, frozen=True, kw_only=True):
    """Whether the primary's side resynchronizes."""

    under_way: bool


class ReplicaState(Message, frozen=True, kw_only=True):
    """The state of the replica's half after it."""

    state: State


def tell(client: PeerClient, vm_id: str, *, under_way: bool) -> None:
    """Tell the peer. Raises LinkError, PeerRefused."""
    client.post(f"{RESYNCHRONIZATIONS}{vm_id}", Resynchronization(under_way=under_way), ReplicaState)


class Listener:
    """The replica's side of it, as the data port calls it."""

    def __init__(self, halves: Halves) -> None:
        self._halves = halves

    def __call__(self, _site: str, vm_id: str, message: Resynchronization) -> ReplicaState:
        """A state in which it changes nothing (no first point yet, failed over) is no error: the cycle will tell."""
        event = Event.PEER_RESYNCHRONIZES if message.under_way else Event.PEER_STOPPED_RESYNC
        half = self._halves.get(vm_id)
        if half and find(half.side, half.state, event, half.look):
            self._halves.step(vm_id, event)
        return ReplicaState(state=self._halves.state(vm_id))
