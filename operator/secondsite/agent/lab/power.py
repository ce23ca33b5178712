"""Start-VM and Stop-VM: which VMs of a site are on. A VM stays on or off over restarts of the agent."""

from __future__ import annotations

from secondsite.agent.driver import Command
from secondsite.agent.lab.engine import EngineError
from secondsite.agent.lab.estate import Estate
from secondsite.agent.lab.events import Event
from secondsite.agent.lab.report import Reporter
from secondsite.agent.lab.results import Handlers, Result
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Code, Refusal


class Power:
    """Both verbs are for the VM that this site runs: its own, or a replica that was failed over (row 48)."""

    def __init__(self, estate: Estate, reporter: Reporter) -> None:
        self._estate = estate
        self._reporter = reporter

    @property
    def on_primary(self) -> Handlers:
        """The same on either side."""
        return self.elsewhere

    @property
    def elsewhere(self) -> Handlers:
        """The same on either side."""
        return {Verb.START_VM: self.start, Verb.STOP_VM: self.stop}

    def start(self, command: Command) -> Result:
        """The guest goes on at its next write. A VM that is on stays so. Raises Refusal."""
        self._switch(command.vm_id, Event.START_VM, on=True)
        return {"state": "Running"}

    def stop(self, command: Command) -> Result:
        """The guest shuts down cleanly. A VM that is off stays so. Raises Refusal."""
        self._switch(command.vm_id, Event.STOP_VM, on=False)
        return {"state": "Off"}

    def _switch(self, vm_id: str, event: Event, *, on: bool) -> None:
        half = self._estate.halves.get(vm_id)
        self._estate.halves.require(vm_id, vm_id, event)
        try:
            if half is not None and half.side == "Replica":
                recovered = self._estate.recovered
                (recovered.start if on else recovered.shut_down)(vm_id)
            elif vm_id in self._estate.guests:
                self._estate.power(vm_id, on=on)
            else:
                raise Refusal(
                    Code.NOT_FOUND,
                    f"No VM {vm_id} runs at this site",
                    remedy="A replica runs only once it was failed over.",
                )
        except (EngineError, OSError) as error:
            what = "starting" if on else "shutting down"
            raise Refusal(Code.INTERNAL, f"{what.capitalize()} VM {vm_id}: {error}") from error
        self._reporter.inventory()
