"""Commands over the real listener: kept before they begin, begun once, refused with a code."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from secondsite.wire.agent import Settings
from secondsite.wire.facts import Ledger, Operation, Relation
from secondsite.wire.operations import Request, Verb, digest
from secondsite.wire.problems import Code, Refusal
from support.agent_calls import ENABLE, ended, finish, refused, start
from support.agents import FENCE, Caller, Running, command, enrol, running
from support.memory_driver import OTHER_VM, VM_ID, MemoryDriver
from support.patience import until
from support.vault import Vault


@pytest.fixture
def vault() -> Vault:
    return Vault()


@pytest.fixture
def driver() -> MemoryDriver:
    return MemoryDriver()


@pytest.fixture
async def site(tmp_path: Path, vault: Vault, driver: MemoryDriver) -> AsyncIterator[Running]:
    enrol(tmp_path, vault)
    async with running(tmp_path, driver) as agent:
        await until(agent.agent.settled)
        yield agent


@pytest.fixture
def operator(site: Running, vault: Vault) -> Caller:
    return site.caller(vault)


async def test_a_command_is_done_and_its_effects_stand_in_the_feed(operator: Caller) -> None:
    answer = await finish(operator, "k1", command(Verb.ENABLE_REPLICATION, expects=("Disabled",), arguments=ENABLE))
    assert (answer.json["state"], answer.json["result"]) == ("Succeeded", {"performed": "EnableReplication"})
    page = await operator.changes()
    assert int(page.cursor.split(".")[1]) >= answer.json["revision"]
    facts = {type(entry.facts): entry.facts for entry in page.entries}
    relation, operation, ledger = facts[Relation], facts[Operation], facts[Ledger]
    assert isinstance(relation, Relation)
    assert (relation.state, relation.epoch, relation.changes) == ("ReadyForInitialReplication", 1, 1)
    assert relation.owner is not None
    assert relation.owner.control_plane == "cluster-1"
    assert isinstance(operation, Operation)
    assert (operation.state, operation.term, operation.attempt) == ("Succeeded", 3, 1)
    assert isinstance(ledger, Ledger)
    assert (ledger.epoch, ledger.released_epoch, ledger.changes) == (1, 0, 1)


async def test_repeating_a_key_begins_nothing_and_gives_the_first_answer(
    operator: Caller, driver: MemoryDriver
) -> None:
    first = await finish(operator, "k1", command())
    another_process = FENCE.model_copy(update={"term": 4, "holder": "operator-b"})
    again = await start(operator, "k1", command(fence=another_process, expects=("Error",), deadline_seconds=7))
    assert again.json["result"] == first.json["result"]
    assert len(driver.commands) == 1
    assert (await operator.get("/v1/agent")).json["operationsBegun"] == 1


async def test_repeating_a_key_while_it_runs_begins_nothing(operator: Caller, driver: MemoryDriver) -> None:
    driver.holding = True
    answers = await asyncio.gather(*(start(operator, "k1", command()) for _ in range(5)))
    assert {answer.json["state"] for answer in answers} == {"Running"}
    refused(await start(operator, "k1", command(Verb.RESUME)), Code.KEY_REUSED)
    driver.go.set()
    assert (await ended(operator, "k1")).json["state"] == "Succeeded"
    assert len(driver.commands) == 1


async def test_a_known_key_with_another_body_is_refused(operator: Caller, driver: MemoryDriver) -> None:
    await finish(operator, "k1", command())
    for other in (command(Verb.RESUME), command(attempt=2), command(intent="i2"), command(vm_id=OTHER_VM)):
        refused(await start(operator, "k1", other), Code.KEY_REUSED)
    assert len(driver.commands) == 1


async def test_one_command_at_a_time_per_vm(operator: Caller, driver: MemoryDriver) -> None:
    driver.holding = True
    await start(operator, "k1", command())
    refused(await start(operator, "k2", command(Verb.RESUME)), Code.BUSY)
    assert (await start(operator, "k3", command(vm_id=OTHER_VM))).json["state"] == "Running"
    driver.go.set()
    assert (await ended(operator, "k1")).json["state"] == "Succeeded"
    assert (await finish(operator, "k2", command(Verb.RESUME))).json["state"] == "Succeeded"


async def test_a_failure_has_the_drivers_code_and_changes_nothing(operator: Caller, driver: MemoryDriver) -> None:
    driver.fails = Refusal(Code.STORAGE_EXHAUSTED, "no room", remedy="make some")
    answer = (await finish(operator, "k1", command())).json
    assert [answer[name] for name in ("state", "code", "message", "remedy")] == [
        "Failed",
        "StorageExhausted",
        "no room",
        "make some",
    ]
    assert not any(isinstance(entry.facts, Ledger) for entry in (await operator.changes()).entries)


async def test_an_unexpected_error_of_the_driver_is_unknown_not_failed(operator: Caller, driver: MemoryDriver) -> None:
    driver.fails = ZeroDivisionError("oops")
    answer = (await finish(operator, "k1", command())).json
    assert (answer["state"], answer["code"]) == ("Interrupted", "Internal")


async def test_abandoning_frees_the_vm(operator: Caller, driver: MemoryDriver) -> None:
    driver.holding = True
    await start(operator, "k1", command())
    assert (await operator.delete("/v1/operations/k1")).json["state"] == "Abandoned"
    driver.holding = False
    assert (await finish(operator, "k2", command(attempt=2))).json["state"] == "Succeeded"
    assert (await operator.delete("/v1/operations/k2")).json["state"] == "Succeeded"
    refused(await operator.delete("/v1/operations/k9"), Code.NOT_FOUND)


async def test_a_driver_that_does_not_let_go_is_not_waited_for_and_keeps_its_vm(
    operator: Caller, driver: MemoryDriver
) -> None:
    driver.holding = driver.deaf = True
    await start(operator, "k1", command())
    assert (await operator.delete("/v1/operations/k1")).json["state"] == "Abandoned"
    again = command(Verb.RESUME, attempt=2)
    refused(await start(operator, "k2", again), Code.BUSY)
    assert (await start(operator, "k3", command(vm_id=OTHER_VM))).status == 200
    driver.go.set()
    answers = [await start(operator, "k2", again)]
    while answers[-1].code == Code.BUSY:
        answers.append(await start(operator, "k2", again))
    assert (await ended(operator, "k2")).json["state"] == "Succeeded"
    assert (await operator.get("/v1/operations/k1")).json["state"] == "Abandoned"
    assert [told.key for told in driver.commands] == ["k1", "k3", "k2"]


async def test_a_deadline_abandons(operator: Caller, driver: MemoryDriver) -> None:
    driver.holding = True
    await start(operator, "k1", command(deadline_seconds=1))
    answer = await ended(operator, "k1")
    assert answer.json["state"] == "Abandoned"
    assert "deadline" in answer.json["message"]


async def test_progress_is_told_while_it_runs(operator: Caller, driver: MemoryDriver) -> None:
    driver.holding = True
    await start(operator, "k1", command())
    await driver.reached.wait()
    answer = await operator.get("/v1/operations/k1")
    assert (answer.json["percent"], answer.json["message"]) == (40, "waiting to be let go")
    facts = [entry.facts for entry in (await operator.changes()).entries if isinstance(entry.facts, Operation)]
    assert [(fact.state, fact.percent) for fact in facts] == [("Running", 40)]


async def test_served_requests_are_remembered(operator: Caller) -> None:
    await finish(operator, "k0", command(Verb.ENABLE_REPLICATION, arguments=ENABLE))
    await finish(operator, "k1", command(intent="t1", request=Request(name="synchronize", token="t1")))
    refresh = command(Verb.REFRESH_INVENTORY, vm_id="", request=Request(name="refreshInventory", token="t2"))
    assert (await finish(operator, "k2", refresh)).json["state"] == "Succeeded"
    served = {
        type(e.facts).__name__: getattr(e.facts, "served_requests", None) for e in (await operator.changes()).entries
    }
    assert served["Relation"] == served["Ledger"] == (("synchronize", "t1"),)
    assert served["Site"] == (("refreshInventory", "t2"),)


async def test_settings_reach_the_driver_and_the_feed_and_outlive_the_agent(tmp_path: Path, vault: Vault) -> None:
    enrol(tmp_path, vault)
    settings, later = Settings(fence=FENCE, bandwidth_limit_bytes_per_second=70000), MemoryDriver()
    async with running(tmp_path, MemoryDriver()) as agent:
        await until(agent.agent.settled)
        await agent.caller(vault).put("/v1/settings", settings)
    async with running(tmp_path, later) as agent:
        await until(agent.agent.settled)
        page = await agent.caller(vault).changes(wait=5)
    assert later.settings == settings
    assert [getattr(e.facts, "settings_digest", "") for e in page.entries if e.id == "site"] == [digest(settings)]


async def test_one_vm_whole(operator: Caller) -> None:
    await finish(operator, "k1", command(Verb.ENABLE_REPLICATION, arguments=ENABLE))
    whole = (await operator.get(f"/v1/vms/{VM_ID}")).json
    assert whole["relation"]["changes"] == 1
    assert [op["key"] for op in whole["operations"]] == ["k1"]
    assert whole["points"][0]["id"] == "p1"
    refused(await operator.get("/v1/vms/no-such"), Code.NOT_FOUND)


async def test_checks_are_the_drivers_and_the_agents_own(operator: Caller) -> None:
    checks = {check["check"]: check["verdict"] for check in (await operator.get("/v1/checks")).json["checks"]}
    names = ("DataFolder", "DataFolderSpace", "Clock", "Certificate", "Memory")
    assert checks == dict.fromkeys(names, "Passed")
