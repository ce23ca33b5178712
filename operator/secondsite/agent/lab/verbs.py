"""Which function carries out which verb, by the side that the VM's half is on."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from secondsite.agent.driver import Command
from secondsite.agent.lab import counters
from secondsite.agent.lab.estate import Estate
from secondsite.agent.lab.report import Reporter
from secondsite.agent.lab.source_verbs import Result, SourceVerbs, replication
from secondsite.agent.lab.table import Event
from secondsite.agent.lab.target_verbs import TargetVerbs
from secondsite.agent.lab.testfailover import TestFailovers
from secondsite.wire import arguments
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Code, Refusal

Handler = Callable[[Command], Result]

_NOT_IMPLEMENTED = frozenset(
    {
        Verb.EXPORT_INITIAL_REPLICATION,
        Verb.IMPORT_INITIAL_REPLICATION,
        Verb.RESYNCHRONIZE,
        Verb.STOP_RESYNCHRONIZE,
    },
)


class Verbs:
    """Every verb but CheckTestVM, which waits between its probes and so belongs to the driver."""

    def __init__(
        self,
        estate: Estate,
        reporter: Reporter,
        source: SourceVerbs,
        target: TargetVerbs,
        tests: TestFailovers,
    ) -> None:
        self._estate = estate
        self._reporter = reporter
        self._source = source
        self._target = target
        self._handlers: dict[Verb, Handler] = {
            Verb.PREPARE_REPLICA: target.prepare,
            Verb.CONFIGURE_REPLICA: target.configure,
            Verb.ENABLE_REPLICATION: source.enable,
            Verb.START_INITIAL_REPLICATION: source.start_initial,
            Verb.STOP_INITIAL_REPLICATION: source.stop_initial,
            Verb.UPDATE_SETTINGS: self._update_settings,
            Verb.SUSPEND: self._suspend,
            Verb.RESUME: self._resume,
            Verb.DISABLE_REPLICATION: self._disable,
            Verb.REMOVE_REPLICA: target.remove_replica,
            Verb.RESET_STATISTICS: self._reset_statistics,
            Verb.REFRESH_INVENTORY: self._refresh,
            Verb.START_TEST_FAILOVER: tests.start,
            Verb.STOP_TEST_FAILOVER: tests.stop,
        }

    def perform(self, command: Command) -> Result:
        """Carry a verb out and publish what it changed. Raises Refusal."""
        handler = self._handlers.get(command.verb)
        if handler is None:
            raise _refused(command.verb)
        result = handler(command)
        if command.vm_id:
            self._reporter.relation(command.vm_id)
        return result

    def _is_primary(self, vm_id: str) -> bool:
        half = self._estate.halves.get(vm_id)
        return half is not None and half.side == "Primary"

    def _suspend(self, command: Command) -> Result:
        return (self._source.suspend if self._is_primary(command.vm_id) else self._target.suspend)(command)

    def _resume(self, command: Command) -> Result:
        return (self._source.resume if self._is_primary(command.vm_id) else self._target.resume)(command)

    def _disable(self, command: Command) -> Result:
        return (self._source.disable if self._is_primary(command.vm_id) else self._target.disable)(command)

    def _update_settings(self, command: Command) -> Result:
        wish = cast("arguments.UpdateSettings", command.arguments)
        self._step(command.vm_id, Event.UPDATE_SETTINGS, settings=replication(wish.settings))
        return {}

    def _reset_statistics(self, command: Command) -> Result:
        self._step(command.vm_id, Event.RESET_STATISTICS, window=counters.Window(start=self._estate.clock.now()))
        return {}

    def _step(self, vm_id: str, event: Event, **changes: object) -> None:
        self._estate.halves.require(vm_id, vm_id, event)
        self._estate.halves.step(vm_id, event, **changes)

    def _refresh(self, _command: Command) -> Result:
        self._estate.refresh()
        self._reporter.everything()
        return {}


def _refused(verb: Verb) -> Refusal:
    if verb in _NOT_IMPLEMENTED:
        return Refusal(Code.NOT_IMPLEMENTED, f"{verb.value} is not built into this version of the lab driver")
    return Refusal(
        Code.UNSUPPORTED,
        f"{verb.value}: Hyper-V has no such command, and this driver does not offer the capability",
    )
