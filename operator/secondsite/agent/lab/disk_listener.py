"""The replica's side of a change of the replicated disks: room for them, and what the replica VM has."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from secondsite.agent.lab.disk_peer import DiskSet
from secondsite.agent.lab.estate import Estate
from secondsite.agent.lab.resync_peer import ReplicaState
from secondsite.agent.lab.room import require_room
from secondsite.agent.lab.state import Replica
from secondsite.wire.problems import Code, Refusal


class DiskListener:
    """As the data port calls it. May be repeated."""

    def __init__(self, estate: Estate, changed: Callable[[], None]) -> None:
        self._estate = estate
        self._changed = changed

    def __call__(self, _site: str, vm_id: str, wish: DiskSet) -> ReplicaState:
        """Raises Refusal where there is no room for them, or no replica."""
        documents = self._estate.documents
        replica = documents.get(Replica, vm_id)
        if replica is None:
            raise Refusal(Code.NOT_FOUND, f"VM {vm_id} has no replica here")
        disks = tuple((disk.slot, disk.size) for disk in wish.disks)
        if disks != replica.disks:
            require_room(self._estate.centre, documents.all(Replica), replica, sum(size for _, size in disks))
            documents.put(vm_id, msgspec.structs.replace(replica, disks=disks))
            self._changed()
        self._estate.halves.update(vm_id, disks=tuple(disk.slot for disk in wish.disks))
        return ReplicaState(state=self._estate.halves.state(vm_id))
