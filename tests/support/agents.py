"""Agents for tests: in this process or as one of their own, and a caller that speaks to them as an operator would."""

from __future__ import annotations

import asyncio
import io
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from secondsite.agent.address import Address
from secondsite.agent.core import Agent
from secondsite.agent.driver import Driver
from secondsite.agent.identity import SiteIdentity
from secondsite.agent.listener import Listener
from secondsite.trust.bundle import RegistrationBundle, issue_bundle
from secondsite.trust.contexts import client_context
from secondsite.trust.gate import SiteGate
from secondsite.trust.identity import Identity
from secondsite.trust.keys import requested_key
from secondsite.trust.names import Name, Role
from secondsite.wire.agent import Fence
from secondsite.wire.base import Message
from secondsite.wire.feed import Changes
from secondsite.wire.identity import CertificateInstall, IdentityRequest
from secondsite.wire.operations import OperationRequest, Verb
from support.memory_driver import VM_ID
from support.vault import DAY, Vault

SITE = "chicago"
HOST = "127.0.0.1"
FENCE = Fence(control_plane="cluster-1", term=3, holder="operator-a")


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        decoded: dict[str, Any] = msgspec.json.decode(self.body)
        return decoded

    @property
    def code(self) -> str:
        return str(self.json.get("code", ""))


class Caller:
    """Whoever dials a site, with an identity of its own. Every call is a new connection."""

    def __init__(self, url: str, vault: Vault, identity: Identity | None = None, *, site: str = SITE) -> None:
        self.url = url
        self.gate = SiteGate(site, HOST)
        self.context = client_context(identity or vault.operator(), vault.trust(), self.gate)

    async def ask(self, method: str, path: str, body: Message | bytes | None = None, **query: str) -> Answer:
        raw = body.to_json() if isinstance(body, Message) else body
        data = None if raw is None else io.BytesIO(raw)
        connector = aiohttp.TCPConnector(ssl=self.context, force_close=True)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.request(method, self.url + path, data=data, params=query) as answer,
        ):
            return Answer(answer.status, await answer.read())

    async def get(self, path: str, **query: str) -> Answer:
        return await self.ask("GET", path, None, **query)

    async def put(self, path: str, body: Message | bytes) -> Answer:
        return await self.ask("PUT", path, body)

    async def delete(self, path: str, fence: Fence = FENCE) -> Answer:
        return await self.ask("DELETE", path, None, **fence.query())

    async def changes(self, cursor: str = "", wait: float = 0) -> Changes:
        answer = await self.get("/v1/changes", cursor=cursor, wait=str(wait))
        assert answer.status == 200, answer.body
        return msgspec.json.decode(answer.body, type=Changes)

    async def register(self, vault: Vault) -> None:
        """As an operator would: ask for a request, sign it, install the certificate."""
        asked = await self.put("/v1/identity/request", IdentityRequest(vault_id=vault.vault_id, site=SITE))
        offer = certificate_for(vault, asked.json["certificateRequest"])
        assert (await self.put("/v1/identity/certificate", offer)).status == 200


@dataclass(frozen=True)
class Running:
    """An agent in this process."""

    agent: Agent
    url: str

    def caller(self, vault: Vault, identity: Identity | None = None) -> Caller:
        return Caller(self.url, vault, identity)


@asynccontextmanager
async def running(data: Path, driver: Driver, bundle: RegistrationBundle | None = None) -> AsyncIterator[Running]:
    """An agent on a free port."""
    agent = await Agent.open(data, bundle, driver)
    listener = Listener(agent)
    address = await listener.open(Address(HOST, 0))
    agent.begin(address.url)
    try:
        yield Running(agent, address.url)
    finally:
        agent.close_polls()
        await listener.close()
        await agent.stop()


@dataclass
class AgentProcess:
    """An agent of its own process; `url` once it is ready. `lines` is what it told a person."""

    process: asyncio.subprocess.Process
    lines: list[str]

    @property
    def url(self) -> str:
        return self.lines[-1].removeprefix("ready ")

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()

    async def terminate(self) -> int:
        self.process.terminate()
        return await self.process.wait()


async def spawn(data: Path, listen: str, *arguments: str) -> asyncio.subprocess.Process:
    paths = os.pathsep.join(path for path in sys.path if path)
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "support.memory_agent",
        str(data),
        listen,
        *arguments,
        env={**os.environ, "PYTHONPATH": paths},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@asynccontextmanager
async def process(data: Path, *arguments: str, listen: str = f"https://{HOST}:0") -> AsyncIterator[AgentProcess]:
    """A started agent that is ready; killed at the end if it still runs."""
    started = await spawn(data, listen, *arguments)
    assert started.stdout is not None
    lines: list[str] = []
    try:
        while not lines or not lines[-1].startswith("ready "):
            line = await asyncio.wait_for(started.stdout.readline(), 20)
            assert line, (lines, await started.communicate())
            lines.append(line.decode().rstrip())
        yield AgentProcess(started, lines)
    finally:
        if started.returncode is None:
            started.kill()
        await started.communicate()


def bundle(vault: Vault, *, site: str = SITE, lifetime: timedelta = 5 * DAY, uid: str = "7d1f") -> RegistrationBundle:
    now = datetime.now(UTC)
    return issue_bundle(
        vault.authority,
        trust=vault.trust(),
        namespace="shop",
        site=site,
        site_uid=uid,
        endpoint=f"https://{HOST}:0",
        now=now,
        expiry_time=now + lifetime,
    )


def certificate_for(
    vault: Vault, request: str, *, site: str = SITE, lifetime: timedelta = 90 * DAY
) -> CertificateInstall:
    """What an operator of `vault` answers to a certificate request."""
    name = Name(vault.vault_id, Role.AGENT, site)
    pem = vault.authority.issue(name, requested_key(request), datetime.now(UTC), lifetime)
    return CertificateInstall(certificate=pem, authorities=[vault.authority.certificate_pem])


def enrol(data: Path, vault: Vault, *, lifetime: timedelta = 90 * DAY) -> None:
    """Make `data` the folder of a registered agent, without a network."""
    identity = SiteIdentity(data / "identity", bundle(vault))
    request = identity.request(IdentityRequest(vault_id=vault.vault_id, site=SITE))
    identity.install(certificate_for(vault, request, lifetime=lifetime))


def command(verb: Verb = Verb.SUSPEND, **given: Any) -> OperationRequest:
    """A request that is fine as it is; `given` changes single fields."""
    fields: dict[str, Any] = {"vm_id": VM_ID, "intent": "i1", "attempt": 1, "epoch": 1, "fence": FENCE}
    return OperationRequest.model_validate({"verb": verb, **fields, **given})
