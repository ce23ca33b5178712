"""A site as the driver contract suite sees it: the calls of the agent contract, as an operator makes them."""

from __future__ import annotations

import asyncio
import io
import itertools
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp
import msgspec
from yarl import URL

from secondsite.wire.agent import AgentInfo, Check, Checks, Fence
from secondsite.wire.base import Message
from secondsite.wire.facts import Ledger, Operation, Relation
from secondsite.wire.feed import Changes, VMDetail
from secondsite.wire.inventory import VM
from secondsite.wire.operations import SITE_VERBS, OperationAnswer, OperationRequest, Verb, operation_key
from secondsite.wire.problems import Problem
from support.agents import Answer, Caller

F = TypeVar("F")

FENCE = Fence(control_plane="cluster", term=1, holder="suite")
VAULT = "vault"
_count = itertools.count(1)


@dataclass(frozen=True)
class Place:
    """Names that the suite has to say at a site: what it has there of each kind."""

    site: str
    cloud: str
    storage: str
    network: str
    subnet: str
    """CIDR with a pool of at least two free addresses."""
    test_network: str
    """A VM network of the site's own that tests may be connected to."""


class Refused(Exception):
    """A call was answered with a problem: nothing began."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.code}: {problem.detail}")
        self.problem = problem


class Line:
    """Calls to an agent over connections that stay open, as an operator's do."""

    def __init__(self, caller: Caller) -> None:
        self.url = caller.url
        self._context = caller.context
        self._session: aiohttp.ClientSession | None = None

    async def ask(
        self, method: str, path: str, body: Message | None = None, query: Mapping[str, str] | None = None
    ) -> Answer:
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self._context))
        data = None if body is None else io.BytesIO(body.to_json())
        url = URL(self.url + path, encoded=True).update_query(query or {})
        async with self._session.request(method, url, data=data) as answer:
            return Answer(answer.status, await answer.read())

    async def hang_up(self) -> None:
        """Nothing of it is left when the loop ends."""
        session, self._session = self._session, None
        if session is not None and session.connector is not None:
            await session.connector.close(abort_ssl=True)
            await session.close()


class RigSite:
    """One site: the agent's calls, as an operator makes them."""

    def __init__(self, place: Place, patience: float) -> None:
        self.place = place
        self.patience = patience
        self.line: Line
        """To the agent as it runs now."""

    async def checks(self) -> list[Check]:
        return Checks.model_validate_json((await self.line.ask("GET", "/v1/checks")).body).checks

    async def info(self) -> AgentInfo:
        return AgentInfo.model_validate_json((await self.line.ask("GET", "/v1/agent")).body)

    async def changes(self, cursor: str = "", wait: float = 0) -> Changes:
        answer = _good(await self.line.ask("GET", "/v1/changes", query={"cursor": cursor, "wait": str(wait)}))
        return msgspec.json.decode(answer.body, type=Changes)

    async def facts(self, kind: type[F]) -> dict[str, F]:
        """All facts of a kind, from a whole answer."""
        found: dict[str, F] = {}
        page = await self._whole()
        while True:
            found |= {entry.id: entry.facts for entry in page.entries if isinstance(entry.facts, kind)}
            if not page.more:
                return found
            page = await self.changes(page.cursor)

    async def settle(self) -> None:
        """Wait until its relations can be read."""
        await self._whole()

    async def _whole(self) -> Changes:
        page = await self.changes(wait=self.patience)
        assert not page.settling, "the site does not settle"
        return page

    async def detail(self, vm_id: str) -> VMDetail:
        """One VM whole; empty where the site does not know it."""
        answer = await self.line.ask("GET", f"/v1/vms/{vm_id}")
        if answer.status == 404:
            return VMDetail()
        return msgspec.json.decode(_good(answer).body, type=VMDetail)

    async def relation(self, vm_id: str) -> Relation | None:
        return (await self.detail(vm_id)).relation

    async def state(self, vm_id: str) -> str:
        relation = await self.relation(vm_id)
        return relation.state if relation else "Disabled"

    async def vm(self, vm_id: str) -> VM | None:
        return (await self.detail(vm_id)).vm

    async def ledger(self, vm_id: str) -> Ledger:
        return (await self.facts(Ledger)).get(vm_id) or Ledger(vm_id=vm_id)

    async def operation(self, key: str) -> Operation | None:
        """As the feed tells it."""
        return (await self.facts(Operation)).get(key)

    async def put(self, key: str, request: OperationRequest) -> OperationAnswer:
        """Begin an operation. Raises Refused."""
        answer = _good(await self.line.ask("PUT", f"/v1/operations/{key}", request))
        return OperationAnswer.model_validate_json(answer.body)

    async def get(self, key: str) -> OperationAnswer:
        return OperationAnswer.model_validate_json(_good(await self.line.ask("GET", f"/v1/operations/{key}")).body)

    async def abandon(self, key: str) -> OperationAnswer:
        answer = _good(await self.line.ask("DELETE", f"/v1/operations/{key}", query=FENCE.query()))
        return OperationAnswer.model_validate_json(answer.body)

    async def end(self, key: str) -> OperationAnswer:
        """Once it has ended."""

        async def ended() -> OperationAnswer | None:
            answer = await self.get(key)
            return None if answer.state == "Running" else answer

        return await until(ended, self.patience, f"the end of {key}")

    async def run(self, key: str, request: OperationRequest) -> OperationAnswer:
        """Begin it and wait for its end, whatever that is. Raises Refused."""
        answer = await self.put(key, request)
        return answer if answer.state != "Running" else await self.end(key)

    async def set(self, path: str, wish: Message) -> dict[str, Any]:
        """PUT one of the site's resources. Raises Refused."""
        return _good(await self.line.ask("PUT", path, wish)).json

    async def drop(self, path: str) -> None:
        """DELETE one of the site's resources. Raises Refused."""
        _good(await self.line.ask("DELETE", path, query=FENCE.query()))


def key_of(request: OperationRequest) -> str:
    return operation_key(VAULT, request.vm_id, request.epoch, request.verb, request.intent, request.attempt)


def wish(verb: Verb, vm_id: str, arguments: Message | None = None, **given: Any) -> OperationRequest:
    """A request with an intent of its own; `given` changes single fields."""
    told = {} if arguments is None else arguments.model_dump(mode="json", by_alias=True, exclude_none=True)
    fields: dict[str, Any] = {
        "verb": verb,
        "vm_id": "" if verb in SITE_VERBS else vm_id,
        "intent": f"suite-{time.time_ns()}-{next(_count)}",
        "attempt": 1,
        "fence": FENCE,
        "arguments": told,
    }
    return OperationRequest.model_validate(fields | given)


async def until(look: Callable[[], Awaitable[F | None]], seconds: float, what: str) -> F:
    """What `look` finds, as soon as it does."""
    end = time.monotonic() + seconds
    while True:
        found = await look()
        if found:
            return found
        assert time.monotonic() < end, f"{what} did not come in {seconds:g} s"
        await asyncio.sleep(0.02)


async def codes(calls: Iterable[Awaitable[object]]) -> list[str]:
    """The problem code of each call, empty for those that were served."""
    found = []
    for call in calls:
        try:
            await call
            found.append("")
        except Refused as refused:
            found.append(refused.problem.code.value)
    return found


def _good(answer: Answer) -> Answer:
    if answer.status != 200:
        raise Refused(Problem.model_validate_json(answer.body))
    return answer
