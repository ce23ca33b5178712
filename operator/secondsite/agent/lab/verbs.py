"""Which function carries out which verb, by the side that the VM's half is on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, cast

from secondsite.agent.driver import Command
from secondsite.agent.lab import counters, resized, rpo
from secondsite.agent.lab.estate import Estate
from secondsite.agent.lab.events import Event
from secondsite.agent.lab.faults import Fault
from secondsite.agent.lab.report import Reporter
from secondsite.agent.lab.results import Handler, Handlers, Result, replication
from secondsite.wire import arguments
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Code, Refusal


class Family(Protocol):
    """Verbs that belong together. A verb that only one of the two names is sent there from any side."""

    @property
    def on_primary(self) -> Handlers:
        """What carries out verbs where the VM's half is the primary's."""

    @property
    def elsewhere(self) -> Handlers:
        """What carries out verbs where it is the replica's, or there is none."""


class Verbs:
    """Every verb but CheckTestVM, which waits between its probes and so belongs to the driver."""

    def __init__(self, estate: Estate, reporter: Reporter, families: Iterable[Family]) -> None:
        self._estate = estate
        self._reporter = reporter
        both: dict[Verb, Handler] = {
            Verb.RESET_STATISTICS: self._reset_statistics,
            Verb.REFRESH_INVENTORY: self._refresh,
        }
        self._on_primary = dict(both)
        self._elsewhere = {**both, Verb.UPDATE_SETTINGS: self._update_settings}
        for family in families:
            self._on_primary |= family.on_primary
            self._elsewhere |= family.elsewhere

    def perform(self, command: Command) -> Result:
        """Carry a verb out and publish what it changed. Raises Refusal."""
        half = self._estate.halves.get(command.vm_id)
        first, second = self._elsewhere, self._on_primary
        if half is not None and half.side == "Primary":
            first, second = second, first
        handler = first.get(command.verb) or second.get(command.verb)
        if handler is None:
            raise _refused(command.verb)
        result = handler(command)
        if command.vm_id:
            self._reporter.relation(command.vm_id)
        return result

    def _update_settings(self, command: Command) -> Result:
        """Of a replica; a primary's may change its disks too."""
        wish = cast("arguments.UpdateSettings", command.arguments)
        halves, vm_id = self._estate.halves, command.vm_id
        halves.require(vm_id, vm_id, Event.UPDATE_SETTINGS)
        # Another RPO target counts from here on.
        halves.amend(vm_id, lambda half: rpo.settled(half, self._estate.clock.now()))
        halves.step(vm_id, Event.UPDATE_SETTINGS, settings=replication(wish.settings))
        return {}

    def _reset_statistics(self, command: Command) -> Result:
        halves, vm_id = self._estate.halves, command.vm_id
        halves.require(vm_id, vm_id, Event.RESET_STATISTICS)
        halves.step(vm_id, Event.RESET_STATISTICS, window=counters.Window(start=self._estate.clock.now()))
        return {}

    def _refresh(self, _command: Command) -> Result:
        if not self._estate.faults.on(Fault.INVENTORY_STALE):
            self._estate.refresh()
            resized.notice(self._estate)
        self._reporter.everything()
        return {}


def _refused(verb: Verb) -> Refusal:
    return Refusal(
        Code.UNSUPPORTED,
        f"{verb.value}: Hyper-V has no such command, and this driver does not offer the capability",
    )
