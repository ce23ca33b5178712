"""The verbs about resynchronization, and Synchronize where the site offers it."""

from __future__ import annotations

from secondsite.agent.driver import Command
from secondsite.agent.lab import resync, triggers, turns
from secondsite.agent.lab.engine import LinkError, PeerRefused, Stopped
from secondsite.agent.lab.estate import Estate
from secondsite.agent.lab.events import Event
from secondsite.agent.lab.lookups import half_of
from secondsite.agent.lab.results import Handlers, Result
from secondsite.agent.lab.slots import slot_id
from secondsite.agent.lab.state import Half
from secondsite.wire import arguments
from secondsite.wire.agent import Capability
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Code, Refusal


class ResyncVerbs:
    """What a site does for a VM whose map of changes is lost. Each may be repeated after an unknown outcome."""

    def __init__(self, estate: Estate) -> None:
        self._estate = estate

    @property
    def on_primary(self) -> Handlers:
        """What is asked of a half that is the primary's."""
        handlers = {Verb.RESYNCHRONIZE: self.resynchronize, Verb.STOP_RESYNCHRONIZE: self.stop}
        if Capability.SYNCHRONIZE in self._estate.centre.offers:
            handlers[Verb.SYNCHRONIZE] = self.synchronize
        return handlers

    @property
    def elsewhere(self) -> Handlers:
        """Nothing: the replica's side is told by its peer."""
        return {}

    def resynchronize(self, command: Command) -> Result:
        """Resume-VMReplication -Resynchronize, now or with -ResynchronizeStartTime."""
        wish = command.arguments
        half = half_of(self._estate, command.vm_id, Event.RESYNCHRONIZE, "Primary")
        start = wish.start_time if isinstance(wish, arguments.Resynchronize) else None
        if start is not None:
            known = {"within_a_week": triggers.within_a_week(start, self._estate.clock.now())}
            self._estate.halves.step(half.vm_id, Event.RESYNCHRONIZE_LATER, known, resynchronize_start_time=start)
            return {}
        if command.resumed and half.state in ("Resynchronizing", "Replicating"):
            return {}
        self._estate.halves.require(half.vm_id, half.vm_name, Event.RESYNCHRONIZE)
        primary = self._estate.open_primary(half)
        same = self._same_sizes(half)
        with primary.held() as (now, source):
            resync.begin(now, source, self._estate.halves, same_sizes=same)
        return {}

    def stop(self, command: Command) -> Result:
        """Stop-VMReplication: the next one begins from zero."""
        half = half_of(self._estate, command.vm_id, Event.STOP_RESYNCHRONIZE, "Primary")
        stopped = half.state == "WaitingForStartResynchronize" and half.resynchronize_start_time is None
        if command.resumed and stopped:
            return {}
        self._estate.halves.require(half.vm_id, half.vm_name, Event.STOP_RESYNCHRONIZE)
        with self._estate.open_primary(half).held() as (now, source):
            resync.stop(now, source, self._estate.halves, self._estate.clock.now())
        return {}

    def synchronize(self, command: Command) -> Result:
        """A cycle at once; it returns when all that was written before the command is delivered."""
        half = half_of(self._estate, command.vm_id, Event.SYNCHRONIZE, "Primary")
        self._estate.halves.require(half.vm_id, half.vm_name, Event.SYNCHRONIZE)
        primary = self._estate.open_primary(half)
        try:
            with primary.held() as (_, source):
                self._estate.halves.require(half.vm_id, half.vm_name, Event.SYNCHRONIZE)
                if source.open_cycle is not None:
                    # It was frozen before the command: what it lacks goes with another.
                    primary.act(turns.deliver)
                primary.act(turns.deliver)
        except (LinkError, PeerRefused, Stopped) as error:
            raise Refusal(
                Code.PEER_UNREACHABLE,
                f"Sending the changes of {half.vm_name} now: {error}",
                remedy="Replication tries it again by itself; see the message of the relation.",
            ) from error
        return {}

    def _same_sizes(self, half: Half) -> bool:
        """Also true where the peer does not answer: then the comparison finds out."""
        try:
            status = self._estate.lines.client(half).status(half.vm_id)
        except (LinkError, PeerRefused):
            return True
        disks = self._estate.guests[half.vm_id].disks
        return status.head is None or all(
            status.disks.get(slot_id(slot)) == disks[slot_id(slot)].size for slot in half.disks
        )
