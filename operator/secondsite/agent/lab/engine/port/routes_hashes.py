"""The call of a primary that compares its disks with the replica's: what do your blocks hash to?"""

from secondsite.agent.lab.engine.errors import PeerRefused, UnknownPoint
from secondsite.agent.lab.engine.port.route import Request, Route
from secondsite.wire.peer import MAX_PAGE_BLOCKS, HashBasis


def _hashes(request: Request) -> bytes:
    request.body()
    values, disk = request.values, request.values["disk"]
    first, count = int(values["from"]), int(values["count"])
    if count > MAX_PAGE_BLOCKS:
        raise PeerRefused(422, "BadRange", f"{count} blocks in one page; at most {MAX_PAGE_BLOCKS} are possible")
    try:
        return request.store.hash_page(disk, first, count, HashBasis(values["basis"]))
    except UnknownPoint as error:
        raise PeerRefused(409, "NoHead", f"{error}; there is nothing to compare with: replicate initially") from error
    except KeyError as error:
        raise PeerRefused(404, "UnknownDisk", f"VM {request.store.vm_id} has no disk {disk}") from error
    except ValueError as error:
        raise PeerRefused(422, "BadRange", str(error)) from error


_PATH = "/v1/vms/{vm}/disks/{disk}/hashes?from={from:number}&count={count:number}&basis={basis:Stored|Read}"

ROUTES = (Route("GET", _PATH, _hashes),)
