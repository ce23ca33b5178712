"""What a primary tells the replica's side of a change of the replicated disks, before the cycle that carries it.

    POST /v1/disks/{vm}     DiskSet -> 200 ReplicaState, or a Problem: no room

The replica VM has these disks from then on; recovery points from before have those that the VM had.
"""

from __future__ import annotations

from collections.abc import Mapping

from secondsite.agent.lab.engine import PeerClient
from secondsite.agent.lab.peer import ReplicaDisk
from secondsite.agent.lab.resync_peer import ReplicaState
from secondsite.agent.lab.slots import slot_id
from secondsite.wire.facts import DiskSlot
from secondsite.wire.peer import Message

DISK_SETS = "/v1/disks/"


class DiskSet(Message, frozen=True, kw_only=True):
    """All disks that are replicated from now on."""

    disks: tuple[ReplicaDisk, ...]


def tell(client: PeerClient, vm_id: str, slots: tuple[DiskSlot, ...], sizes: Mapping[str, int]) -> None:
    """Tell the peer; `sizes` in bytes by the engine's names. Raises LinkError, PeerRefused."""
    disks = tuple(ReplicaDisk(slot=slot, size=sizes[slot_id(slot)]) for slot in slots)
    client.post(f"{DISK_SETS}{vm_id}", DiskSet(disks=disks), ReplicaState)
