"""What a cycle must be before anything is made for it: a stranger's numbers become sizes of files and maps."""

from collections.abc import Mapping

from secondsite.agent.lab.engine.blocks import block_count
from secondsite.agent.lab.engine.durable import check_id
from secondsite.agent.lab.engine.errors import EngineError, PeerRefused
from secondsite.wire.peer import WIRE_VERSION, CycleKind, CycleOpen

# More than any Hyper-V VM has.
_MAX_DISKS = 512
_MAX_DISK_BYTES = 64 << 40
# What a frame's header can carry, and a little less.
_MAX_GENERATION = (1 << 63) - 1


def expect_sane(message: CycleOpen) -> None:
    """PeerRefused, with a reason, for what no honest sender says."""
    if message.version != WIRE_VERSION:
        detail = (
            f"a cycle of version {message.version} came, version {WIRE_VERSION} is spoken here; update the older agent"
        )
        raise PeerRefused(422, "UnknownVersion", detail)
    try:
        for what, names in (("cycle", [message.cycle]), ("disk", list(message.disks)[: _MAX_DISKS + 1])):
            for name in names:
                check_id(what, name)
    except EngineError as error:
        raise PeerRefused(422, "BadId", str(error)) from error
    if message.kind is CycleKind.Seed:
        raise PeerRefused(422, "BadKind", "a seed is adopted where it lies, never sent")
    if not 0 <= message.generation <= _MAX_GENERATION:
        raise PeerRefused(422, "BadGeneration", f"generation {message.generation} is none")
    if message.freeze_time.tzinfo is None:
        raise PeerRefused(422, "BadTime", f"freeze time {message.freeze_time} has no time zone")
    _expect_disks(message)


def _expect_disks(message: CycleOpen) -> None:
    if not 1 <= len(message.disks) <= _MAX_DISKS:
        raise PeerRefused(422, "BadDisks", f"1 to {_MAX_DISKS} disks are possible, not {len(message.disks)}")
    for name, plan in message.disks.items():
        if not 0 < plan.size <= _MAX_DISK_BYTES:
            raise PeerRefused(422, "BadDisks", f"disk {name}: up to 64 TiB are possible, not {plan.size} bytes")
        if not 0 <= plan.blocks <= block_count(plan.size):
            raise PeerRefused(422, "BadDisks", f"disk {name} of {plan.size} bytes has not {plan.blocks} blocks")


def expect_sizes(sizes: Mapping[str, int], named: Mapping[str, int]) -> None:
    """PeerRefused where a disk comes back in another size than recovery points have it in."""
    for name, size in sizes.items():
        if named.get(name, size) != size:
            detail = f"disk {name} has {size} bytes, recovery points here have it with {named[name]}"
            raise PeerRefused(409, "DiskResized", detail)
