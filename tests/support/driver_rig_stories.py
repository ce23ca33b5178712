"""Lives of VMs as steps, one command each: what the suite interrupts by killing the agent that carries it out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from secondsite.wire.arguments import Failover, Resynchronize, Settings, StartInitialReplication
from secondsite.wire.base import Message
from secondsite.wire.operations import OperationRequest, Verb
from support.driver_rig_site import RigSite
from support.driver_rig_vm import CALM, QUICK, Member

Told = Callable[[Member], Message]
_SOURCE, _TARGET = True, False
_LATER = timedelta(days=6)
_READY = ("ReadyForInitialReplication", "WaitingForInitialReplication")
_WAITING = ("WaitingForInitialReplication", "WaitingForInitialReplication")
_OK = ("Replicating", "Replicating")
_WANTED = ("WaitingForStartResynchronize", "Replicating")
_NONE = ("Disabled", "Disabled")


@dataclass(frozen=True)
class Step:
    """`states` of both halves once it is done; `told` instead of the usual arguments."""

    at_source: bool
    verb: Verb
    states: tuple[str, str]
    told: Told | None = None

    def site(self, vm: Member) -> RigSite:
        return vm.rig.source if self.at_source else vm.rig.target

    def request(self, vm: Member) -> OperationRequest:
        request: OperationRequest = vm.wish(self.verb, self.told(vm) if self.told else None)
        return request


async def _as_it_is(_vm: Member) -> None:
    """Nothing was done for it yet."""


@dataclass
class Story:
    """A VM and the steps that it has before it; `begin` brings it to where they begin."""

    steps: tuple[Step, ...]
    begin: Callable[[Member], Awaitable[None]]
    settings: Settings = CALM
    end: Callable[[Member], Awaitable[None]] = _as_it_is


async def _enabled(vm: Member) -> None:
    await vm.enable()


async def _protected(vm: Member) -> None:
    await vm.protect()


async def _lost(vm: Member) -> None:
    vm.settings = CALM.model_copy(update={"auto_resynchronize": False})
    await vm.protect()
    vm.rig.lose_tracking(vm.id)
    await vm.reach(*_WANTED)


def _planned(_vm: Member) -> Message:
    return Failover(planned=True)


def _later(_vm: Member) -> Message:
    return StartInitialReplication(start_time=datetime.now(UTC) + _LATER)


def _resync_later(_vm: Member) -> Message:
    return Resynchronize(start_time=datetime.now(UTC) + _LATER)


async def go_home(vm: Member) -> None:
    """Planned, back to the site that it was at first."""
    source, target = vm.rig.sites
    for site, verb, told in (
        (target, Verb.STOP_VM, None),
        (target, Verb.PREPARE_FAILOVER, None),
        (source, Verb.FAILOVER, Failover(planned=True)),
        (source, Verb.START_VM, None),
        (source, Verb.REVERSE_REPLICATION, vm.reversal(target)),
    ):
        await vm.do(site, verb, told)
    await vm.reach(*_OK)


_SUSPENDED = ("Suspended", "Replicating")
_PREPARED = ("PreparedForFailover", "Replicating")
_OVER = ("PreparedForFailover", "FailedOverWaitingCompletion")
_ERROR = ("Error", "FailedOverWaitingCompletion")
_COMMITTED = ("Error", "FailedOver")

LIFE = (
    Step(_TARGET, Verb.PREPARE_REPLICA, _NONE),
    Step(_SOURCE, Verb.ENABLE_REPLICATION, _READY),
    Step(_TARGET, Verb.CONFIGURE_REPLICA, _READY),
    Step(_SOURCE, Verb.START_INITIAL_REPLICATION, _OK),
    Step(_SOURCE, Verb.DISABLE_REPLICATION, ("Disabled", "Replicating")),
    Step(_TARGET, Verb.DISABLE_REPLICATION, _NONE),
    Step(_TARGET, Verb.REMOVE_REPLICA, _NONE),
)
REHEARSAL = (
    Step(_TARGET, Verb.START_TEST_FAILOVER, _OK),
    Step(_SOURCE, Verb.SUSPEND, _SUSPENDED),
    Step(_TARGET, Verb.STOP_TEST_FAILOVER, _SUSPENDED),
    Step(_SOURCE, Verb.RESUME, _OK),
    Step(_SOURCE, Verb.UPDATE_SETTINGS, _OK),
    Step(_TARGET, Verb.RESET_STATISTICS, _OK),
)
PLANNED = (
    Step(_SOURCE, Verb.STOP_VM, _OK),
    Step(_SOURCE, Verb.PREPARE_FAILOVER, _PREPARED),
    Step(_TARGET, Verb.FAILOVER, _OVER, _planned),
    Step(_TARGET, Verb.START_VM, _OVER),
    Step(_TARGET, Verb.REVERSE_REPLICATION, _OK),
)
TAKEN_BACK = (
    Step(_TARGET, Verb.FAILOVER, _ERROR),
    Step(_TARGET, Verb.CANCEL_FAILOVER, ("Error", "Replicating")),
    Step(_SOURCE, Verb.RESUME, _OK),
)
UNPLANNED = (
    Step(_TARGET, Verb.FAILOVER, _ERROR),
    Step(_TARGET, Verb.COMMIT_FAILOVER, _COMMITTED),
    Step(_SOURCE, Verb.STOP_VM, _COMMITTED),
    Step(_SOURCE, Verb.DEMOTE_TO_REPLICA, ("WaitingForInitialReplication", "FailedOver")),
    Step(_TARGET, Verb.REVERSE_REPLICATION, _READY[::-1]),
    Step(_TARGET, Verb.START_INITIAL_REPLICATION, _OK),
)
MEDIA = (
    Step(_SOURCE, Verb.START_INITIAL_REPLICATION, _READY, _later),
    Step(_SOURCE, Verb.STOP_INITIAL_REPLICATION, _READY),
    Step(_SOURCE, Verb.EXPORT_INITIAL_REPLICATION, _WAITING),
    Step(_TARGET, Verb.IMPORT_INITIAL_REPLICATION, _OK),
)
RESYNC = (
    Step(_SOURCE, Verb.RESYNCHRONIZE, _WANTED, _resync_later),
    Step(_SOURCE, Verb.STOP_RESYNCHRONIZE, _WANTED),
    Step(_SOURCE, Verb.RESYNCHRONIZE, _OK),
)
STORIES = (
    Story(LIFE, _as_it_is),
    Story(REHEARSAL, _protected),
    Story(PLANNED, _protected, end=go_home),
    Story(TAKEN_BACK, _protected, QUICK),
    Story(UNPLANNED, _protected, QUICK, end=go_home),
    Story(MEDIA, _enabled, QUICK),
    Story(RESYNC, _lost),
)
