"""Moments at which two things happen at once in an agent: its start and a command, a probe and a command."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path
from types import ModuleType

import pytest

from secondsite.agent import ledger, operations
from secondsite.agent.fences import Fences, load
from secondsite.agent.store import Store
from secondsite.wire.agent import Fence, Settings
from secondsite.wire.facts import Ledger, Operation
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Code
from support.agents import FENCE, Running, command, enrol, running
from support.memory_driver import VM_ID, MemoryDriver
from support.patience import until
from support.vault import Vault

PROBE = {"owner": "shop/t/1", "name": "up", "type": "Heartbeat", "periodSeconds": 1, "timeoutSeconds": 5}


class SlowToConfigure(MemoryDriver):
    """Takes its settings over only when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()
        self.let = asyncio.Event()

    async def apply(self, settings: Settings) -> None:
        self.asked.set()
        await self.let.wait()
        await super().apply(settings)


async def test_a_command_that_comes_while_the_agent_starts_is_carried_out_once(tmp_path: Path) -> None:
    vault, driver = Vault(), SlowToConfigure()
    enrol(tmp_path, vault)
    async with running(tmp_path, MemoryDriver()) as site:
        await until(site.agent.settled)
        assert (await site.caller(vault).put("/v1/settings", Settings(fence=FENCE))).status == 200
    async with running(tmp_path, driver) as site:
        operator = site.caller(vault)
        await driver.asked.wait()
        assert (await operator.put("/v1/operations/k1", command())).code == Code.SETTLING
        assert (await operator.changes()).settling
        driver.let.set()
        await until(site.agent.settled)
        assert (await operator.put("/v1/operations/k1", command())).json["state"] == "Succeeded"
        assert [one.key for one in driver.commands] == ["k1"]


async def test_a_probe_that_ends_with_a_command_does_not_undo_its_books(tmp_path: Path) -> None:
    vault, driver = Vault(), MemoryDriver()
    enrol(tmp_path, vault)
    async with running(tmp_path, driver) as site:
        await until(site.agent.settled)
        operator = site.caller(vault)
        driver.holding = True
        await operator.put("/v1/operations/suspend", command(Verb.SUSPEND))
        await operator.put("/v1/operations/probe", command(Verb.CHECK_TEST_VM, intent="i2", arguments=PROBE))
        await until(lambda: len(driver.commands) == 2)
        driver.go.set()
        await until(lambda: {"suspend", "probe"} == succeeded(site))
        assert changes(site) == 1
    async with running(tmp_path, MemoryDriver()) as site:
        assert changes(site) == 1


def succeeded(site: Running) -> set[str]:
    return {key for key, state in states(site).items() if state == "Succeeded"}


def changes(site: Running) -> int:
    ledger = site.agent.feed.fact(Ledger, VM_ID)
    assert isinstance(ledger, Ledger)
    return ledger.changes


async def test_a_fence_that_could_not_be_stored_is_stored_by_the_next_command(tmp_path: Path) -> None:
    store, fence = Store(tmp_path / "agent.db"), Fence(control_plane="c", term=7, holder="a")
    fences = Fences(store, None)
    try:
        await store.run(lambda connection: connection.execute("ALTER TABLE meta RENAME TO away").rowcount)
        with pytest.raises(sqlite3.OperationalError):
            await fences.admit(fence)
        await store.run(lambda connection: connection.execute("ALTER TABLE away RENAME TO meta").rowcount)
        await fences.admit(fence)
        assert await store.run(load) == fence
    finally:
        await store.close()


async def test_a_command_is_refused_that_a_newer_fence_overtakes_on_its_way(tmp_path: Path) -> None:
    vault, driver, gate = Vault(), MemoryDriver(), threading.Event()
    enrol(tmp_path, vault)
    async with running(tmp_path, driver) as site:
        await until(site.agent.settled)
        operator, store = site.caller(vault), site.agent.store
        assert (await operator.put("/v1/operations/k1", command())).json["state"] == "Succeeded"
        # The store is busy, so the next command is admitted and then waits to learn whether its key is known.
        entered = threading.Event()

        def hold(_connection: sqlite3.Connection) -> bool:
            entered.set()
            return gate.wait(10)

        busy = asyncio.create_task(store.run(hold))
        await until(entered.is_set)
        older = asyncio.create_task(operator.put("/v1/operations/k2", command(intent="i2")))
        await until(lambda: bool(store._queued))
        newer = asyncio.create_task(site.agent.fences.admit(FENCE.model_copy(update={"term": 4, "holder": "b"})))
        await until(lambda: len(store._queued) == 2)
        gate.set()
        await asyncio.gather(busy, newer)
        assert (await older).code == Code.FENCED
        assert [one.key for one in driver.commands] == ["k1"]


@pytest.mark.parametrize(("module", "name"), [(operations, "carry_out"), (ledger, "book")])
async def test_a_defect_of_the_agent_ends_the_operation_and_frees_the_vm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("oops")

    vault, driver = Vault(), MemoryDriver()
    enrol(tmp_path, vault)
    async with running(tmp_path, driver) as site:
        await until(site.agent.settled)
        operator = site.caller(vault)
        with monkeypatch.context() as patched:
            patched.setattr(module, name, broken)
            await operator.put("/v1/operations/k1", command())
            await until(lambda: states(site) == {"k1": "Interrupted"})
        fact = site.agent.feed.fact(Operation, "k1")
        assert isinstance(fact, Operation)
        assert (fact.code, "ZeroDivisionError" in fact.message) == (Code.INTERNAL, True)
        await operator.put("/v1/operations/k2", command(attempt=2))
        await until(lambda: states(site) == {"k1": "Interrupted", "k2": "Succeeded"})


def states(site: Running) -> dict[str, str]:
    shown = (site.agent.feed.fact(Operation, id_) for id_ in site.agent.feed.ids(Operation))
    return {one.key: one.state for one in shown if isinstance(one, Operation)}
