"""What can go wrong in the replication engine. Every error names the object, what came back and what to do."""


class EngineError(Exception):
    """Base of all."""


class LinkError(EngineError):
    """The other side could not be reached, or the connection broke. What was acknowledged is kept: try again."""


class BadMessage(LinkError):
    """What came over a connection is not the HTTP that is spoken here."""


class Stopped(EngineError):
    """The caller asked to stop. The cycle stays open and the next run goes on with it."""


class PeerRefused(EngineError):
    """The other side answered with a problem. Also raised by `authorize` and `verify_peer` callbacks."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail


class HeadConflict(PeerRefused):
    """Source and replica have no common recovery point: only a resynchronization helps. `head` is the replica's."""

    def __init__(self, head: str | None, detail: str) -> None:
        super().__init__(409, "HeadConflict", detail)
        self.head = head


class StaleGeneration(PeerRefused):
    """The roles have changed: the other side is in a newer term, `generation` if it says so. Nothing may be sent."""

    def __init__(self, generation: int | None, detail: str) -> None:
        super().__init__(409, "StaleGeneration", detail)
        self.generation = generation


class FramesMissing(PeerRefused):
    """A PUT began beyond what is held. `have` says where to go on."""

    def __init__(self, have: int, detail: str) -> None:
        super().__init__(409, "FramesMissing", detail)
        self.have = have


class ImageLost(LinkError):
    """The old content of a block could not be saved when a guest wrote to it: the next run takes a new freeze."""


class WaitingForMedia(EngineError):
    """The initial copy was exported and is not imported yet. Nothing is wrong, and nothing can be sent."""


class MapNotTrusted(EngineError):
    """The host stopped without a clean close: the map may lack writes. Only a comparison of the disks can tell."""


class QuiesceFailed(EngineError):
    """The guest could not be brought to rest, or did not stay so: the image is crash-consistent."""


class CorruptFrame(EngineError):
    """A frame whose CRC, bounds or block digests do not hold."""


class EndOfFile(EngineError):
    """A file of frames ends in the middle of one, or before it."""


class DamagedBlock(EngineError):
    """A stored block does not match its digest. It is never served."""

    def __init__(self, point: str, disk: str, block: int) -> None:
        super().__init__(
            f"recovery point {point}, disk {disk}: block {block} does not match its digest; choose another point"
        )
        self.point = point
        self.disk = disk
        self.block = block


class UnknownPoint(EngineError):
    """No such recovery point: merged away, or never committed."""


class UnknownClone(EngineError):
    """No such clone."""


class PointInUse(EngineError):
    """The point is the newest, or a clone stands on it: it cannot be merged."""


class NoSpace(EngineError):
    """The file system of the store has no room for it. Nothing was lost; it is tried again later."""


class StoreLocked(EngineError):
    """Another process has this store open."""


class StoreDamaged(EngineError):
    """The catalogue or a layer that it names cannot be read."""
