"""The replica's side of a change of the replicated disks: room for them, and what the replica VM has."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from secondsite.agent.lab import inventory
from secondsite.agent.lab.disk_peer import DiskSet
from secondsite.agent.lab.engine import PeerRefused
from secondsite.agent.lab.estate import Estate
from secondsite.agent.lab.resync_peer import ReplicaState
from secondsite.agent.lab.state import Replica
from secondsite.wire.problems import STATUS, Code


class DiskListener:
    """As the data port calls it. May be repeated."""

    def __init__(self, estate: Estate, changed: Callable[[], None]) -> None:
        self._estate = estate
        self._changed = changed

    def __call__(self, _site: str, vm_id: str, body: bytes) -> ReplicaState:
        try:
            wish = msgspec.json.decode(body, type=DiskSet)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise PeerRefused(400, "InvalidRequest", f"not a DiskSet: {error}") from error
        documents = self._estate.documents
        replica = documents.get(Replica, vm_id)
        if replica is None:
            raise PeerRefused(404, "NotFound", f"VM {vm_id} has no replica here")
        disks = tuple((disk.slot, disk.size) for disk in wish.disks)
        if disks != replica.disks:
            self._expect_room(replica, sum(disk.size for disk in wish.disks))
            documents.put(vm_id, msgspec.structs.replace(replica, disks=disks))
            self._changed()
        self._estate.halves.update(vm_id, disks=tuple(disk.slot for disk in wish.disks))
        return ReplicaState(state=self._estate.halves.state(vm_id))

    def _expect_room(self, replica: Replica, needed: int) -> None:
        others = [item for key, item in self._estate.documents.all(Replica).items() if key != replica.vm_id]
        free = inventory.free_bytes(self._estate.centre, others, replica.storage)
        if needed > free:
            detail = f"the disks of {replica.vm_name} need {needed} bytes of {replica.storage}, {free} are free"
            raise PeerRefused(STATUS[Code.STORAGE_EXHAUSTED], Code.STORAGE_EXHAUSTED.value, detail)
