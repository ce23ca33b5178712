"""Calls over the real listener that come to nothing: by fence, epoch, state, form, or for want of room."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from secondsite.wire.agent import Check, Settings
from secondsite.wire.facts import Ledger, Relation
from secondsite.wire.identity import IdentityRequest
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Code
from support.agent_calls import ENABLE, ended, finish, refused, start
from support.agents import FENCE, SITE, Caller, Running, command, enrol, running
from support.memory_driver import MemoryDriver
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
            await until(agent.agent.settled)
            answer = await agent.caller(vault).put("/v1/settings", Settings(fence=fence))
            assert answer.code == code


async def test_a_wrong_expected_state_is_a_conflict_and_nothing_begins(operator: Caller, driver: MemoryDriver) -> None:
    answer = await start(operator, "k1", command(expects=("Replicating", "Error")))
    refused(answer, Code.STATE_CONFLICT)
    assert "Disabled" in answer.json["detail"]
    assert driver.commands == []
    refused(await operator.get("/v1/operations/k1"), Code.NOT_FOUND)


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
