"""Before a freeze: do both sides mean the same recovery point, in the same term, and who wrote what since?"""

from collections.abc import Mapping

import msgspec
import numpy as np

from secondsite.agent.lab.engine.blocks import block_count
from secondsite.agent.lab.engine.errors import HeadConflict, LinkError, MapNotTrusted, PeerRefused, StaleGeneration
from secondsite.agent.lab.engine.port.client import PeerSession
from secondsite.agent.lab.engine.primary.state import SourceState
from secondsite.agent.lab.engine.primary.tracker import DiskTracker
from secondsite.agent.lab.engine.roles.stale import unpack_bits
from secondsite.wire.peer import MAX_PAGE_BLOCKS, PeerStatus


def ask(peer: PeerSession, state: SourceState) -> PeerStatus:
    """What the replica holds. StaleGeneration where there is none any more, because that side is the primary."""
    try:
        return peer.status(state.vm)
    except StaleGeneration as refusal:
        detail = f"in generation {state.generation} here; the other side says: {refusal.detail}"
        raise StaleGeneration(refusal.generation, detail) from refusal


def agreed(state: SourceState, status: PeerStatus) -> SourceState:
    """What to go on from with a replica in this state. StaleGeneration, HeadConflict."""
    if status.generation > state.generation:
        detail = (
            f"VM {state.vm}: the other side is in generation {status.generation}, this one in {state.generation}: the "
            "role was taken over; demote this side"
        )
        raise StaleGeneration(status.generation, detail)
    if status.head == state.head:
        return state
    found = with_head(state, status.head)
    if found is None:
        detail = f"VM {state.vm}: the replica's newest point is {status.head}, ours {state.head}; resynchronize"
        raise HeadConflict(status.head, detail)
    return found


def with_head(state: SourceState, head: str | None) -> SourceState | None:
    """The state that builds on `head`, where all that a replica may lack of it is in the map. None: it is not known.

    That is a cycle which was given up here before the replica's answer came: all its blocks are still owed, or in the
    open cycle. And, before the first cycle of a new primary, a point of the chain that it was promoted from.
    """
    if head is None:
        return None
    if head == state.given_up:
        opened = state.open and msgspec.structs.replace(state.open, parent=head)
        return msgspec.structs.replace(state, head=head, open=opened, given_up=None)
    if state.head is None and state.open is None and head in state.lineage:
        return msgspec.structs.replace(state, head=head)
    return None


def take_back(peer: PeerSession, vm_id: str, trackers: Mapping[str, DiskTracker]) -> None:
    """Mark as changed what the former primary wrote alone: it is to be undone by sending ours. May be repeated.

    MapNotTrusted when that side does not know: then the disks must be compared. LinkError, PeerRefused.
    """
    try:
        for name, tracker in trackers.items():
            _take_back_disk(peer, vm_id, name, tracker)
    except PeerRefused as refusal:
        if refusal.code != "MapNotTrusted":
            raise
        raise MapNotTrusted(f"VM {vm_id}, at the replica: {refusal.detail}") from refusal


def _take_back_disk(peer: PeerSession, vm_id: str, name: str, tracker: DiskTracker) -> None:
    total = block_count(tracker.disk.size)
    for first in range(0, total, MAX_PAGE_BLOCKS):
        count = min(MAX_PAGE_BLOCKS, total - first)
        path = f"/v1/vms/{vm_id}/disks/{name}/stale?from={first}&count={count}"
        try:
            bits = unpack_bits(peer.get_bytes(path), count)
        except ValueError as error:
            raise LinkError(f"VM {vm_id}, disk {name}: its stale map cannot be read: {error}") from error
        tracker.mark(first + np.flatnonzero(bits))
