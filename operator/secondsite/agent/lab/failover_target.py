"""Failover as the replica's side knows it: done, called off, committed, and replication reversed."""

from __future__ import annotations

import threading
from typing import cast

import msgspec

from secondsite.agent.driver import Command
from secondsite.agent.lab import reversal_peer
from secondsite.agent.lab.choice import choose, require_synced
from secondsite.agent.lab.engine import EngineError, RecoveryPoint, UnknownPoint
from secondsite.agent.lab.estate import Estate
from secondsite.agent.lab.events import Event
from secondsite.agent.lab.lookups import half_of, store_of
from secondsite.agent.lab.recovered import FAILED_OVER, NOT_FAILED_OVER
from secondsite.agent.lab.relation import point_fact
from secondsite.agent.lab.results import Handler, Handlers, Result, point_result, replication
from secondsite.agent.lab.reversal_peer import Reversal
from secondsite.agent.lab.roles import Roles
from secondsite.agent.lab.state import Changeover, Half
from secondsite.wire import arguments
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Code, Refusal

_CHOICES = 3


class FailoverTarget:
    """Start-VMFailover, Stop-VMFailover, Complete-VMFailover, Set-VMReplication -Reverse.

    `disable` ends the relation of a replica that was not failed over.
    """

    def __init__(self, estate: Estate, roles: Roles, disable: Handler) -> None:
        self._estate = estate
        self._roles = roles
        self._disable_replica = disable

    @property
    def on_primary(self) -> Handlers:
        """A reversal that is repeated finds a primary."""
        return {Verb.REVERSE_REPLICATION: self.reverse}

    @property
    def elsewhere(self) -> Handlers:
        """What is asked of a replica."""
        return {
            Verb.FAILOVER: self.fail_over,
            Verb.CANCEL_FAILOVER: self.cancel,
            Verb.COMMIT_FAILOVER: self.commit,
            Verb.REVERSE_REPLICATION: self.reverse,
            Verb.DISABLE_REPLICATION: self.disable,
        }

    def fail_over(self, command: Command) -> Result:
        """Have the replica VM run from a recovery point, once it is started (row 25). The peer is not asked."""
        wish = cast("arguments.Failover", command.arguments)
        half = half_of(self._estate, command.vm_id, Event.FAILOVER)
        if not (command.resumed and half.state in FAILED_OVER):
            self._estate.halves.require(half.vm_id, half.vm_name, Event.FAILOVER)
            self._begin(half, wish)
            # As long as a host needs for it; whoever dies meanwhile finishes it with its next start.
            clock = self._estate.clock
            threading.Event().wait(clock.scaled(clock.knobs.failover_seconds))
            half = self._estate.halves.step(half.vm_id, Event.FAILOVER_DONE) or half
        return point_result(half.failover_point)

    def cancel(self, command: Command) -> Result:
        """Turn the VM off and discard what it wrote: a replica as before (row 27)."""
        half = half_of(self._estate, command.vm_id, Event.CANCEL_FAILOVER)
        if command.resumed and half.state == "Replicating":
            return {}
        self._estate.halves.require(half.vm_id, half.vm_name, Event.CANCEL_FAILOVER)
        store = store_of(self._estate, half)
        self._estate.recovered.turn_off(half.vm_id)
        self._estate.machinery.cancel_failover(store.store, half.failover_clone)
        self._estate.halves.step(half.vm_id, Event.CANCEL_FAILOVER, **NOT_FAILED_OVER)
        store.tidy()
        self._roles.show()
        return {}

    def commit(self, command: Command) -> Result:
        """Keep the chosen point, and no other (row 28)."""
        half = half_of(self._estate, command.vm_id, Event.COMMIT_FAILOVER)
        if not (command.resumed and half.state == "FailedOver"):
            self._estate.halves.step(half.vm_id, Event.COMMIT_FAILOVER)
        self._estate.recovered.forget_others(half, store_of(self._estate, half))
        return {}

    def reverse(self, command: Command) -> Result:
        """Replicate back to where the VM came from (rows 29 and 31). Raises Refusal; repeated, it ends the same."""
        wish = cast("arguments.ReverseReplication", command.arguments)
        half = half_of(self._estate, command.vm_id, Event.REVERSE)
        if command.resumed and half.side == "Primary":
            return {}
        if half.side == "Primary" or half.state not in FAILED_OVER:
            self._estate.halves.require(half.vm_id, half.vm_name, Event.REVERSE)
        message = self._question(half, wish)
        client = self._estate.lines.dial(wish.peer_site, wish.endpoint.address, wish.endpoint.port)
        seen = reversal_peer.ask(client, half.vm_id, half.vm_name, message)
        if not seen.planned and seen.generation > message.generation:
            raise Refusal(
                Code.STATE_CONFLICT,
                f"The replica of {half.vm_name} at {wish.peer_site} is in term {seen.generation}, this side in "
                f"{message.generation}: the other side was the primary later",
                remedy="Fail over there, or disable replication at both sides and protect the VM anew.",
            )
        known = {"peer_prepared": seen.planned, "peer_is_replica": not seen.planned}
        self._estate.halves.require(half.vm_id, half.vm_name, Event.REVERSE, **known)
        machine = self._roles.machine_here(half)
        self._roles.prepare(half)
        reversal_peer.ask(client, half.vm_id, half.vm_name, msgspec.structs.replace(message, look=False))
        change = Changeover(
            vm_id=half.vm_id,
            becomes="Primary",
            event=Event.REVERSE,
            generation=message.generation,
            machine=machine,
            association=wish.association,
            peer_site=wish.peer_site,
            peer_address=wish.endpoint.address,
            peer_port=wish.endpoint.port,
            settings=replication(wish.settings),
            initial_done=seen.planned,
        )
        self._roles.take_over(change, half.vm_name)
        return {}

    def disable(self, command: Command) -> Result:
        """Remove-VMReplication (row 33): a VM that was failed over stays as it runs, as a VM of this site."""
        half = self._estate.halves.get(command.vm_id)
        if half is None or half.side != "Replica" or half.state not in FAILED_OVER:
            return self._disable_replica(command)
        self._estate.halves.require(half.vm_id, half.vm_name, Event.DISABLE)
        machine, generation = self._roles.machine_here(half), self._term(half)
        self._roles.prepare(half)
        change = Changeover(half.vm_id, "Alone", Event.DISABLE, generation, machine)
        self._roles.take_over(change, half.vm_name)
        return {}

    def _term(self, half: Half) -> int:
        standing = self._estate.machinery.failed_over(store_of(self._estate, half).store)
        if standing is None:
            raise Refusal(Code.STATE_CONFLICT, f"{half.vm_name} was not failed over", remedy="Fail it over first.")
        return standing.generation

    def _question(self, half: Half, wish: arguments.ReverseReplication) -> Reversal:
        if half.peer_site != wish.peer_site:
            raise Refusal(
                Code.INVALID_REQUEST,
                f"{half.vm_name} is replicated from {half.peer_site}: it cannot be reversed to {wish.peer_site}",
            )
        return Reversal(
            association=wish.association,
            generation=self._term(half),
            settings=replication(wish.settings),
            hurry=self._estate.clock.hurry,
            look=True,
        )

    def _begin(self, half: Half, wish: arguments.Failover) -> None:
        """The engine first: where it refuses, nothing has changed."""
        store = store_of(self._estate, half)
        standing = self._estate.machinery.failed_over(store.store)
        if standing is not None:
            # An attempt that the half never heard of: its VM was never started.
            self._estate.machinery.cancel_failover(store.store, standing.clone)
        generation = max(store.store.status().generation, half.generation) + 1
        for _ in range(_CHOICES):
            points = store.points()
            point = choose(half.vm_name, points, wish)
            if wish.planned:
                require_synced(half.vm_name, points, point)
            clone_id = f"failover-{generation}-{point.id}"[:64]
            try:
                self._estate.machinery.fail_over(store.store, point.id, clone_id, generation).close()
            except UnknownPoint:
                # Retention merged it between choice and clone: choose again.
                continue
            except EngineError as error:
                raise Refusal(Code.INTERNAL, f"Failing {half.vm_name} over to point {point.id}: {error}") from error
            self._note(half, point, clone_id, planned=wish.planned)
            return
        raise Refusal(Code.BUSY, f"The recovery points of {half.vm_name} change too fast to choose one; try again")

    def _note(self, half: Half, point: RecoveryPoint, clone_id: str, *, planned: bool) -> None:
        self._estate.changes.power(half.vm_id, on=False)
        fact = point_fact(half.vm_name, point)
        changes = {"failover_point": fact, "failover_clone": clone_id, "planned": planned}
        self._estate.halves.step(half.vm_id, Event.FAILOVER, **changes)
