"""What two sites say and what is true there: read with a reader's certificate, and asked of the lab itself."""

from __future__ import annotations

import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec

from secondsite.agent.lab import socket as lab
from secondsite.controller.vaultkeys import VaultKeys
from secondsite.trust.bundle import endpoint_host
from secondsite.trust.contexts import client_context
from secondsite.trust.gate import SiteGate
from secondsite.trust.identity import mint
from secondsite.trust.names import Role
from secondsite.wire.agent import AgentInfo
from secondsite.wire.facts import Fact, Operation, Relation
from secondsite.wire.feed import ENTRY_TYPES, Changes, Item

F = TypeVar("F", bound=Fact)

_FACTS: dict[type[Item], type[Fact]] = {entry: fact for fact, entry in ENTRY_TYPES.items()}
_CHANGES = msgspec.json.Decoder(Changes)


class Settling(Exception):
    """The site does not know its relations yet."""


class Told(dict[type[Fact], dict[str, Fact]]):
    """All that a site tells at one moment, by type and id."""

    def all(self, fact: type[F]) -> dict[str, F]:
        return cast("dict[str, F]", self.get(fact, {}))

    def relation(self, vm_id: str) -> Relation | None:
        return self.all(Relation).get(vm_id)

    def operations(self, vm_id: str) -> list[Operation]:
        return [op for op in self.all(Operation).values() if op.vm_id == vm_id]

    def twice(self) -> list[tuple[str, str, str]]:
        """(VM, verb, intent) of all that was carried out more than once."""
        done = Counter((op.vm_id, op.verb, op.intent) for op in self.all(Operation).values() if op.state == "Succeeded")
        return [intent for intent, count in done.items() if count > 1]


@dataclass(frozen=True)
class SiteReader:
    """One site, as `secondsite` reads it: every call on a connection of its own."""

    site: str
    endpoint: str
    data: Path
    file: Path
    """Its data-centre file."""
    keys: VaultKeys

    def get(self, path: str, **query: str) -> bytes:
        """Raises OSError where nobody answers."""
        reader = mint(self.keys.signer, Role.READER, datetime.now(UTC), timedelta(days=1))
        context = client_context(reader, self.keys.trust, SiteGate(self.site, endpoint_host(self.endpoint)))
        url = f"{self.endpoint}{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, context=context, timeout=10) as answer:
                content: bytes = answer.read()
                return content
        except urllib.error.HTTPError as error:
            error.close()
            raise

    def info(self) -> AgentInfo:
        return AgentInfo.model_validate_json(self.get("/v1/agent"))

    def tell(self) -> Told:
        """Everything. Raises Settling."""
        told, cursor = Told(), ""
        while True:
            page = _CHANGES.decode(self.get("/v1/changes", cursor=cursor, wait="0"))
            if page.settling:
                raise Settling(self.site)
            if page.begins:
                told = Told()
            for entry in page.entries:
                if entry.facts is not None:
                    told.setdefault(_FACTS[type(entry)], {})[entry.id] = entry.facts
            cursor = page.cursor
            if not page.more:
                return told

    def ask(self, **request: Any) -> dict[str, Any]:
        """Ask the lab what no site would tell."""
        return lab.ask(self.data, request)

    def points(self, vm_id: str) -> list[dict[str, Any]]:
        """Every recovery point with the newest guest write that its bytes hold."""
        found: list[dict[str, Any]] = self.ask(ask="truth", vmID=vm_id)["points"]
        return found
