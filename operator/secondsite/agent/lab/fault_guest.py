"""A guest that cannot be brought to rest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from secondsite.agent.lab.engine import QuiesceFailed
from secondsite.agent.lab.faults import Fault, Faults
from secondsite.agent.lab.guests import Guest


@contextmanager
def at_rest(faults: Faults, guest: Guest) -> Iterator[None]:
    """What `guest.quiesced` does, where VSS works in it. Raises QuiesceFailed."""
    if faults.on(Fault.VSS_FAILING, guest.machine.id):
        raise QuiesceFailed(f"{guest.machine.name} cannot be quiesced: a VSS writer in it is in a failed state")
    with guest.quiesced():
        yield
