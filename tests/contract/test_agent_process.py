"""The agent as a process: what a kill leaves, how it stops, and what it says when it cannot start."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from pathlib import Path

import aiohttp

from secondsite.wire.facts import Operation
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Code
from support.agents import FENCE, HOST, AgentProcess, Caller, bundle, command, enrol, process, spawn
from support.memory_driver import OTHER_VM, VM_ID
from support.patience import until
from support.vault import Vault

CHECK = {"owner": "shop/drill", "name": "up", "type": "Heartbeat"}


async def settled(caller: Caller) -> None:
    while (await caller.changes(wait=10)).settling:
        pass


def performed(data: Path) -> list[str]:
    log = data / "driver" / "performed"
    return log.read_text().splitlines() if log.exists() else []


async def state_of(caller: Caller, key: str) -> str:
    return str((await caller.get(f"/v1/operations/{key}")).json["state"])


async def test_a_bundle_turns_a_process_into_a_registered_agent(tmp_path: Path) -> None:
    vault, data, file = Vault(), tmp_path / "data", tmp_path / "bundle.json"
    file.write_text(bundle(vault).to_json())
    async with process(data, str(file)) as agent:
        assert agent.lines[0].endswith("waiting for registration")
        caller = Caller(agent.url, vault)
        info = (await caller.get("/v1/agent")).json
        assert agent.lines[1] == f"key fingerprint {info['keyFingerprint']}"
        await caller.register(vault)
        await settled(caller)
    async with process(data, str(file)) as agent:
        assert agent.lines[0].endswith("registered")
        assert agent.lines[1] == f"key fingerprint {info['keyFingerprint']}"
        await settled(Caller(agent.url, vault))


async def test_a_kill_in_mid_operation_loses_nothing_and_begins_nothing_twice(tmp_path: Path) -> None:
    vault, hold = Vault(), tmp_path / "driver" / "hold"
    enrol(tmp_path, vault)
    hold.parent.mkdir()
    hold.touch()
    async with process(tmp_path) as agent:
        caller = Caller(agent.url, vault)
        await settled(caller)
        for key, request in (
            ("k1", command()),
            ("k2", command(Verb.CHECK_TEST_VM, vm_id=OTHER_VM, arguments=CHECK)),
        ):
            answer = await caller.put(f"/v1/operations/{key}", request)
            assert answer.json["state"] == "Running", answer.body
        await agent.kill()
    async with process(tmp_path) as agent:
        caller = Caller(agent.url, vault)
        await settled(caller)
        await until(lambda: len(performed(tmp_path)) == 3)
        assert performed(tmp_path) == ["k1 False", "k2 False", "k1 True"]
        assert await state_of(caller, "k1") == "Running"
        assert await state_of(caller, "k2") == "Interrupted"
        # The VM is still taken, and a repeated key is still the same operation.
        assert (await caller.put("/v1/operations/k3", command(attempt=2))).code == Code.BUSY
        assert (await caller.put("/v1/operations/k1", command())).json["state"] == "Running"
        hold.unlink()
        page = await caller.changes()
        while not any(isinstance(e.facts, Operation) and e.facts.state == "Succeeded" for e in page.entries):
            page = await caller.changes(page.cursor, 10)
        assert (await caller.get("/v1/agent")).json["operationsBegun"] == 2
        assert (await caller.get(f"/v1/vms/{VM_ID}")).json["relation"]["changes"] == 1
        await agent.kill()
    async with process(tmp_path) as agent:
        caller = Caller(agent.url, vault)
        await settled(caller)
        assert await state_of(caller, "k1") == "Succeeded"
        assert (await caller.get("/v1/agent")).json["operationsBegun"] == 2
        lower = command(attempt=9, fence=FENCE.model_copy(update={"term": 1}))
        assert (await caller.put("/v1/operations/k9", lower)).code == Code.FENCED
        assert len(performed(tmp_path)) == 3


async def test_whatever_was_answered_survives_a_kill_at_any_moment(tmp_path: Path) -> None:
    vault, answered = Vault(), set[str]()
    enrol(tmp_path, vault)

    async def command_until_it_dies(caller: Caller, name: str) -> None:
        for number in range(10_000):
            key = f"{name}-{number}"
            try:
                answer = await caller.put(f"/v1/operations/{key}", command(Verb.REFRESH_INVENTORY, vm_id=""))
            except (aiohttp.ClientError, ConnectionError):
                return
            if answer.status == 200:
                answered.add(key)

    for turn in range(3):
        async with process(tmp_path) as agent:
            caller = Caller(agent.url, vault)
            await settled(caller)
            busy = [asyncio.create_task(command_until_it_dies(caller, f"t{turn}-{n}")) for n in range(3)]
            target = len(answered) + 7 * (turn + 1)
            await until(lambda target=target: len(answered) >= target)  # type: ignore[misc] # bound per turn
            await agent.kill()
            await asyncio.gather(*busy)
    async with process(tmp_path) as agent:
        caller = Caller(agent.url, vault)
        await settled(caller)
        begun = (await caller.get("/v1/agent")).json["operationsBegun"]
        assert begun >= len(answered)
        for key in answered:
            assert (await caller.get(f"/v1/operations/{key}")).status == 200


async def test_sigterm_ends_polls_and_the_process_at_once(tmp_path: Path) -> None:
    vault = Vault()
    enrol(tmp_path, vault)
    async with process(tmp_path) as agent:
        caller = Caller(agent.url, vault)
        await settled(caller)
        cursor = (await caller.changes()).cursor
        poll = asyncio.create_task(caller.changes(cursor, 60))
        await in_use(agent)
        started = time.monotonic()
        assert await agent.terminate() == 0
        assert time.monotonic() - started < 5
        assert (await poll).entries == ()


async def test_a_stopped_operation_is_taken_up_again(tmp_path: Path) -> None:
    vault, hold = Vault(), tmp_path / "driver" / "hold"
    enrol(tmp_path, vault)
    hold.parent.mkdir()
    hold.touch()
    async with process(tmp_path) as agent:
        caller = Caller(agent.url, vault)
        await settled(caller)
        await caller.put("/v1/operations/k1", command())
        assert await agent.terminate() == 0
    hold.unlink()
    async with process(tmp_path) as agent:
        caller = Caller(agent.url, vault)
        await settled(caller)
        await until(lambda: performed(tmp_path) == ["k1 False", "k1 True"])


async def failure(data: Path, *arguments: str, listen: str = f"https://{HOST}:0") -> str:
    started = await spawn(data, listen, *arguments)
    _, errors = await asyncio.wait_for(started.communicate(), 30)
    assert started.returncode == 1
    text = errors.decode()
    assert "Traceback" not in text
    return text


async def test_without_certificate_and_bundle_it_says_how_to_get_one(tmp_path: Path) -> None:
    text = await failure(tmp_path)
    assert "--bundle" in text
    assert "NAMESPACE.SITE-registration" in text


async def test_a_file_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "b.json"
    assert "No such file" in await failure(tmp_path / "data", str(file))
    file.write_text("{}")
    assert "issueRegistration" in await failure(tmp_path / "data", str(file))


async def test_a_taken_address_names_its_holder(tmp_path: Path) -> None:
    enrol(tmp_path, Vault())
    with socket.create_server((HOST, 0)) as holder:
        address = f"https://{HOST}:{holder.getsockname()[1]}"
        text = await failure(tmp_path, listen=address)
    assert address in text
    assert "Address already in use" in text or "address already in use" in text
    assert "Process " in text
    assert "--listen" in text


async def test_one_agent_per_folder(tmp_path: Path) -> None:
    enrol(tmp_path, Vault())
    async with process(tmp_path) as agent:
        assert "Another agent runs on the data folder" in await failure(tmp_path)
        agent.process.send_signal(signal.SIGTERM)
        await agent.process.wait()
    async with process(tmp_path):
        pass


async def in_use(agent: AgentProcess) -> None:
    """Until the agent has an established connection."""
    import psutil

    port = int(agent.url.rsplit(":", 1)[1])

    def connected() -> bool:
        connections = psutil.Process(agent.process.pid).net_connections("tcp")
        return any(c.status == psutil.CONN_ESTABLISHED and c.laddr.port == port for c in connections)

    await until(connected)
