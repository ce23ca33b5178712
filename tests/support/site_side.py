"""Both real ends of the contract: the operator's site side, and an agent in process, over mutual TLS on loopback."""

from __future__ import annotations

import base64
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from secondsite.agent.address import Address
from secondsite.agent.core import Agent
from secondsite.agent.listener import Listener
from secondsite.api.kind import Object, parse
from secondsite.api.recoveryvault import RECOVERY_VAULT
from secondsite.api.vmmsite import VMM_SITE
from secondsite.controller.act import Declared
from secondsite.controller.kube import SECRETS, Kube
from secondsite.controller.ports import Key
from secondsite.controller.siteside import SiteSide
from secondsite.controller.vaultkeys import VaultKeys, bundle_secret_name, from_secret, secret_name
from secondsite.plan.actions import CreateAuthority, DropRegistration, IssueBundle, Register
from secondsite.trust.bundle import RegistrationBundle
from support.memory_driver import MemoryDriver
from support.patience import until

NAMESPACE = "recovery"


@dataclass
class Lease:
    """Leadership as a test grants it."""

    control_plane: str = "cluster-1"
    holder: str = "operator-a"
    held: bool = True
    term: int = 1

    async def raise_term(self, at_least: int) -> None:
        self.term = max(self.term, at_least)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _body(name: str, uid: str, spec: dict[str, Any]) -> dict[str, Any]:
    made = datetime.now(UTC).isoformat()
    return {"metadata": {"namespace": NAMESPACE, "name": name, "uid": uid, "creationTimestamp": made}, "spec": spec}


@dataclass
class Ends:
    """The operator's end, and what is declared for it. `restart` is a new operator process with no memory."""

    kube: Kube
    secrets: str
    """Namespace of the Secrets."""
    endpoint: str
    lease: Lease = field(default_factory=Lease)
    uid: str = "uid-1"
    pin: str | None = None

    def __post_init__(self) -> None:
        self.vault = parse(RECOVERY_VAULT, _body("vault", "uid-vault", {}))
        self.side = self._new()

    @property
    def site(self) -> Object[Any]:
        spec = {"vaultRef": {"name": "vault"}, "endpoint": self.endpoint}
        return parse(
            VMM_SITE, _body("newyork", self.uid, spec | ({"agentKeyFingerprint": self.pin} if self.pin else {}))
        )

    def _new(self) -> SiteSide:
        declared = Declared(lambda _ns, name: self.site if name == "newyork" else None, lambda _ns, _name: self.vault)
        side = SiteSide(self.kube, self.secrets, self.lease, declared)
        side.sync({(NAMESPACE, "newyork"): self.site})
        return side

    async def restart(self) -> None:
        await self.side.close()
        self.side = self._new()

    async def act(self, action: Any) -> Any:
        owner = self.vault if isinstance(action, CreateAuthority) else self.site
        return await self.side.actor.perform(Key("x", NAMESPACE, owner.name), action, owner)

    async def authority(self) -> None:
        await until(lambda: self.side.authorities(NAMESPACE, "vault") == ())
        await self.act(CreateAuthority())

    async def bundle(self, folder: Path) -> Path:
        """Issue a bundle and carry it to a file, as a person would."""
        await self.act(IssueBundle("newyork", ""))
        secret = await self.kube.get(SECRETS, self.secrets, bundle_secret_name(NAMESPACE, "newyork"))
        file = folder / "bundle.json"
        file.write_bytes(base64.b64decode(secret["data"]["bundle.json"]))
        return file

    async def register(self) -> None:
        await until(lambda: self.side.facts(NAMESPACE, "newyork").peer == "Bootstrap")
        await self.act(Register("newyork"))
        await until(lambda: self.view().known)
        await self.act(DropRegistration("newyork"))

    def view(self) -> Any:
        return self.side.view(NAMESPACE, "newyork")

    async def keys(self) -> VaultKeys:
        return from_secret(await self.kube.get(SECRETS, self.secrets, secret_name(NAMESPACE, "vault")))


@asynccontextmanager
async def agent_at(
    endpoint: str, data: Path, bundle: Path | None = None, driver: MemoryDriver | None = None
) -> AsyncIterator[Agent]:
    """A real agent with a driver in memory, listening at the endpoint until the block ends."""
    data.mkdir(exist_ok=True)
    document = RegistrationBundle.parse(bundle.read_bytes()) if bundle else None
    agent = await Agent.open(data, document, driver or MemoryDriver())
    listener = Listener(agent)
    await listener.open(Address.parse(endpoint))
    agent.begin(endpoint)
    try:
        yield agent
    finally:
        agent.close_polls()
        await listener.close()
        await agent.stop()


@asynccontextmanager
async def registered(ends: Ends, folder: Path, driver: MemoryDriver | None = None) -> AsyncIterator[Agent]:
    """A site that is registered, its agent at the endpoint until the block ends."""
    await ends.authority()
    bundle = await ends.bundle(folder)
    async with agent_at(ends.endpoint, folder / "data", bundle, driver) as agent:
        await ends.register()
        yield agent


@contextmanager
def broken(target: Any, method: str, error: type[Exception] = ConnectionError) -> Iterator[None]:
    """The process dies at this call: it raises instead."""

    async def dies(*_: Any, **__: Any) -> None:
        raise error(f"killed at {method}")

    kept = getattr(target, method)
    setattr(target, method, dies)
    try:
        yield
    finally:
        setattr(target, method, kept)
