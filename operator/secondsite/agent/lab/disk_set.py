"""A change of the replicated disks, as the long work of a primary's turn (table row 36)."""

from __future__ import annotations

from secondsite import logs
from secondsite.agent.lab import disk_peer, turns
from secondsite.agent.lab.turns import Turn

_log = logs.get(__name__)


def change(turn: Turn) -> None:
    """Tell the replica's side, then one cycle: a new disk goes with it whole.

    Where the map was lost meanwhile the disks are compared first: no other state would find out.
    """
    disk_peer.tell(turn.client, turn.half.vm_id, turn.half.disks, turn.source.sizes)
    if not turn.source.map_trusted:
        turn.source.compare(turn.client, stop=turn.stop)
    turns.deliver(turn)
    _log.info("the replicated disks are changed", vm=turn.half.vm_name, disks=len(turn.half.disks))
