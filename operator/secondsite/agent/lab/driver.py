"""The lab driver: a faithful half of a pair of Hyper-V Replica hosts that really replicates bytes to the other half.

It fulfils `agent.driver.Driver`. Everything below is blocking and runs in threads; here is only the bridge.
"""

from __future__ import annotations

import asyncio
import functools
import resource
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import ParamSpec, TypeVar, cast

from secondsite.agent.driver import Command, SiteContext
from secondsite.agent.lab import heap
from secondsite.agent.lab.clock import LabClock
from secondsite.agent.lab.datacentre import load
from secondsite.agent.lab.engine import EngineError
from secondsite.agent.lab.fault_hang import hang
from secondsite.agent.lab.fault_schedule import planned, read_steps
from secondsite.agent.lab.faults import Fault
from secondsite.agent.lab.probe import Answer
from secondsite.agent.lab.site import Site
from secondsite.errors import SecondsiteError
from secondsite.wire.agent import Check, Settings
from secondsite.wire.arguments import CheckTestVM
from secondsite.wire.facts import Point, Relation, State
from secondsite.wire.feed import VMDetail
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Code, Refusal
from secondsite.wire.resources import (
    AssociationAnswer,
    AssociationWish,
    ReservationWish,
    TestNetworkWish,
    TombstoneWish,
)

P = ParamSpec("P")
T = TypeVar("T")

_THREADS = 16
# A disk of a replica takes about thirty: a usual soft limit of 1024 ends at a few dozen VMs.
_DESCRIPTORS = 65536


def allow_descriptors() -> None:
    """Raise this process's limit of open files as far as the system allows, up to what a large site needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class LabDriver:
    """A site of the lab, with the data centre of a YAML file. Raises SecondsiteError for a file that is wrong.

    `hurry` divides the hypervisor's intervals; it must be the same at both sites. `keep_every_cycle` keeps every
    recovery point, for tests. What Hyper-V itself cannot do is a capability only where the file says so, but for two:
    the lab knows the freeze, and it can look into a test VM on an isolated network.
    """

    name = "lab"
    version = "1"

    def __init__(self, data_centre: Path, hurry: float = 1.0, keep_every_cycle: bool = False) -> None:
        if hurry <= 0:
            raise SecondsiteError(f"The lab cannot hurry by {hurry:g}", "Choose a factor above 0.")
        self.hurry = hurry
        self._path = data_centre
        centre = load(data_centre)
        read_steps(planned(centre))
        self.capabilities = centre.offers
        self._clock = LabClock(hurry, centre.knobs)
        self._keep_every_cycle = keep_every_cycle
        self._site: Site | None = None
        # Of our own: verbs that wait for a peer must not use up the threads of the agent's core.
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="lab")

    async def start(self, context: SiteContext) -> None:
        """Open its state, publish every fact once, and go on with what it was doing."""
        allow_descriptors()
        heap.bound_arenas()
        make = functools.partial(Site, keep_every_cycle=self._keep_every_cycle)
        opened = await self._call(make, context, self._path, self._clock)
        await self._call(opened.start)
        self._site = opened

    async def stop(self) -> None:
        """End cleanly: nothing acknowledged is lost."""
        site, self._site = self._site, None
        if site:
            await self._call(site.stop)

    def now(self) -> datetime:
        """The site's own clock; a fault may put it wrong."""
        return self._site.estate.clock.now() if self._site else self._clock.now()

    def settled(self) -> bool:
        """False until its relations can be read."""
        return self._site is not None and not self._site.estate.faults.on(Fault.VMMS_RESTART)

    def state(self, vm_id: str) -> State:
        """State of this site's half; `Disabled` where there is none."""
        return self._at.estate.halves.state(vm_id)

    def relation(self, vm_id: str) -> Relation | None:
        """Half of the relation that this site holds, as it stands now."""
        return self._at.reporter.compute(vm_id)

    async def perform(self, command: Command) -> dict[str, str]:
        """Carry a verb out. Raises Refusal."""
        site = self._readable
        await hang(site.estate.faults, command, before=True)
        result = await self._carry_out(command)
        await hang(site.estate.faults, command, before=False)
        return result

    async def _carry_out(self, command: Command) -> dict[str, str]:
        if command.verb is Verb.CHECK_TEST_VM:
            return await self._check_test_vm(command)
        return await self._call(self._at.verbs.perform, command)

    async def checks(self) -> list[Check]:
        """Preflight: data-centre file, space, data port."""
        return await self._call(self._at.checks)

    async def apply(self, settings: Settings) -> None:
        """Take over the clouds to serve and the limit on what this site sends."""
        await self._call(self._at.apply, settings)

    async def detail(self, vm_id: str) -> VMDetail:
        """One VM whole. Raises Refusal (NotFound)."""
        return await self._call(self._readable.detail, vm_id)

    async def points(self, vm_id: str) -> list[Point]:
        """Every recovery point that this site holds, oldest first."""
        return await self._call(self._readable.points, vm_id)

    async def associate(self, id: str, wish: AssociationWish) -> AssociationAnswer:
        """Prepare one side of a pair of clouds; the core fills in revision and instance."""
        endpoint = await self._call(self._at.associations.put, id, wish)
        return AssociationAnswer(id=id, data_endpoint=endpoint, revision=0, instance="")

    async def dissociate(self, id: str) -> None:
        """Undo it; refused with `InUse` while a relation uses it, an unknown id is no error."""
        await self._call(self._at.associations.remove, id)

    async def reserve(self, vm_id: str, adapter: str, wish: ReservationWish) -> list[str]:
        """Addresses for one adapter, the same ones every time."""
        return await self._call(self._at.resources.reserve, vm_id, adapter, wish)

    async def release(self, vm_id: str, adapter: str) -> None:
        """Give them back."""
        await self._call(self._at.resources.release, vm_id, adapter)

    async def make_test_network(self, id: str, wish: TestNetworkWish) -> None:
        """Make an isolated network for a test."""
        await self._call(self._at.resources.make_test_network, id, wish)

    async def remove_test_network(self, id: str) -> None:
        """Remove it; refused with `InUse` while a test VM is on it."""
        await self._call(self._at.resources.remove_test_network, id)

    async def leave_tombstone(self, id: str, wish: TombstoneWish) -> None:
        """Remember what a deletion still owes here."""
        await self._call(self._at.resources.leave_tombstone, id, wish)

    async def remove_tombstone(self, id: str) -> None:
        """Forget it."""
        await self._call(self._at.resources.remove_tombstone, id)

    async def _check_test_vm(self, command: Command) -> dict[str, str]:
        """Probe until it passes. Raises Refusal (CheckFailed, with what came back last) when its time is over."""
        wish = cast("CheckTestVM", command.arguments)
        end = min(self.now().timestamp() + wish.timeout_seconds, command.deadline.timestamp())
        while True:
            answer: Answer = await self._call(self._at.tests.check, command)
            command.report(None, f"{wish.name}: {answer.message}")
            left = end - self.now().timestamp()
            if answer.passed:
                return {"message": answer.message}
            if left <= 0:
                raise Refusal(Code.CHECK_FAILED, answer.message)
            await asyncio.sleep(min(wish.period_seconds, left))

    async def _call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """In a thread; whatever the disks say comes back as a Refusal. Cancelled, it ends when the thread does."""
        running = self._threads.submit(functools.partial(function, *args, **kwargs))
        work = asyncio.wrap_future(running)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            # What runs in a thread cannot be stopped, and whoever waits here keeps others off what it works on.
            if not running.cancel():
                await asyncio.wait({work})
            raise
        except (EngineError, OSError) as error:
            raise Refusal(Code.INTERNAL, f"{type(error).__name__}: {error}") from error

    @property
    def _at(self) -> Site:
        if self._site is None:
            raise Refusal(Code.SETTLING, "The lab driver has not started yet")
        return self._site

    @property
    def _readable(self) -> Site:
        """The site, while its relations can be read."""
        if self._site is not None and not self.settled():
            raise Refusal(Code.SETTLING, "The Hyper-V management service restarts: relations cannot be read yet")
        return self._at
