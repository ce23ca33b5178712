"""A pair of lab sites between which VMs move: both directions are associated, and either side may be failed over."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from secondsite.agent.lab.engine import TokenBucket
from secondsite.wire.agent import NO_FENCE
from secondsite.wire.arguments import DemoteToReplica, Endpoint, Failover, ReverseReplication
from secondsite.wire.facts import Relation
from secondsite.wire.inventory import VM
from secondsite.wire.operations import Verb
from secondsite.wire.resources import AssociationWish, StoragePair
from support.lab import ASSOCIATION, OWNER, SETTINGS, LabPair, LabSite, free_port, make_pair
from support.lab_centres import WEB
from support.lab_process import eventually

BACK = "recovery-production"
# A cycle begins every quarter of a second.
HURRY = 120.0
_CLOUDS = {"east": "Production", "west": "Recovery"}


class CountingBucket(TokenBucket):
    """No limit, but every piece that is sent goes through it."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = 0

    def take(self, count: int, stop: threading.Event) -> None:
        """As any bucket."""
        self.sent += count
        super().take(count, stop)


class MovingPair:
    """A `LabPair` whose direction back is associated as well. `east` and `west` are its sites, whatever their roles."""

    def __init__(self, pair: LabPair) -> None:
        self.pair = pair
        self.ports = {"west": pair.port, "east": free_port()}

    @property
    def east(self) -> LabSite:
        return self.pair.source

    @property
    def west(self) -> LabSite:
        return self.pair.target

    def other(self, site: LabSite) -> LabSite:
        return self.west if site is self.east else self.east

    async def associate_back(self) -> None:
        """West may replicate to east."""
        await self.east.driver.associate(BACK, self.back("Target"))
        endpoint = Endpoint(host="hv1.east", address="127.0.0.1", port=self.ports["east"])
        await self.west.driver.associate(BACK, self.back("Source").model_copy(update={"endpoint": endpoint}))

    def back(self, role: str) -> AssociationWish:
        at_target = role == "Target"
        return AssociationWish(
            fence=NO_FENCE,
            role="Target" if at_target else "Source",
            cloud="Production" if at_target else "Recovery",
            peer_site="west" if at_target else "east",
            peer_cloud="Recovery" if at_target else "Production",
            owner=OWNER,
            port=self.ports["east"],
            storage=(StoragePair(source="Silver", target="Gold"),),
            hurry=self.east.options["hurry"],
        )

    def reverse_arguments(self, new_primary: LabSite) -> ReverseReplication:
        other = self.other(new_primary).name
        return ReverseReplication(
            association=BACK if new_primary is self.west else ASSOCIATION,
            peer_site=other,
            endpoint=Endpoint(host=f"hv1.{other}", address="127.0.0.1", port=self.ports[other]),
            settings=SETTINGS,
        )

    def demote_arguments(self, site: LabSite) -> DemoteToReplica:
        return DemoteToReplica(association=BACK if site is self.east else ASSOCIATION, peer_site=self.other(site).name)

    async def prepare(self, source: LabSite, vm_id: str = WEB) -> int:
        """Shut down and prepare; the number of the guest's last write."""
        await source.do(Verb.STOP_VM, vm_id)
        written = await self.sequence(source, vm_id)
        await source.do(Verb.PREPARE_FAILOVER, vm_id)
        return written

    async def planned(self, source: LabSite, vm_id: str = WEB) -> int:
        """A planned failover with reversal, in the order of Hyper-V; the number of the last write before it."""
        written, target = await self.prepare(source, vm_id), self.other(source)
        await target.do(Verb.FAILOVER, vm_id, Failover(planned=True))
        await target.do(Verb.REVERSE_REPLICATION, vm_id, self.reverse_arguments(target))
        await target.do(Verb.START_VM, vm_id)
        return written

    async def unplanned(self, target: LabSite, vm_id: str = WEB) -> None:
        """Fail over and start the VM there; nobody asks the other side."""
        await target.do(Verb.FAILOVER, vm_id, Failover())
        await target.do(Verb.START_VM, vm_id)

    async def sequence(self, site: LabSite, vm_id: str = WEB) -> int:
        """Number of the newest write of the guest that runs, or last ran, at a site."""
        newest = (await site.ask(ask="truth", vmID=vm_id))["newest"]
        return int(newest["sequence"]) if newest else 0

    async def writes_on(self, site: LabSite, vm_id: str = WEB) -> int:
        """Wait until the guest at a site has made ten more writes; the number of the newest."""
        goal = await self.sequence(site, vm_id) + 10

        async def reached() -> bool:
            return await self.sequence(site, vm_id) >= goal

        await eventually(reached)
        return await self.sequence(site, vm_id)

    async def live(self, site: LabSite, vm_id: str = WEB) -> dict[str, Any]:
        """The disks of the guest at a site compared with the replay of its writes."""
        return await site.ask(ask="replay", vmID=vm_id, disks=str(self.east.file))

    async def newest_point(self, site: LabSite, vm_id: str = WEB) -> dict[str, Any]:
        """The newest point at a site compared with the replay of the writes that it holds."""
        points = await site.driver.points(vm_id)
        return await site.ask(ask="replay", vmID=vm_id, point=points[-1].id, disks=str(self.east.file))

    def states(self, vm_id: str = WEB) -> tuple[str, str]:
        """Of east's half and of west's."""
        return self.east.driver.state(vm_id), self.west.driver.state(vm_id)

    def modes(self, vm_id: str = WEB) -> tuple[str, str]:
        return self.east.relation(vm_id).mode, self.west.relation(vm_id).mode

    def vm(self, site: LabSite, vm_id: str = WEB) -> VM:
        """As the inventory shows it."""
        found = site.sink.get(VM, vm_id)
        assert found is not None, f"{site.name} does not show {vm_id}"
        return found

    def shown(self, site: LabSite, vm_id: str = WEB) -> tuple[str, str]:
        """Role and state of the VM in a site's inventory."""
        found = self.vm(site, vm_id)
        return found.role, found.state

    async def caught_up(self, primary: LabSite, sequence: int, vm_id: str = WEB) -> None:
        """Wait until the other side's newest point holds a write."""
        replica = self.other(primary)

        async def held() -> bool:
            points = (await replica.ask(ask="truth", vmID=vm_id))["points"]
            return bool(points) and int(points[-1]["sequence"]) >= sequence

        await eventually(held)

    def count_sent(self, site: LabSite) -> CountingBucket:
        """How many bytes a site sends over the wire from now on."""
        opened = site.driver._site
        assert opened is not None
        opened.estate.lines.bucket = bucket = CountingBucket()
        return bucket

    def relation(self, site: LabSite, vm_id: str = WEB) -> Relation:
        return site.relation(vm_id)


@asynccontextmanager
async def moving_pair(folder: Path, *, back: bool = True, **options: Any) -> AsyncIterator[MovingPair]:
    """Runs and is associated, in both directions unless `back` is False; stopped at the end, whatever happens."""
    pair = make_pair(folder, **{"hurry": HURRY, **options})
    found = MovingPair(pair)
    try:
        await pair.source.start()
        await pair.target.start()
        await pair.associate()
        if back:
            await found.associate_back()
        yield found
    finally:
        await pair.source.driver.stop()
        await pair.target.driver.stop()
