"""How demo and sandbox look at their world: at the API server, at `/metrics`, and at the sites as a reader."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from secondsite.agent.lab import socket as lab
from secondsite.api.kind import Kind
from secondsite.controller import login
from secondsite.controller.agents import AgentClient
from secondsite.controller.kube import SECRETS, Kube, Resource
from secondsite.controller.vaultkeys import VaultKeys, from_secret, secret_name
from secondsite.errors import SecondsiteError, SiteRefused
from secondsite.sandbox.world import SYSTEM_NAMESPACE, World
from secondsite.trust.bundle import endpoint_host
from secondsite.trust.contexts import client_context
from secondsite.trust.gate import SiteGate
from secondsite.trust.identity import mint
from secondsite.trust.names import Role
from secondsite.wire.agent import AgentInfo
from secondsite.wire.facts import Fact
from secondsite.wire.feed import ENTRY_TYPES, Changes
from secondsite.wire.problems import Code

F = TypeVar("F", bound=Fact)
Body = dict[str, Any]
_ENTRY_NAMES = {entry: fact for fact, entry in ENTRY_TYPES.items()}


@dataclass
class SiteEye:
    """What one site says, read like the CLI reads it: with a certificate that can change nothing."""

    client: AgentClient
    _cursor: str = ""
    _facts: dict[type[Fact], dict[str, Fact]] = field(default_factory=dict)

    async def info(self) -> AgentInfo:
        """Who answers there."""
        return await self.client.info()

    async def look(self) -> None:
        """Catch up with the site's feed; before its registration there is nothing to see."""
        try:
            await self._catch_up()
        except SiteRefused as refusal:
            if refusal.code != Code.NOT_REGISTERED:
                raise

    def all(self, fact: type[F]) -> Mapping[str, F]:
        """Facts of one type by id, as of the last look."""
        return self._facts.get(fact, {})  # type: ignore[return-value]  # a table per type holds only that type

    async def _catch_up(self) -> None:
        named: set[tuple[type[Fact], str]] = set()
        while True:
            page = await self.client.changes(self._cursor, 0)
            if page.settling:
                return
            named |= self._take(page)
            self._cursor = page.cursor
            if not page.more:
                break
        if page.whole:
            self._forget_all_but(named)

    def _take(self, page: Changes) -> set[tuple[type[Fact], str]]:
        named = set()
        for entry in page.entries:
            fact = _ENTRY_NAMES[type(entry)]
            table = self._facts.setdefault(fact, {})
            named.add((fact, entry.id))
            if entry.facts is None:
                table.pop(entry.id, None)
            else:
                table[entry.id] = entry.facts
        return named

    def _forget_all_but(self, named: set[tuple[type[Fact], str]]) -> None:
        for fact, table in self._facts.items():
            for gone in [id_ for id_ in table if (fact, id_) not in named]:
                del table[gone]


@dataclass(frozen=True)
class Truth:
    """What the newest point at the target lacks, computed from guests' bytes."""

    point: str
    sequence: int
    """Newest guest write that the point holds."""
    missing_since: datetime | None
    """When the first guest write that it lacks was made; None where it lacks none."""


class Metrics:
    """The operator's `/metrics` at one moment."""

    def __init__(self, text: str) -> None:
        self.time = datetime.now(UTC)
        self._samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def get(self, name: str, **labels: str) -> float | None:
        """The sum of all samples of this name with these labels; None where there is none."""
        found = [s.value for s in self._samples if s.name == name and labels.items() <= s.labels.items()]
        return sum(found) if found else None

    def point_time(self, vm: str) -> datetime | None:
        """Source time of a VM's newest recovery point."""
        seconds = self.get("secondsite_protected_vm_last_recovery_point_timestamp_seconds", vm=vm)
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


class Eyes:
    """Looks, and changes nothing. Use with `async with`, after the world has started."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._kube = Kube(login.find(world.cluster.kubeconfig()))
        self._http: aiohttp.ClientSession | None = None
        self.sites: dict[str, SiteEye] = {}

    async def __aenter__(self) -> Self:
        await self._kube.__aenter__()
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5))
        keys = await self._keys()
        reader = mint(keys.signer, Role.READER, datetime.now(UTC), timedelta(days=1))
        for site, endpoint in self._world.sites.items():
            context = client_context(reader, keys.trust, SiteGate(site, endpoint_host(endpoint)))
            self.sites[site] = SiteEye(AgentClient(site, endpoint, context))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for eye in self.sites.values():
            await eye.client.close()
        if self._http:
            await self._http.close()
        await self._kube.__aexit__(kind, error, trace)

    async def objects(self, kind: Kind[Any, Any]) -> dict[str, Body]:
        """All objects of a kind in the example namespace, by name."""
        listed = [item async for item in self._kube.list(Resource.of(kind), self._world.namespace)]
        return {item["metadata"]["name"]: item for item in listed}

    async def look(self) -> None:
        """Catch up with both sites."""
        await asyncio.gather(*(eye.look() for eye in self.sites.values()))

    async def metrics(self) -> Metrics:
        """The operator's metrics now. Raises SecondsiteError where it does not answer."""
        assert self._http
        try:
            async with self._http.get(f"{self._world.metrics_url}/metrics") as answer:
                answer.raise_for_status()
                return Metrics(await answer.text())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise SecondsiteError(f"{self._world.metrics_url}/metrics does not answer: {error}") from error

    async def begun(self) -> dict[str, int]:
        """How many operations each site ever began."""
        return {site: (await eye.info()).operations_begun for site, eye in self.sites.items()}

    async def truth(self, source: str, target: str, vm_id: str) -> Truth:
        """Ask both labs. Raises SecondsiteError where there is no point yet."""
        points = (await self.ask(target, {"ask": "truth", "vmID": vm_id}))["points"]
        if not points:
            raise SecondsiteError(f"VM {vm_id} has no recovery point at {target} yet")
        newest = max(points, key=lambda point: str(point["sourceTime"]))
        following = await self.ask(source, {"ask": "truth", "vmID": vm_id, "sequence": newest["sequence"] + 1})
        record = following["record"]
        missing_since = datetime.fromisoformat(record["time"]) if record else None
        return Truth(newest["id"], newest["sequence"], missing_since)

    async def ask(self, site: str, request: dict[str, Any]) -> dict[str, Any]:
        """Ask a lab agent what no real site could tell."""
        return await asyncio.to_thread(lab.ask, self._world.data(site), request)

    async def _keys(self) -> VaultKeys:
        vault = next(
            document["metadata"]["name"] for document in self._world.documents if document["kind"] == "RecoveryVault"
        )
        return from_secret(await self._kube.get(SECRETS, SYSTEM_NAMESPACE, secret_name(self._world.namespace, vault)))


def condition(body: Body, name: str) -> Body:
    """A condition of an object; of one that it does not have, Unknown."""
    conditions = body.get("status", {}).get("conditions", [])
    return next((c for c in conditions if c["type"] == name), {"status": "Unknown", "reason": "", "message": ""})
