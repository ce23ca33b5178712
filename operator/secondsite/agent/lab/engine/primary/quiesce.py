"""A freeze while the guest stands still, and what to make of a guest that does not."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime

from secondsite.agent.lab.engine.errors import QuiesceFailed
from secondsite.wire.peer import Consistency

# Holds the guest at rest while it is entered, and lets it go on leaving, whatever happened inside.
Quiesce = Callable[[], AbstractContextManager[None]]


@contextmanager
def shut_down() -> Iterator[None]:
    """Quiesces a guest that was shut down: the point is the last of its term, and Synced (a planned failover)."""
    yield


def freeze_at_rest(freeze: Callable[[], datetime], quiesce: Quiesce | None) -> tuple[datetime, Consistency, str | None]:
    """When it was, what the image is worth, and why it is not worth more where more was asked for."""
    if quiesce is None:
        return freeze(), Consistency.CrashConsistent, None
    frozen: datetime | None = None
    try:
        with quiesce():
            frozen = freeze()
    except QuiesceFailed as failure:
        # A guest that did not hold still until the end leaves an image that is good, but no more than that.
        return frozen or freeze(), Consistency.CrashConsistent, str(failure)
    return frozen, Consistency.Synced if quiesce is shut_down else Consistency.ApplicationConsistent, None
