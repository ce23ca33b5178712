"""Failover as the primary's side knows it: prepared, called off, and made the replica of the side that took over."""

from __future__ import annotations

from typing import cast

from secondsite.agent.driver import Command
from secondsite.agent.lab import returning
from secondsite.agent.lab.engine import (
    EngineError,
    HeadConflict,
    LinkError,
    MapNotTrusted,
    PeerRefused,
    StaleGeneration,
    Stopped,
)
from secondsite.agent.lab.estate import Estate
from secondsite.agent.lab.events import Event
from secondsite.agent.lab.lookups import half_of, target_association
from secondsite.agent.lab.peer import code_of
from secondsite.agent.lab.results import Handler, Handlers, Result
from secondsite.agent.lab.roles import Roles
from secondsite.agent.lab.state import Changeover, Half
from secondsite.wire import arguments
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Code, Refusal


class FailoverSource:
    """Start-VMFailover -Prepare, Stop-VMFailover on a prepared primary, Set-VMReplication -AsReplica.

    `disable` ends the relation of a primary.
    """

    def __init__(self, estate: Estate, roles: Roles, disable: Handler) -> None:
        self._estate = estate
        self._roles = roles
        self._disable_primary = disable

    @property
    def on_primary(self) -> Handlers:
        """What is asked of a half that is the primary's."""
        return {
            Verb.PREPARE_FAILOVER: self.prepare,
            Verb.CANCEL_FAILOVER: self.cancel,
            Verb.DISABLE_REPLICATION: self.disable,
        }

    @property
    def elsewhere(self) -> Handlers:
        """A demotion that is repeated finds a replica."""
        return {Verb.DEMOTE_TO_REPLICA: self.demote}

    def prepare(self, command: Command) -> Result:
        """Send what is pending, as a Synced point, and keep the VM from starting (row 23). Raises Refusal."""
        half = half_of(self._estate, command.vm_id, Event.PREPARE_FAILOVER)
        if command.resumed and half.state == "PreparedForFailover":
            return {}
        known = {"vm_off": self._is_off(half)}
        self._estate.halves.require(half.vm_id, half.vm_name, Event.PREPARE_FAILOVER, **known)
        primary = self._estate.open_primary(half)
        with primary.held():
            try:
                primary.act(returning.deliver_last)
            except (EngineError, OSError) as error:
                raise _not_sent(half, error) from error
            self._estate.halves.step(half.vm_id, Event.PREPARE_FAILOVER, known)
        return {}

    def cancel(self, command: Command) -> Result:
        """Let the VM start again, and go on replicating (row 24). Raises Refusal."""
        with self._roles.lock:
            half = half_of(self._estate, command.vm_id, Event.CANCEL_FAILOVER)
            if command.resumed and half.state == "Replicating":
                return {}
            self._estate.halves.step(half.vm_id, Event.CANCEL_FAILOVER, last_cycle_start=None, retry_time=None)
            return {}

    def demote(self, command: Command) -> Result:
        """Be the replica of the side that took over (row 30). Raises Refusal."""
        wish = cast("arguments.DemoteToReplica", command.arguments)
        with self._roles.lock:
            half = half_of(self._estate, command.vm_id, Event.DEMOTE)
            if command.resumed and half.side == "Replica" and half.peer_site == wish.peer_site:
                return {}
            self._estate.halves.require(half.vm_id, half.vm_name, Event.DEMOTE, vm_off=self._is_off(half))
            target_association(self._estate, wish.association, wish.peer_site)
            change = Changeover(
                vm_id=half.vm_id,
                becomes="Replica",
                event=Event.DEMOTE,
                # That of the side that took over: each term is the one after the last that both were in.
                generation=half.generation + 1,
                replica=self._roles.as_replica(half, wish.association, wish.peer_site),
                association=wish.association,
                peer_site=wish.peer_site,
            )
            self._roles.give_up(change, half)
            return {}

    def disable(self, command: Command) -> Result:
        """Remove-VMReplication (row 33), before or after the peer's reversal but not in its middle. Raises Refusal."""
        with self._roles.lock:
            half = self._estate.halves.get(command.vm_id)
            if half is not None and half.side == "Replica":
                raise Refusal(
                    Code.STATE_CONFLICT,
                    f"{half.vm_name} has just become the replica of {half.peer_site}",
                    remedy="Look at both sites again, then disable the replication of the replica.",
                )
            return self._disable_primary(command)

    def _is_off(self, half: Half) -> bool:
        machine = self._estate.centre.machine(half.vm_id)
        return machine is not None and machine.state == "Off"


def _not_sent(half: Half, error: EngineError | OSError) -> Refusal:
    """Nothing has changed: what is pending is still owed, and a repeated command sends it."""
    tried = f"Sending the last changes of {half.vm_name} to {half.peer_site}: {error}"
    if isinstance(error, LinkError):
        remedy = "See that the other site's agent runs and can be reached, then prepare again; or fail over unplanned."
        return Refusal(Code.PEER_UNREACHABLE, tried, remedy=remedy)
    if isinstance(error, StaleGeneration | HeadConflict | MapNotTrusted):
        remedy = "The next replication cycle shows what is wrong: resynchronize, or settle the failover there first."
        return Refusal(Code.STATE_CONFLICT, tried, remedy=remedy)
    if isinstance(error, PeerRefused):
        return Refusal(code_of(error), tried, remedy="Mend that at the replica's side, then prepare again.")
    return Refusal(Code.BUSY if isinstance(error, Stopped) else Code.INTERNAL, tried, remedy="Prepare again.")
