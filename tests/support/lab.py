"""Two lab drivers in one process, with a small data centre each, over real loopback TLS."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from secondsite.agent.driver import Command, SiteContext
from secondsite.agent.lab.driver import LabDriver
from secondsite.agent.lab.socket import ask
from secondsite.errors import SecondsiteError
from secondsite.trust.contexts import client_context, server_context
from secondsite.trust.gate import SiteGate, only_roles
from secondsite.trust.identity import Identity, Trust
from secondsite.trust.names import Role
from secondsite.wire.agent import NO_FENCE
from secondsite.wire.arguments import (
    ConfigureReplica,
    EnableReplication,
    Endpoint,
    Nothing,
    Owner,
    PrepareReplica,
    Removal,
    Settings,
    Slot,
)
from secondsite.wire.base import Message
from secondsite.wire.facts import Relation
from secondsite.wire.feed import AnyFact
from secondsite.wire.operations import Verb
from secondsite.wire.resources import AssociationWish, StoragePair
from support.lab_centres import WEB, source_centre, target_centre
from support.patience import DEADLINE_SECONDS, until
from support.vault import Vault

F = TypeVar("F", bound=AnyFact)

OWNER = Owner(vault="vault", control_plane="cluster")
ASSOCIATION = "production-recovery"
# A resynchronization by itself would begin at some hours of the day only.
SETTINGS = Settings(interval_seconds=30, retention_hours=24, rpo_target_seconds=90, auto_resynchronize=False)
HURRY = 60.0


class RecordingSink:
    """Keeps the newest fact of each id, as the feed does, and counts."""

    def __init__(self) -> None:
        self.facts: dict[tuple[type[Any], str], Any] = {}
        self.history: list[tuple[str, AnyFact | None]] = []

    def publish(self, id: str, fact: AnyFact) -> None:
        if self.facts.get((type(fact), id)) != fact:
            self.facts[type(fact), id] = fact
            self.history.append((id, fact))

    def withdraw(self, kind: type[AnyFact], id: str) -> None:
        if self.facts.pop((kind, id), None) is not None:
            self.history.append((id, None))

    def get(self, kind: type[F], name: str) -> F | None:
        fact: F | None = self.facts.get((kind, name))
        return fact

    def all(self, kind: type[F]) -> list[F]:
        return [fact for (found, _), fact in self.facts.items() if found is kind]


class SiteTLS:
    """The data port's TLS, from a certificate of the test's vault."""

    def __init__(self, identity: Identity, trust: Trust) -> None:
        self._identity, self._trust = identity, trust

    def listener(self) -> ssl.SSLContext:
        return server_context(self._identity, self._trust, only_roles(Role.AGENT))

    def dialler(self, site: str) -> ssl.SSLContext:
        return client_context(self._identity, self._trust, SiteGate(site, "127.0.0.1"))


class LabSite:
    """One site: its folder, its driver while it runs, what it published."""

    def __init__(self, name: str, folder: Path, centre: dict[str, Any], vault: Vault, **options: Any) -> None:
        self.name = name
        self.data = folder / name
        self.file = folder / f"{name}.yaml"
        self.file.write_text(yaml.safe_dump(centre), encoding="utf-8")
        self.options = {"hurry": HURRY} | options
        self.tls = SiteTLS(vault.agent(name), vault.trust())
        self.sink = RecordingSink()
        self.driver = LabDriver(self.file, **self.options)
        self._count = 0

    async def start(self) -> None:
        """A fresh driver and a fresh sink over the same folder, as after a restart of the agent."""
        self.sink = RecordingSink()
        self.driver = LabDriver(self.file, **self.options)
        await self.driver.start(SiteContext(site=self.name, data=self.data, sink=self.sink, tls=self.tls))

    async def restart(self) -> None:
        await self.driver.stop()
        await self.start()

    async def do(self, verb: Verb, vm_id: str, arguments: Message | None = None, **more: Any) -> dict[str, str]:
        """Perform a verb as the core would."""
        self._count += 1
        deadline = datetime.now(UTC) + timedelta(seconds=DEADLINE_SECONDS)
        command = Command(
            key=f"{self.name}-{self._count}",
            verb=verb,
            vm_id=vm_id,
            arguments=arguments or Nothing(),
            epoch=1,
            deadline=deadline,
            **more,
        )
        return await self.driver.perform(command)

    def relation(self, vm_id: str = WEB) -> Relation:
        found = self.driver.relation(vm_id)
        assert found is not None, f"{self.name} has no relation of {vm_id}"
        return found

    async def ask(self, **request: Any) -> dict[str, Any]:
        """Over lab.sock."""
        return await asyncio.to_thread(ask, self.data, request)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@dataclass
class LabPair:
    """A source and a target that trust each other."""

    source: LabSite
    target: LabSite
    port: int = field(default_factory=free_port)

    async def associate(self) -> None:
        answer = await self.target.driver.associate(ASSOCIATION, self.wish("Target"))
        assert answer.data_endpoint is not None
        await self.source.driver.associate(
            ASSOCIATION, self.wish("Source").model_copy(update={"endpoint": answer.data_endpoint})
        )

    def wish(self, role: str, **changes: Any) -> AssociationWish:
        target = role == "Target"
        fields: dict[str, Any] = {
            "fence": NO_FENCE,
            "role": role,
            "cloud": "Recovery" if target else "Production",
            "peer_site": "east" if target else "west",
            "peer_cloud": "Production" if target else "Recovery",
            "owner": OWNER,
            "port": self.port,
            "storage": (StoragePair(source="Gold", target="Silver"),),
            "hurry": self.source.options["hurry"],
        }
        return AssociationWish(**(fields | changes))

    def enable_arguments(self, disks: int, settings: Settings = SETTINGS) -> EnableReplication:
        return EnableReplication(
            association=ASSOCIATION,
            peer_site="west",
            owner=OWNER,
            endpoint=Endpoint(host="hv1.west", address="127.0.0.1", port=self.port),
            settings=settings,
            disks=[Slot(controller_type="SCSI", controller_number=0, controller_location=n) for n in range(disks)],
        )

    def prepare_arguments(self, name: str = "web") -> PrepareReplica:
        return PrepareReplica(vm_name=name, association=ASSOCIATION, peer_site="east", owner=OWNER)

    async def enable(self, vm_id: str = WEB, name: str = "web", disks: int = 1, settings: Settings = SETTINGS) -> None:
        """Up to the start of initial replication, in the order of the contract."""
        await self.target.do(Verb.PREPARE_REPLICA, vm_id, self.prepare_arguments(name))
        await self.source.do(Verb.ENABLE_REPLICATION, vm_id, self.enable_arguments(disks, settings))
        await self.target.do(Verb.CONFIGURE_REPLICA, vm_id, ConfigureReplica(settings=settings))
        await self.source.do(Verb.START_INITIAL_REPLICATION, vm_id)

    async def protect(self, vm_id: str = WEB, name: str = "web", disks: int = 1, settings: Settings = SETTINGS) -> None:
        """Until both halves replicate."""
        await self.enable(vm_id, name, disks, settings)
        await until(lambda: self.states(vm_id) == ("Replicating", "Replicating"))

    async def disable(self, vm_id: str = WEB) -> None:
        await self.source.do(Verb.DISABLE_REPLICATION, vm_id, Removal())
        await self.target.do(Verb.DISABLE_REPLICATION, vm_id, Removal())

    def states(self, vm_id: str = WEB) -> tuple[str, str]:
        return self.source.driver.state(vm_id), self.target.driver.state(vm_id)

    async def more_cycles(self, count: int = 1, vm_id: str = WEB) -> None:
        """Wait until so many further cycles were counted at both sides."""
        goal = self.target.relation(vm_id).cycles + count
        await until(lambda: min(self.source.relation(vm_id).cycles, self.target.relation(vm_id).cycles) >= goal)

    async def replay(self, vm_id: str = WEB) -> list[dict[str, Any]]:
        """Every point compared with the replay of the guest's writes; one that is merged away meanwhile is left out."""
        points = await self.target.driver.points(vm_id)
        verdicts = [await self._replay(vm_id, point.id) for point in points]
        return [verdict for verdict in verdicts if verdict]

    async def _replay(self, vm_id: str, point: str) -> dict[str, Any]:
        try:
            return await self.target.ask(ask="replay", vmID=vm_id, point=point, disks=str(self.source.file))
        except SecondsiteError:
            assert point not in {found.id for found in await self.target.driver.points(vm_id)}
            return {}


def make_pair(
    folder: Path, source: dict[str, Any] | None = None, target: dict[str, Any] | None = None, **options: Any
) -> LabPair:
    vault = Vault()
    return LabPair(
        LabSite("east", folder, source or source_centre(), vault, **options),
        LabSite("west", folder, target or target_centre(), vault, **options),
    )


@asynccontextmanager
async def running_pair(folder: Path, **options: Any) -> AsyncIterator[LabPair]:
    """A pair that runs and is associated; stopped at the end, whatever happens."""
    pair = make_pair(folder, **options)
    try:
        await pair.source.start()
        await pair.target.start()
        await pair.associate()
        yield pair
    finally:
        await pair.source.driver.stop()
        await pair.target.driver.stop()


def same_but_time(one: Relation, other: Relation) -> bool:
    return msgspec.structs.replace(one, time=other.time) == other
