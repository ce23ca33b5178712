"""A cycle in which nothing had changed: the newest point takes the later time, if nothing speaks against it."""

from datetime import datetime

from secondsite.agent.lab.engine.errors import PeerRefused
from secondsite.agent.lab.engine.replica.catalogue import Committed, Unchanged
from secondsite.agent.lab.engine.replica.contents import Contents
from secondsite.wire.peer import WIRE_VERSION, Consistency, CycleKind, CycleUnchanged


def expect_unchanged(contents: Contents, message: CycleUnchanged) -> Committed:
    """The newest point. PeerRefused wherever anything but a plain one stands there: a cycle says what is the matter."""
    entry = contents.points[-1] if contents.points else None
    if entry is None or entry.point != message.head or contents.generation != message.generation:
        raise _refused(f"the newest point here is {contents.head} of generation {contents.generation}")
    if message.version != WIRE_VERSION or message.freeze_time.tzinfo is None:
        raise _refused("the message is not understood here")
    if contents.promoted or contents.open or contents.damage or entry.stale or entry.kind is CycleKind.Seed:
        raise _refused("something is to be settled first")
    if entry.consistency is not Consistency.CrashConsistent:
        # Its time is that of the moment in which the guest stood still.
        raise _refused(f"point {entry.point} is more than crash-consistent")
    if entry.point in contents.clones.values():
        # A test or a failover is told which time it starts from.
        raise _refused(f"a clone stands on point {entry.point}")
    if message.freeze_time <= entry.freeze_time:
        raise _refused(f"point {entry.point} is of {entry.freeze_time.isoformat()} already")
    return entry


def moved(entry: Committed, message: CycleUnchanged, now: datetime) -> Unchanged:
    """The line that says it."""
    return Unchanged(point=entry.point, freeze_time=message.freeze_time, durable_time=now)


def _refused(reason: str) -> PeerRefused:
    return PeerRefused(409, "NotUnchanged", f"{reason}: run a cycle")
