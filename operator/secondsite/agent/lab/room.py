"""Whether a storage classification has room for a replica."""

from __future__ import annotations

from collections.abc import Mapping

from secondsite.agent.lab import inventory
from secondsite.agent.lab.datacentre import DataCentre
from secondsite.agent.lab.state import Replica
from secondsite.wire.problems import Code, Refusal


def require_room(centre: DataCentre, replicas: Mapping[str, Replica], replica: Replica, needed: int) -> None:
    """Raises Refusal where `needed` bytes are more than is free beside the other replicas."""
    others = [item for vm_id, item in replicas.items() if vm_id != replica.vm_id]
    free = inventory.free_bytes(centre, others, replica.storage)
    if needed > free:
        raise Refusal(
            Code.STORAGE_EXHAUSTED,
            f"Replica of {replica.vm_name} needs {needed} bytes of {replica.storage}, {free} are free",
            remedy="Add storage at the target, or choose another classification.",
        )
