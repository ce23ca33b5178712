"""One VM on its way through the contract: what each verb is told for it, and the goals of design in their order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from secondsite.wire import arguments
from secondsite.wire.arguments import Endpoint, Owner, Settings, Slot
from secondsite.wire.base import Message
from secondsite.wire.facts import DiskSlot, Ledger, Relation
from secondsite.wire.inventory import VM, Association, Pool
from secondsite.wire.operations import OperationAnswer, Request, Verb
from secondsite.wire.resources import (
    AssociationAnswer,
    AssociationWish,
    ReservationWish,
    StoragePair,
    TestNetworkWish,
)
from support.driver_rig import Rig
from support.driver_rig_site import FENCE, VAULT, RigSite, key_of, until, wish

OWNER = Owner(vault=VAULT, control_plane=FENCE.control_plane)
QUICK = Settings(interval_seconds=30, retention_hours=24, rpo_target_seconds=90)
CALM = Settings(interval_seconds=900, retention_hours=24, rpo_target_seconds=2700)
"""Next to no cycle happens by itself while a test looks."""
THERE = "suite-there"
BACK = "suite-back"


async def associate(rig: Rig, sender: RigSite, taker: RigSite, id_: str) -> Endpoint:
    """Prepare both sides, the taker's first: it names where it takes data."""
    hurry = (await sender.info()).hurry
    port = rig.port if taker is rig.target else rig.back_port
    answer = await taker.set(f"/v1/associations/{id_}", association("Target", taker, sender, port, hurry))
    endpoint = AssociationAnswer.model_validate(answer).data_endpoint
    assert endpoint is not None
    told = association("Source", sender, taker, port, hurry).model_copy(update={"endpoint": endpoint})
    await sender.set(f"/v1/associations/{id_}", told)
    return endpoint


def association(role: Any, here: RigSite, there: RigSite, port: int, hurry: float) -> AssociationWish:
    taker, sender = (here, there) if role == "Target" else (there, here)
    return AssociationWish(
        fence=FENCE,
        role=role,
        cloud=here.place.cloud,
        peer_site=there.place.site,
        peer_cloud=there.place.cloud,
        owner=OWNER,
        port=port,
        storage=(StoragePair(source=sender.place.storage, target=taker.place.storage),),
        hurry=hurry,
    )


@asynccontextmanager
async def borrowed(rig: Rig, settings: Settings | None = None) -> AsyncIterator[Member]:
    """A VM of the source that nobody replicates; given back at the end, without a trace at either site."""
    member = await borrow(rig)
    member.settings = settings or member.settings
    yield member
    # Not after a failure: what it left is what one wants to see.
    await member.release()
    assert await member.left_behind() == []


async def borrow(rig: Rig) -> Member:
    """The VM that was not used for longest, under an epoch that neither site has seen."""
    there = {vm_id for site in rig.sites for vm_id in await site.facts(Relation)}
    machines = await rig.source.facts(VM)
    free = [vm for vm in machines.values() if vm.role == "Production" and vm.cloud and vm.id not in there]
    assert free, "every VM of the source is in use"
    ledgers = [await site.facts(Ledger) for site in rig.sites]
    epochs = {vm.id: max(ledger.get(vm.id, Ledger(vm.id)).epoch for ledger in ledgers) for vm in free}
    chosen = min(free, key=lambda vm: (epochs[vm.id], vm.id))
    endpoint = await rig.target.facts(Association)
    found = endpoint[THERE]
    taken = Endpoint(host=found.data_host, address=found.data_address, port=found.data_port)
    return Member(rig, chosen, epochs[chosen.id] + 1, taken)


@dataclass
class Member:
    """A VM that the suite uses. `sender` is the site that it was at first, until roles change."""

    rig: Rig
    fact: VM
    epoch: int
    endpoint: Endpoint
    settings: Settings = CALM
    told: dict[Verb, Message] = field(default_factory=dict)
    """What a verb is told instead of the usual."""

    @property
    def id(self) -> str:
        return self.fact.id

    @property
    def test(self) -> str:
        """Identity of the test that is made of it."""
        return f"suite/{self.fact.name}/rehearsal"

    @property
    def test_network(self) -> str:
        """Path of the test's isolated network."""
        return f"/v1/testnetworks/{quote(self.test, safe='')}"

    def usual(self, verb: Verb) -> Message:
        """What a verb is told where a test does not care."""
        if verb in self.told:
            return self.told[verb]
        makers = {
            Verb.PREPARE_REPLICA: self._prepare,
            Verb.ENABLE_REPLICATION: self._enable,
            Verb.CONFIGURE_REPLICA: self._configure,
            Verb.UPDATE_SETTINGS: lambda: arguments.UpdateSettings(settings=self.settings),
            Verb.EXPORT_INITIAL_REPLICATION: self._media,
            Verb.IMPORT_INITIAL_REPLICATION: self._media,
            Verb.START_TEST_FAILOVER: lambda: arguments.StartTestFailover(owner=self.test),
            Verb.CHECK_TEST_VM: self.check,
            Verb.STOP_TEST_FAILOVER: lambda: arguments.StopTestFailover(owner=self.test),
            Verb.REVERSE_REPLICATION: lambda: self.reversal(self.rig.source),
            Verb.DEMOTE_TO_REPLICA: self._demote,
        }
        shape = arguments.ARGUMENTS[verb]
        return makers[verb]() if verb in makers else shape()

    def check(self, **given: Any) -> arguments.CheckTestVM:
        fields: dict[str, Any] = {"owner": self.test, "name": "beats", "type": "Heartbeat"}
        return arguments.CheckTestVM(**(fields | {"period_seconds": 1, "timeout_seconds": 60} | given))

    async def do(self, site: RigSite, verb: Verb, told: Message | None = None, **given: Any) -> OperationAnswer:
        """Carry it out; it must succeed."""
        answer = await self.run(site, verb, told, **given)
        assert answer.state == "Succeeded", f"{verb} at {site.place.site}: {answer}"
        return answer

    async def run(self, site: RigSite, verb: Verb, told: Message | None = None, **given: Any) -> OperationAnswer:
        """Carry it out, however it ends. Raises Refused where it does not even begin."""
        request = self.wish(verb, told, **given)
        return await site.run(key_of(request), request)

    def wish(self, verb: Verb, told: Message | None = None, **given: Any) -> Any:
        return wish(verb, self.id, told or self.usual(verb), **({"epoch": self.epoch} | given))

    def request(self, name: str) -> Request:
        """A person's one-shot request, never served before."""
        return Request(name=name, token=f"{self.epoch}-{name}-{id(object())}")

    async def states(self) -> tuple[str, str]:
        """Of the source's half and the target's."""
        return await self.rig.source.state(self.id), await self.rig.target.state(self.id)

    async def reach(self, *states: str) -> None:
        """Wait until the halves are so."""

        async def there() -> bool:
            return await self.states() == states

        await until(there, self.rig.patience, f"{states} of {self.fact.name}")

    async def half(self, site: RigSite) -> Relation:
        found = await site.relation(self.id)
        assert found is not None, f"{site.place.site} has no relation of {self.fact.name}"
        return found

    # The goals of the contract, in the order of their calls.

    async def prepare(self) -> None:
        await self.do(self.rig.target, Verb.PREPARE_REPLICA)

    async def reserve(self) -> list[str]:
        """Addresses for its adapter at the target."""
        answer = await self.rig.target.set(f"/v1/reservations/{self.id}/{self.adapter}", self.reservation())
        return [str(address) for address in answer["addresses"]]

    async def enable(self) -> None:
        """Until the relation waits for its initial replication."""
        await self.prepare()
        await self.reserve()
        await self.do(self.rig.source, Verb.ENABLE_REPLICATION)
        await self.do(self.rig.target, Verb.CONFIGURE_REPLICA)

    async def protect(self) -> None:
        """Until both halves replicate."""
        await self.enable()
        await self.do(self.rig.source, Verb.START_INITIAL_REPLICATION)
        await self.reach("Replicating", "Replicating")

    async def make_test_network(self) -> str:
        name = f"isolated-{self.fact.name}"
        await self.rig.target.set(self.test_network, TestNetworkWish(fence=FENCE, name=name))
        return name

    async def release(self) -> None:
        """The order of a deletion, from wherever it stands; every step may find nothing to do."""
        for site in self.rig.sites:
            if (relation := await site.relation(self.id)) and relation.test_vm:
                stop = arguments.StopTestFailover(owner=relation.test_vm.owner)
                await self.do(site, Verb.STOP_TEST_FAILOVER, stop)
        await self.rig.target.drop(self.test_network)
        for site in self.rig.sites:
            await self.do(site, Verb.DISABLE_REPLICATION)
        for site in self.rig.sites:
            await site.drop(f"/v1/reservations/{self.id}/{self.adapter}")
            kept = await site.vm(self.id)
            if kept is None or kept.role == "Replica":
                await self.do(site, Verb.REMOVE_REPLICA)

    @property
    def adapter(self) -> str:
        return self.fact.adapters[0].mac_address

    def reservation(self, **given: Any) -> ReservationWish:
        place = self.rig.target.place
        fields: dict[str, Any] = {"fence": FENCE, "network": place.network, "subnets": [place.subnet]}
        return ReservationWish(**(fields | given))

    async def left_behind(self) -> list[str]:
        """What the sites still show of its protection."""
        pools = (await self.rig.target.facts(Pool)).values()
        found = [f"{a} is reserved" for pool in pools for vm_id, _, a in pool.reserved if vm_id == self.id]
        found += [f"{site.place.site} has a relation" for site in self.rig.sites if await site.relation(self.id)]
        machines = {site.place.site: await site.facts(VM) for site in self.rig.sites}
        found += [
            f"{vm.role} {vm.name} at {site}"
            for site, vms in machines.items()
            for vm in vms.values()
            if (vm.id == self.id and vm.role != "Production") or vm.name == f"{self.fact.name} - Test"
        ]
        return found

    def _prepare(self) -> arguments.PrepareReplica:
        return arguments.PrepareReplica(
            vm_name=self.fact.name, association=THERE, peer_site=self.rig.source.place.site, owner=OWNER
        )

    def _enable(self) -> arguments.EnableReplication:
        return arguments.EnableReplication(
            association=THERE,
            peer_site=self.rig.target.place.site,
            owner=OWNER,
            endpoint=self.endpoint,
            settings=self.settings,
            disks=[_slot(self.fact.disks[0].slot)],
        )

    def _configure(self) -> arguments.ConfigureReplica:
        plan = arguments.AdapterPlan(adapter=self.adapter, network=self.rig.target.place.network)
        return arguments.ConfigureReplica(adapters=(plan,), settings=self.settings)

    def _media(self) -> arguments.Media:
        return arguments.Media(path=self.rig.media(self.id))

    def reversal(self, here: RigSite) -> arguments.ReverseReplication:
        """Told at the other side: `here` is the replica from then on."""
        port, association_id = (self.rig.back_port, BACK) if here is self.rig.source else (self.rig.port, THERE)
        return arguments.ReverseReplication(
            association=association_id,
            peer_site=here.place.site,
            endpoint=Endpoint(host=here.place.site, address=self.endpoint.address, port=port),
            settings=self.settings,
        )

    def _demote(self) -> arguments.DemoteToReplica:
        return arguments.DemoteToReplica(association=BACK, peer_site=self.rig.target.place.site)


def _slot(slot: DiskSlot) -> Slot:
    return Slot(
        controller_type=slot.controller_type,
        controller_number=slot.controller_number,
        controller_location=slot.controller_location,
    )
