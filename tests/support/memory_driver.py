"""A driver without a hypervisor, for tests of the agent's core: its relations are words in memory.

It fulfils the driver protocol honestly: effects are published before `perform` returns, and a verb that is
cancelled has no effect. What it is told goes line by line into `performed` in its folder, so that a test can
ask a killed process what it had begun; while a file `hold` is there, verbs wait.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from secondsite.agent.driver import Command, Sink, SiteContext
from secondsite.wire.agent import Capability, Check, Settings, Verdict
from secondsite.wire.arguments import Endpoint
from secondsite.wire.facts import Point, Relation, State
from secondsite.wire.feed import VMDetail
from secondsite.wire.inventory import VM, Association, Pool, Site, TestNetwork, Tombstone
from secondsite.wire.operations import Verb, digest
from secondsite.wire.problems import Code, Refusal
from secondsite.wire.resources import (
    AssociationAnswer,
    AssociationWish,
    ReservationWish,
    TestNetworkWish,
    TombstoneWish,
)

VM_ID = "6f1b1d8a-0000-4000-8000-000000000001"
OTHER_VM = "6f1b1d8a-0000-4000-8000-000000000002"
_AFTER: dict[Verb, State] = {
    Verb.ENABLE_REPLICATION: "ReadyForInitialReplication",
    Verb.START_INITIAL_REPLICATION: "Replicating",
    Verb.SUSPEND: "Suspended",
    Verb.RESUME: "Replicating",
}
_POOL = Pool(network="front", subnet="a", cidr="10.0.0.0/24", start="10.0.0.10", end="10.0.0.99", free=90)


class MemoryDriver:
    """`fails` is what the next verb raises; `holding` makes verbs wait, `reached` is set as soon as one does."""

    name = "memory"
    version = "1"
    capabilities: frozenset[Capability] = frozenset()
    hurry = 1.0

    def __init__(self, *, settles: bool = True) -> None:
        self.is_settled = settles
        self.fails: Exception | None = None
        self.holding = False
        self.deaf = False
        self.go = asyncio.Event()
        self.reached = asyncio.Event()
        self.commands: list[Command] = []
        self.settings: Settings | None = None
        self.stopped = False
        self.context: SiteContext | None = None
        self._states: dict[str, State] = {}
        self._pool = _POOL

    async def start(self, context: SiteContext) -> None:
        self.context = context
        context.sink.publish("site", Site(state="Ready", vmm_name="vmm1"))
        context.sink.publish("front/a", self._pool)
        for vm_id, name in ((VM_ID, "web"), (OTHER_VM, "db")):
            context.sink.publish(vm_id, VM(id=vm_id, name=name, cloud="gold", host="h1", state="Running"))

    async def stop(self) -> None:
        self.stopped = True

    def now(self) -> datetime:
        return datetime.now(UTC)

    def settled(self) -> bool:
        return self.is_settled

    def state(self, vm_id: str) -> State:
        return self._states.get(vm_id, "Disabled")

    def relation(self, vm_id: str) -> Relation | None:
        state = self._states.get(vm_id)
        if state is None:
            return None
        now = datetime.now(UTC)
        return Relation(
            vm_id=vm_id, vm_name="web", mode="Primary", state=state, health="Normal", peer_site="newyork", time=now
        )

    async def perform(self, command: Command) -> dict[str, str]:
        self.commands.append(replace(command, report=lambda _percent, _message: None))
        self._log(command)
        await self._held(command)
        if self.fails is not None:
            failure, self.fails = self.fails, None
            raise failure
        self._change(command)
        return {"performed": command.verb.value}

    async def checks(self) -> list[Check]:
        return [Check(check="Memory", verdict=Verdict.PASSED, message="there is some")]

    async def apply(self, settings: Settings) -> None:
        self.settings = settings

    async def detail(self, vm_id: str) -> VMDetail:
        if vm_id not in {VM_ID, OTHER_VM}:
            raise Refusal(Code.NOT_FOUND, f"This site has no VM {vm_id}")
        return VMDetail(relation=self.relation(vm_id), points=tuple(await self.points(vm_id)))

    async def points(self, vm_id: str) -> list[Point]:
        return [Point(id="p1", source_time=datetime(2026, 1, 1, tzinfo=UTC))]

    async def associate(self, id_: str, wish: AssociationWish) -> AssociationAnswer:
        fact = Association(
            id=id_,
            role=wish.role,
            cloud=wish.cloud,
            peer_site=wish.peer_site,
            peer_cloud=wish.peer_cloud,
            digest=digest(wish),
        )
        self._sink.publish(id_, fact)
        endpoint = Endpoint(host="h1", address="127.0.0.1", port=wish.port)
        return AssociationAnswer(id=id_, data_endpoint=endpoint, revision=0, instance="")

    async def dissociate(self, id_: str) -> None:
        self._sink.withdraw(Association, id_)

    async def reserve(self, vm_id: str, adapter: str, wish: ReservationWish) -> list[str]:
        mine = [address for vm, of, address in self._pool.reserved if (vm, of) == (vm_id, adapter)]
        if not mine:
            mine = [f"10.0.0.{10 + len(self._pool.reserved)}"]
            reserved = (*self._pool.reserved, (vm_id, adapter, mine[0]))
            self._pool = msgspec.structs.replace(self._pool, reserved=reserved)
            self._sink.publish("front/a", self._pool)
        return mine

    async def release(self, vm_id: str, adapter: str) -> None:
        kept = tuple(entry for entry in self._pool.reserved if entry[:2] != (vm_id, adapter))
        self._pool = msgspec.structs.replace(self._pool, reserved=kept)
        self._sink.publish("front/a", self._pool)

    async def make_test_network(self, id_: str, wish: TestNetworkWish) -> None:
        self._sink.publish(id_, TestNetwork(id=id_, name=wish.name))

    async def remove_test_network(self, id_: str) -> None:
        self._sink.withdraw(TestNetwork, id_)

    async def leave_tombstone(self, id_: str, wish: TombstoneWish) -> None:
        self._sink.publish(
            id_, Tombstone(id=id_, vault=wish.vault, vm_id=wish.vm_id, epoch=wish.epoch, steps=wish.steps)
        )

    async def remove_tombstone(self, id_: str) -> None:
        self._sink.withdraw(Tombstone, id_)

    @property
    def _sink(self) -> Sink:
        assert self.context is not None
        return self.context.sink

    @property
    def _folder(self) -> Path:
        assert self.context is not None
        return self.context.data

    def _log(self, command: Command) -> None:
        with (self._folder / "performed").open("a", encoding="ascii") as file:
            file.write(f"{command.key} {command.resumed}\n")

    async def _held(self, command: Command) -> None:
        while (self._folder / "hold").exists():
            await asyncio.sleep(0.01)
        if not self.holding:
            return
        command.report(40, "waiting to be let go")
        self.reached.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            if not self.deaf:
                raise
            await self.go.wait()

    def _change(self, command: Command) -> None:
        if command.verb in {Verb.DISABLE_REPLICATION, Verb.REMOVE_REPLICA}:
            self._states.pop(command.vm_id, None)
            self._sink.withdraw(Relation, command.vm_id)
        elif command.vm_id:
            self._states[command.vm_id] = _AFTER.get(command.verb, self.state(command.vm_id))
            relation = self.relation(command.vm_id)
            if relation is not None:
                self._sink.publish(command.vm_id, relation)
