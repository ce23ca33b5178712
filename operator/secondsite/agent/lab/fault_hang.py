"""A command that hangs, as a cmdlet does that waits for something which does not come."""

from __future__ import annotations

import asyncio

from secondsite.agent.driver import Command
from secondsite.agent.lab.faults import Fault, Faults

# Faults are switched in other threads, seldom.
_TICK_SECONDS = 0.1


async def hang(faults: Faults, command: Command, *, before: bool) -> None:
    """Wait while the command hangs: before its work, or after it where the fault's value is 1.

    Giving it up spends the fault: the next command does not hang.
    """
    found = faults.on(Fault.COMMAND_HANGS, command.vm_id)
    if found is None or bool(found.value) is before:
        return
    try:
        while faults.on(Fault.COMMAND_HANGS, command.vm_id):  # noqa: ASYNC110 - a fault does not say when it ends
            await asyncio.sleep(_TICK_SECONDS)
    except asyncio.CancelledError:
        faults.clear(Fault.COMMAND_HANGS, found.vm_id)
        raise
