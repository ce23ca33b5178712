"""Commands over the real listener: kept before they begin, begun once, refused with a code."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from secondsite.wire.agent import Check, Settings
from secondsite.wire.facts import Ledger, Operation, Relation
from secondsite.wire.identity import IdentityRequest
from secondsite.wire.operations import OperationRequest, Request, Verb, digest
from secondsite.wire.problems import STATUS, Code, Refusal
from support.agents import FENCE, SITE, Answer, Caller, Running, command, enrol, eventually, running
from support.memory_driver import OTHER_VM, VM_ID, MemoryDriver
from support.vault import Vault

ENABLE = {
    "association": "a",
    "peerSite": "newyork",
    "owner": {"vault": "v", "controlPlane": "cluster-1"},
    "endpoint": {"host": "h", "address": "127.0.0.1", "port": 8084},
    "settings": {"intervalSeconds": 30, "rpoTargetSeconds": 90},
    "disks": [],
}


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
        await eventually(agent.agent.settled)
        yield agent


@pytest.fixture
def operator(site: Running, vault: Vault) -> Caller:
    return site.caller(vault)


async def start(operator: Caller, key: str, request: OperationRequest) -> Answer:
    return await operator.put(f"/v1/operations/{key}", request)


async def ended(operator: Caller, key: str) -> Answer:
    """How it ended. Waits at the feed, as an operator does."""
    page = await operator.changes()
    while not any(isinstance(e.facts, Operation) and e.id == key and e.facts.end_time for e in page.entries):
        page = await operator.changes(page.cursor, 10)
    return await operator.get(f"/v1/operations/{key}")


async def finish(operator: Caller, key: str, request: OperationRequest) -> Answer:
    """Begin it and wait for its end: quick verbs answer with it at once, but no test may count on the time."""
    answer = await start(operator, key, request)
    assert answer.status == 200, answer.body
    return await ended(operator, key)


def refused(answer: Answer, code: Code) -> None:
    assert (answer.code, answer.status) == (code, STATUS[code]), answer.body
    assert answer.json["detail"]


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


async def test_fences(operator: Caller, driver: MemoryDriver) -> None:
    await finish(operator, "k1", command())
    lower = FENCE.model_copy(update={"term": 2})
    answer = await start(operator, "k2", command(fence=lower))
    refused(answer, Code.FENCED)
    assert answer.json["highestTerm"] == 3
    refused(await start(operator, "k2", command(fence=FENCE.model_copy(update={"holder": "b"}))), Code.TERM_TAKEN)
    foreign = FENCE.model_copy(update={"control_plane": "cluster-2", "term": 9})
    refused(await start(operator, "k2", command(fence=foreign)), Code.FOREIGN_CONTROL_PLANE)
    refused(await operator.delete("/v1/operations/k1", lower), Code.FENCED)
    refused(await operator.delete("/v1/associations/a", lower), Code.FENCED)
    refused(await operator.put("/v1/settings", Settings(fence=lower)), Code.FENCED)
    assert len(driver.commands) == 1
    assert driver.settings is None
    assert (await operator.get("/v1/agent")).json["fence"] == FENCE.model_dump(by_alias=True)


async def test_a_fence_outlives_the_agent(tmp_path: Path, vault: Vault) -> None:
    enrol(tmp_path, vault)
    for fence, code in ((FENCE, ""), (FENCE.model_copy(update={"term": 1}), Code.FENCED)):
        async with running(tmp_path, MemoryDriver()) as agent:
            await eventually(agent.agent.settled)
            answer = await agent.caller(vault).put("/v1/settings", Settings(fence=fence))
            assert answer.code == code


async def test_a_wrong_expected_state_is_a_conflict_and_nothing_begins(operator: Caller, driver: MemoryDriver) -> None:
    answer = await start(operator, "k1", command(expects=("Replicating", "Error")))
    refused(answer, Code.STATE_CONFLICT)
    assert "Disabled" in answer.json["detail"]
    assert driver.commands == []
    refused(await operator.get("/v1/operations/k1"), Code.NOT_FOUND)


async def test_one_command_at_a_time_per_vm(operator: Caller, driver: MemoryDriver) -> None:
    driver.holding = True
    await start(operator, "k1", command())
    refused(await start(operator, "k2", command(Verb.RESUME)), Code.BUSY)
    assert (await start(operator, "k3", command(vm_id=OTHER_VM))).json["state"] == "Running"
    driver.go.set()
    assert (await ended(operator, "k1")).json["state"] == "Succeeded"
    assert (await finish(operator, "k2", command(Verb.RESUME))).json["state"] == "Succeeded"


async def test_epochs_only_rise(operator: Caller) -> None:
    enable = command(Verb.ENABLE_REPLICATION, epoch=5, arguments=ENABLE)
    await finish(operator, "k1", enable)
    refused(await start(operator, "k2", command(epoch=4)), Code.STALE_EPOCH)
    await finish(operator, "k3", command(Verb.DISABLE_REPLICATION, epoch=5))
    ledgers = [entry.facts for entry in (await operator.changes()).entries if isinstance(entry.facts, Ledger)]
    assert [(ledger.epoch, ledger.released_epoch) for ledger in ledgers] == [(5, 5)]
    assert not any(isinstance(entry.facts, Relation) for entry in (await operator.changes()).entries)
    refused(await start(operator, "k4", enable.model_copy(update={"intent": "i2"})), Code.STALE_EPOCH)
    again = await finish(operator, "k5", enable.model_copy(update={"epoch": 6}))
    assert again.json["state"] == "Succeeded"


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
        await eventually(agent.agent.settled)
        await agent.caller(vault).put("/v1/settings", settings)
    async with running(tmp_path, later) as agent:
        await eventually(agent.agent.settled)
        page = await agent.caller(vault).changes(wait=5)
    assert later.settings == settings
    assert [getattr(e.facts, "settings_digest", "") for e in page.entries if e.id == "site"] == [digest(settings)]


async def test_what_a_driver_lacks_is_unsupported(operator: Caller, driver: MemoryDriver) -> None:
    refused(await start(operator, "k1", command(Verb.SYNCHRONIZE)), Code.UNSUPPORTED)
    assert driver.commands == []


async def test_nothing_begins_while_the_site_settles(operator: Caller, driver: MemoryDriver) -> None:
    driver.is_settled = False
    refused(await start(operator, "k1", command()), Code.SETTLING)
    assert (await operator.changes()).settling
    assert driver.commands == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "the body"),
        (b"[1]", "the body"),
        (b'{"verb":"Suspend"}', "intent"),
        (command().to_json().replace(b'"Suspend"', b'"Explode"'), "verb"),
        (command().to_json().replace(b'"attempt":1', b'"attempt":"1"'), "attempt"),
        (command().to_json().replace(b'"term":3', b'"term":-3'), "fence.term"),
        (command(vm_id="").to_json(), "vmID"),
        (command(Verb.REFRESH_INVENTORY).to_json(), "vmID"),
        (command(Verb.UPDATE_SETTINGS).to_json(), "arguments.settings"),
        (
            command(Verb.UPDATE_SETTINGS, arguments={"settings": {"intervalSeconds": 31}}).to_json(),
            "arguments.settings.intervalSeconds",
        ),
    ],
)
async def test_a_wrong_body_is_refused_by_field(
    operator: Caller, driver: MemoryDriver, body: bytes, field: str
) -> None:
    answer = await operator.put("/v1/operations/k1", body)
    refused(answer, Code.INVALID_REQUEST)
    assert answer.json["detail"].startswith(f"{field}: "), answer.json["detail"]
    assert driver.commands == []


@pytest.mark.parametrize("wait", ["-1", "nan", "inf", "soon"])
async def test_a_wrong_wait_is_refused(operator: Caller, wait: str) -> None:
    refused(await operator.get("/v1/changes", wait=wait), Code.INVALID_REQUEST)


async def test_strange_calls_get_problems(operator: Caller) -> None:
    refused(await operator.get("/v1/nonsense"), Code.NOT_FOUND)
    refused(await operator.get("/"), Code.NOT_FOUND)
    refused(await operator.get("/v1/operations/k%20k"), Code.INVALID_REQUEST)
    refused(await operator.ask("DELETE", "/v1/operations/k1"), Code.INVALID_REQUEST)
    patched = await operator.ask("PATCH", "/v1/agent")
    assert (patched.status, patched.code) == (405, Code.INVALID_REQUEST)
    refused(await operator.put("/v1/operations/k1", b" " * (1 << 21)), Code.TOO_LARGE)


async def test_what_cannot_be_stored_does_not_begin_and_what_began_ends(
    site: Running, operator: Caller, driver: MemoryDriver
) -> None:
    def limit(connection: sqlite3.Connection, pages: int) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}").fetchone()

    await site.agent.store.run(partial(limit, pages=1))
    answers = {f"k{n}": await start(operator, f"k{n}", command(vm_id=f"vm{n}", intent="x" * 250)) for n in range(40)}
    refused(answers["k39"], Code.STORAGE_EXHAUSTED)
    begun = [key for key, answer in answers.items() if answer.status == 200]
    await site.agent.store.run(partial(limit, pages=1_000_000))
    for key in begun:
        assert (await ended(operator, key)).json["state"] == "Succeeded"
    assert [told.key for told in driver.commands] == begun
    assert (await operator.get("/v1/agent")).json["operationsBegun"] == len(begun)
    assert (await finish(operator, "k39", command(vm_id="vm39"))).json["state"] == "Succeeded"


async def test_certificates_of_others_are_not_there_yet(operator: Caller, vault: Vault) -> None:
    asked = IdentityRequest(vault_id=vault.vault_id, site=SITE, subject="host h1")
    refused(await operator.put("/v1/identity/request", asked), Code.NOT_IMPLEMENTED)


async def test_a_defect_answers_internal_and_the_agent_goes_on(
    operator: Caller, driver: MemoryDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken() -> list[Check]:
        raise ZeroDivisionError

    monkeypatch.setattr(driver, "checks", broken)
    refused(await operator.get("/v1/checks"), Code.INTERNAL)
    assert (await operator.get("/v1/agent")).status == 200


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
