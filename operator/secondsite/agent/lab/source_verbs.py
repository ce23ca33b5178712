"""The verbs of the primary's side. Each may be repeated after an unknown outcome."""

from __future__ import annotations

import contextlib
from typing import cast

from secondsite.agent.driver import Command
from secondsite.agent.lab import counters, coverage, inventory, peer
from secondsite.agent.lab.datacentre import Machine
from secondsite.agent.lab.estate import Estate
from secondsite.agent.lab.events import Event
from secondsite.agent.lab.lookups import half_of
from secondsite.agent.lab.results import Handlers, Result, replication
from secondsite.agent.lab.state import Half, Replica
from secondsite.wire import arguments
from secondsite.wire.facts import State
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Code, Refusal

# What becomes by itself of a copy that began; a resumed start finds that it was carried out.
BEGUN: frozenset[State] = frozenset(
    {"InitialReplicationInProgress", "Replicating", "Error", "WaitingForStartResynchronize"}
)


class SourceVerbs:
    """What a site does for VMs that it replicates to another."""

    def __init__(self, estate: Estate) -> None:
        self._estate = estate

    @property
    def on_primary(self) -> Handlers:
        """What is asked of a half that is the primary's."""
        return {
            Verb.START_INITIAL_REPLICATION: self.start_initial,
            Verb.STOP_INITIAL_REPLICATION: self.stop_initial,
            Verb.SUSPEND: self.suspend,
            Verb.RESUME: self.resume,
            Verb.DISABLE_REPLICATION: self.disable,
        }

    @property
    def elsewhere(self) -> Handlers:
        """What makes a half the primary's."""
        return {Verb.ENABLE_REPLICATION: self.enable}

    def enable(self, command: Command) -> Result:
        """Enable-VMReplication: first the replica's side makes the replica VM, then this half exists."""
        wish = cast("arguments.EnableReplication", command.arguments)
        machine = self._machine(command.vm_id)
        if command.resumed and self._estate.halves.state(command.vm_id) == "ReadyForInitialReplication":
            return {}
        self._estate.halves.require(command.vm_id, machine.name, Event.ENABLE)
        disks = coverage.require_disks(self._estate.centre, machine, wish.disks)
        settings = replication(wish.settings)
        client = self._estate.lines.dial(wish.peer_site, wish.endpoint.address, wish.endpoint.port)
        message = peer.EnableReplica(
            vm_name=machine.name,
            association=wish.association,
            generation=machine.generation,
            configuration_version=machine.configuration_version,
            operating_system=machine.operating_system,
            disks=tuple(peer.ReplicaDisk(slot=slot, size=size) for slot, size in disks.items()),
            adapters=inventory.adapters_of(self._estate.centre, machine),
            settings=settings,
            hurry=self._estate.clock.hurry,
            machine=machine.model_dump_json(by_alias=True),
        )
        enabled = peer.enable(client, command.vm_id, message)
        now = self._estate.clock.now()
        half = Half(
            vm_id=command.vm_id,
            vm_name=machine.name,
            side="Primary",
            state="Disabled",
            peer_site=wish.peer_site,
            association=wish.association,
            settings=settings,
            disks=tuple(disks),
            window=counters.Window(start=now),
            peer_address=wish.endpoint.address,
            peer_port=wish.endpoint.port,
        )
        self._estate.halves.create(Event.ENABLE, half)
        self._estate.open_primary(half)
        return {"replicaHost": enabled.host}

    def start_initial(self, command: Command) -> Result:
        """Start-VMInitialReplication: tracking begins, then the copy; the thread of the relation goes on with it."""
        half = half_of(self._estate, command.vm_id, Event.START_INITIAL, "Primary")
        if command.resumed and half.state in BEGUN:
            return {}
        self._estate.halves.require(half.vm_id, half.vm_name, Event.START_INITIAL)
        self.track(half)
        self._estate.halves.step(half.vm_id, Event.START_INITIAL, last_cycle_start=None, retry_time=None, failures=0)
        return {}

    def stop_initial(self, command: Command) -> Result:
        """Stop-VMInitialReplication: the next start begins with a fresh freeze."""
        half = half_of(self._estate, command.vm_id, Event.STOP_INITIAL, "Primary")
        if command.resumed and half.state == "ReadyForInitialReplication":
            return {}
        primary = self._estate.open_primary(half)
        with primary.quiet():
            self._estate.halves.step(half.vm_id, Event.STOP_INITIAL, failures=0, failure="", retry_time=None)
            primary.abandon()
        return {}

    def suspend(self, command: Command) -> Result:
        """Suspend-VMReplication: changes are tracked, not sent."""
        half = half_of(self._estate, command.vm_id, Event.SUSPEND, "Primary")
        if command.resumed and half.state in ("Suspended", "ResynchronizeSuspended"):
            return {}
        with self._estate.open_primary(half).quiet():
            self._estate.halves.step(half.vm_id, Event.SUSPEND)
        return {}

    def resume(self, command: Command) -> Result:
        """Resume-VMReplication: what is pending goes with the next cycle, which is due at once."""
        half = half_of(self._estate, command.vm_id, Event.RESUME, "Primary")
        if command.resumed and half.state in ("Replicating", "InitialReplicationInProgress", "Resynchronizing"):
            return {}
        with self._estate.open_primary(half).quiet():
            self._estate.halves.step(
                half.vm_id, Event.RESUME, failures=0, failure="", retry_time=None, last_cycle_start=None
            )
        return {}

    def disable(self, command: Command) -> Result:
        """Remove-VMReplication on the primary: the other half stays and finds out for itself."""
        half = half_of(self._estate, command.vm_id, Event.DISABLE, "Primary")
        primary = self._estate.primaries.get(half.vm_id)
        # Where it could not even be opened, giving it up is what is left to do.
        with primary.quiet() if primary else contextlib.nullcontext():
            self._estate.halves.step(half.vm_id, Event.DISABLE)
        self._estate.close_primary(half.vm_id)
        return {}

    def track(self, half: Half) -> None:
        """From here on no write of the guest escapes the map of changes."""
        primary = self._estate.open_primary(half)
        with self._estate.guests[half.vm_id].paused():
            primary.tracking.begin()

    def _machine(self, vm_id: str) -> Machine:
        machine = self._estate.centre.machine(vm_id)
        if machine is None:
            coverage.require_production(vm_id, self._estate.documents.all(Replica), self._estate.halves.all())
            raise Refusal(Code.NOT_FOUND, f"No VM {vm_id} at this site", remedy="Refresh the inventory, or correct it.")
        return machine
