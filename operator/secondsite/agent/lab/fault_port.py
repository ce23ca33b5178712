"""Faults that the replica's side shows to whoever sends to it: asked for each request on the data port."""

from __future__ import annotations

from secondsite.agent.lab.engine import PeerRefused
from secondsite.agent.lab.faults import Fault, Faults
from secondsite.agent.lab.posts import refused
from secondsite.wire.problems import Code

_NO_ROOM = "The volume of the replica is full: no room is left for another cycle"


def require_served(faults: Faults, site: str, vm_id: str, path: str, broker: str) -> None:
    """Raises PeerRefused where a fault keeps `site` from what it asks at `path`. `broker` is whom it dials."""
    if faults.on(Fault.VMMS_RESTART):
        raise refused(Code.SETTLING, "the Hyper-V management service restarts here")
    if faults.on(Fault.BROKER_OFFLINE):
        raise PeerRefused(
            503,
            Code.PEER_UNREACHABLE.value,
            f"the Hyper-V Replica Broker {broker} is offline: no replica host is named",
        )
    if faults.on(Fault.AUTHORIZATION_REVOKED, vm_id):
        raise refused(Code.NOT_AUTHORIZED, f"no authorization entry lets site {site} replicate VM {vm_id} to this one")
    if _opens_cycle(path) and faults.on(Fault.REPLICA_DISK_FULL, vm_id):
        raise PeerRefused(507, "InsufficientSpace", _NO_ROOM)


def no_room(faults: Faults, vm_id: str) -> str:
    """Why the next cycle of a VM finds no room here; empty where it does."""
    return _NO_ROOM if faults.on(Fault.REPLICA_DISK_FULL, vm_id) else ""


def _opens_cycle(path: str) -> bool:
    return path.partition("?")[0].endswith("/cycles")
