"""Set-VMReplication on the primary, with -ReplicatedDisks too: all disks to replicate from now on (table row 36)."""

from __future__ import annotations

from typing import cast

from secondsite.agent.driver import Command
from secondsite.agent.lab import coverage
from secondsite.agent.lab.estate import Estate
from secondsite.agent.lab.events import Event
from secondsite.agent.lab.results import Handlers, Result, replication
from secondsite.agent.lab.slots import slot_id
from secondsite.agent.lab.state import Half
from secondsite.wire import arguments
from secondsite.wire.facts import DiskSlot
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Code, Refusal


class DiskVerbs:
    """Changes of the settings and the disks of a relation, from its primary's side."""

    def __init__(self, estate: Estate) -> None:
        self._estate = estate

    @property
    def on_primary(self) -> Handlers:
        """What is asked of a half that is the primary's."""
        return {Verb.UPDATE_SETTINGS: self.update}

    @property
    def elsewhere(self) -> Handlers:
        """Nothing: the replica's side is told by its peer."""
        return {}

    def update(self, command: Command) -> Result:
        """First the settings; other disks go with a cycle of their own, which the relation's turn runs."""
        wish = cast("arguments.UpdateSettings", command.arguments)
        halves, vm_id = self._estate.halves, command.vm_id
        half = halves.get(vm_id)
        halves.require(vm_id, vm_id, Event.UPDATE_SETTINGS)
        wanted = self._wanted(half, wish) if half else None
        if half and wanted is not None:
            halves.require(vm_id, half.vm_name, Event.CHANGE_DISKS)
        halves.step(vm_id, Event.UPDATE_SETTINGS, settings=replication(wish.settings))
        if half and wanted is not None:
            self._change(half, wanted)
        return {}

    def _wanted(self, half: Half, wish: arguments.UpdateSettings) -> tuple[DiskSlot, ...] | None:
        """The disks to change to; None where there is nothing to change. Raises Refusal."""
        if wish.disks is None:
            return None
        machine = self._estate.centre.machine(half.vm_id)
        if machine is None:
            raise Refusal(Code.NOT_FOUND, f"VM {half.vm_name} is not in this site's inventory any more")
        disks = coverage.require_disks(self._estate.centre, machine, wish.disks)
        same = set(disks) == set(half.disks) and half.state != "UpdateError"
        return None if same else tuple(disks)

    def _change(self, half: Half, wanted: tuple[DiskSlot, ...]) -> None:
        primary, guest = self._estate.open_primary(half), self._estate.guests[half.vm_id]
        disks = {slot_id(slot): guest.disks[slot_id(slot)] for slot in wanted}
        with primary.quiet():
            # First the half: after a death in between its disks are what tracking begins with.
            anew = {"failures": 0, "failure": "", "retry_time": None, "last_cycle_start": None}
            self._estate.halves.step(half.vm_id, Event.CHANGE_DISKS, disks=wanted, **anew)
            with guest.paused():
                primary.tracking.replace_disks(disks)
