"""The site's own resources: idempotent by id, seen in the feed, gone when they are deleted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from secondsite.agent.turns import Turns
from secondsite.wire.arguments import Owner
from secondsite.wire.base import Message
from secondsite.wire.problems import Code
from secondsite.wire.resources import (
    AssociationAnswer,
    AssociationWish,
    ReservationWish,
    TestNetworkWish,
    TombstoneWish,
)
from support.agents import FENCE, Caller, enrol, running
from support.memory_driver import VM_ID, MemoryDriver
from support.patience import until
from support.vault import Vault

OWNER = Owner(vault="v", control_plane="cluster-1")
ASSOCIATION = AssociationWish(
    fence=FENCE, role="Target", cloud="gold", peer_site="newyork", peer_cloud="silver", owner=OWNER, port=8084
)
MAC = "00:15:5D:01:02:03"
RESERVATION = ReservationWish(fence=FENCE, network="front", subnets=["10.0.0.0/24"])


@pytest.fixture
async def operator(tmp_path: Path) -> AsyncIterator[Caller]:
    vault = Vault()
    enrol(tmp_path, vault)
    async with running(tmp_path, MemoryDriver()) as agent:
        await until(agent.agent.settled)
        yield agent.caller(vault)


@pytest.mark.parametrize(
    ("path", "wish", "kind"),
    [
        ("/v1/associations/a1", ASSOCIATION, "AssociationEntry"),
        ("/v1/testnetworks/shop%2Fdrill%2F1", TestNetworkWish(fence=FENCE, name="drill"), "TestNetworkEntry"),
        ("/v1/tombstones/t1", TombstoneWish(fence=FENCE, vault="v", vm_id=VM_ID, epoch=2), "TombstoneEntry"),
    ],
)
async def test_a_resource_comes_and_goes(operator: Caller, path: str, wish: Message, kind: str) -> None:
    assert (await operator.get(path)).code == Code.NOT_FOUND
    first = (await operator.put(path, wish)).json
    assert (await operator.put(path, wish)).json == first
    page = await operator.changes()
    assert int(page.cursor.split(".")[1]) >= first["revision"]
    assert [type(entry).__name__ for entry in page.entries].count(kind) == 1
    assert (await operator.get(path)).status == 200
    assert (await operator.delete(path)).status == 200
    assert (await operator.delete(path)).status == 200
    gone = await operator.changes(page.cursor)
    assert [(type(entry).__name__, entry.facts) for entry in gone.entries] == [(kind, None)]
    assert (await operator.get(path)).code == Code.NOT_FOUND


async def test_an_association_names_where_data_is_taken(operator: Caller) -> None:
    answer = (await operator.put("/v1/associations/a1", ASSOCIATION)).json
    assert answer["dataEndpoint"] == {"host": "h1", "address": "127.0.0.1", "port": 8084}
    assert answer["instance"] == (await operator.changes()).instance


async def test_an_adapter_gets_the_same_address_every_time(operator: Caller) -> None:
    path = f"/v1/reservations/{VM_ID}/{MAC}"
    assert (await operator.get(path)).code == Code.NOT_FOUND
    answers = [(await operator.put(path, RESERVATION)).json["addresses"] for _ in range(2)]
    assert answers == [["10.0.0.10"], ["10.0.0.10"]]
    other = await operator.put(f"/v1/reservations/{VM_ID}/00:15:5D:01:02:04", RESERVATION)
    assert other.json["addresses"] == ["10.0.0.11"]
    assert (await operator.get(path)).json["addresses"] == ["10.0.0.10"]
    assert (await operator.delete(path)).status == 200
    assert (await operator.get(path)).code == Code.NOT_FOUND


async def test_a_wish_without_a_fence_is_refused(operator: Caller) -> None:
    answer = await operator.put("/v1/tombstones/t1", b'{"vault":"v","vmID":"x","epoch":1}')
    assert (answer.code, answer.json["detail"].split(":")[0]) == (Code.INVALID_REQUEST, "fence")


class Hanging(MemoryDriver):
    """Hangs in its first association until it is let go; `deaf` to its cancellation, as a thread is."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = self.most = self.calls = 0

    async def associate(self, id_: str, wish: AssociationWish) -> AssociationAnswer:
        self.calls += 1
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            await self._hang()
            return await super().associate(id_, wish)
        finally:
            self.inside -= 1

    async def _hang(self) -> None:
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            if not self.deaf:
                raise
            await self.go.wait()


@pytest.mark.parametrize("deaf", [False, True])
async def test_a_change_that_hangs_is_answered_and_costs_nobody_else_his_turn(tmp_path: Path, deaf: bool) -> None:
    vault, driver = Vault(), Hanging()
    driver.deaf = deaf
    enrol(tmp_path, vault)
    async with running(tmp_path, driver) as agent:
        await until(agent.agent.settled)
        agent.agent.turns = Turns(patience=0.5)
        operator = agent.caller(vault)
        hung = await asyncio.gather(*(operator.put(f"/v1/associations/a{n}", ASSOCIATION) for n in range(3)))
        assert {(answer.code, answer.status) for answer in hung} == {(Code.SETTLING, 503)}
        assert "associations" in hung[0].json["detail"]
        assert (await operator.put(f"/v1/reservations/{VM_ID}/{MAC}", RESERVATION)).status == 200
        # One that never had its turn was not begun behind its caller's back.
        assert driver.calls == 1
        driver.go.set()
        await until(lambda: not driver.inside)
        assert (await operator.put("/v1/associations/a1", ASSOCIATION)).status == 200
        assert (driver.calls, driver.most) == (2, 1)
