"""The call with which a sender offers blocks that are damaged here."""

from collections.abc import Iterator

from secondsite.agent.lab.engine.errors import CorruptFrame, PeerRefused
from secondsite.agent.lab.engine.port.frames import ReceivedFrame
from secondsite.agent.lab.engine.port.route import Request, Route
from secondsite.agent.lab.engine.primary.mending import repair_digest
from secondsite.wire.peer import BLOCK_BYTES, FLAG_ZERO, MAX_WANTED_BLOCKS, Repaired

_ZEROS = bytes(BLOCK_BYTES)


def _repairs(request: Request) -> Repaired:
    """Nothing that a peer offers can do harm: a block is taken only where it is, to the bit, what was damaged here."""
    disk = request.values["disk"]
    if disk not in request.store.disks:
        raise PeerRefused(404, "UnknownDisk", f"VM {request.store.vm_id} has no disk {disk}")
    named, mended, offered = repair_digest(request.store.vm_id, disk), 0, 0
    for frame in request.frames():
        if frame.header.cycle != named:
            raise CorruptFrame(f"frame {frame.header.sequence} belongs to another disk or to a cycle")
        offered += len(frame.entries)
        if offered > MAX_WANTED_BLOCKS:
            raise PeerRefused(413, "TooMuch", f"more than the {MAX_WANTED_BLOCKS} blocks that may be asked for")
        mended += request.store.repair(disk, _blocks(frame))
    return Repaired(blocks=mended)


def _blocks(frame: ReceivedFrame) -> Iterator[tuple[int, memoryview | bytes]]:
    position = 0
    for entry in frame.entries:
        if entry["flags"] & FLAG_ZERO:
            yield int(entry["block"]), _ZEROS
        else:
            yield int(entry["block"]), frame.payload[position : position + BLOCK_BYTES]
            position += BLOCK_BYTES


ROUTES = (Route("PUT", "/v1/vms/{vm}/disks/{disk}/repairs", _repairs),)
"""Appended to those of the data port."""
