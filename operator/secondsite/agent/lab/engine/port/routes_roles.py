"""The call of a primary whose replica was a primary before: what did it write that nobody else has?"""

from secondsite.agent.lab.engine.blocks import block_count
from secondsite.agent.lab.engine.errors import PeerRefused
from secondsite.agent.lab.engine.port.route import Request, Route


def _stale(request: Request) -> bytes:
    request.body()
    disk, size = request.values["disk"], request.store.disks.get(request.values["disk"])
    if size is None:
        raise PeerRefused(404, "UnknownDisk", f"VM {request.store.vm_id} has no disk {disk}")
    first, count = int(request.values["from"]), int(request.values["count"])
    if first + count > block_count(size):
        raise PeerRefused(422, "BadRange", f"disk {disk} has {block_count(size)} blocks, not {first + count}")
    return request.store.receiver.stale_page(disk, first, count)


ROUTES = (Route("GET", "/v1/vms/{vm}/disks/{disk}/stale?from={from:number}&count={count:number}", _stale),)
