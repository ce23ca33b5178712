"""The operator's end of the agent contract: typed calls to one site, and its refusals as errors of ours."""

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec
from pydantic import ValidationError

from secondsite.errors import SiteRefused, SiteUnreachable
from secondsite.trust.explain import causes
from secondsite.trust.gate import PeerRefused
from secondsite.wire.agent import AgentInfo, Checks, Fence, Settings
from secondsite.wire.base import Message
from secondsite.wire.feed import Changes
from secondsite.wire.identity import CertificateInstall, IdentityAnswer, IdentityRequest, TrustUpdate
from secondsite.wire.operations import OperationAnswer, OperationRequest
from secondsite.wire.problems import Code, Problem
from secondsite.wire.resources import (
    AssociationAnswer,
    AssociationWish,
    Done,
    ReservationAnswer,
    ReservationWish,
    TestNetworkWish,
    TombstoneWish,
)

M = TypeVar("M", bound=Message)

CALL_SECONDS = 10
"""How long an ordinary call may take, connection included."""
CONNECT_SECONDS = 5
POLL_GRACE_SECONDS = 10
"""A poll that is silent for longer than its wait and this has lost its site."""

UNREGISTERED = "PeerUnregistered"
"""Reason of an Unreached: the agent shows a bundle where only a registered one is spoken with."""

_CHANGES = msgspec.json.Decoder(Changes)


class Unreached(SiteUnreachable):
    """Nobody answered, or nobody whom we may believe. `reason` is a stable word for a condition."""

    def __init__(self, what: str, remedy: str = "", *, reason: str) -> None:
        super().__init__(what, remedy)
        self.reason = reason


class AgentClient:
    """One site. Keeps its connections open; `close` when the endpoint or our identity changes."""

    def __init__(self, site: str, endpoint: str, tls: ssl.SSLContext) -> None:
        self.site = site
        self.endpoint = endpoint.rstrip("/")
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls, limit=16, keepalive_timeout=75),
            timeout=aiohttp.ClientTimeout(total=CALL_SECONDS, sock_connect=CONNECT_SECONDS),
        )

    async def close(self) -> None:
        await self._session.close()

    async def info(self) -> AgentInfo:
        return await self._call("GET", "/v1/agent", AgentInfo)

    async def checks(self) -> Checks:
        return await self._call("GET", "/v1/checks", Checks)

    async def changes(self, cursor: str, wait_seconds: float) -> Changes:
        """One page of the feed; waits at most `wait_seconds` for news."""
        body = await self._send(
            "GET",
            "/v1/changes",
            params={"cursor": cursor, "wait": f"{wait_seconds:g}"},
            timeout=aiohttp.ClientTimeout(total=wait_seconds + POLL_GRACE_SECONDS, sock_connect=CONNECT_SECONDS),
        )
        try:
            return _CHANGES.decode(body)
        except msgspec.DecodeError as error:
            raise self._nonsense("GET", "/v1/changes", error) from error

    async def start(self, key: str, request: OperationRequest) -> OperationAnswer:
        """Begin an operation, or learn what became of it: repeating a key is harmless."""
        return await self._call("PUT", f"/v1/operations/{quote(key, safe='')}", OperationAnswer, request)

    async def associate(self, id_: str, wish: AssociationWish) -> AssociationAnswer:
        return await self._call("PUT", f"/v1/associations/{quote(id_, safe='')}", AssociationAnswer, wish)

    async def reserve(self, vm_id: str, adapter: str, wish: ReservationWish) -> ReservationAnswer:
        path = f"/v1/reservations/{quote(vm_id, safe='')}/{quote(adapter, safe='')}"
        return await self._call("PUT", path, ReservationAnswer, wish)

    async def make_test_network(self, id_: str, wish: TestNetworkWish) -> Done:
        return await self._call("PUT", f"/v1/testnetworks/{quote(id_, safe='')}", Done, wish)

    async def leave_tombstone(self, id_: str, wish: TombstoneWish) -> Done:
        return await self._call("PUT", f"/v1/tombstones/{quote(id_, safe='')}", Done, wish)

    async def remove(self, collection: str, *ids: str, fence: Fence) -> Done:
        """Delete one of the site's resources: `associations`, `reservations`, `testnetworks` or `tombstones`."""
        path = "/".join(["/v1", collection, *(quote(id_, safe="") for id_ in ids)])
        return await self._call("DELETE", path, Done, params=fence.query())

    async def configure(self, settings: Settings) -> Done:
        return await self._call("PUT", "/v1/settings", Done, settings)

    async def request_certificate(self, request: IdentityRequest) -> IdentityAnswer:
        return await self._call("PUT", "/v1/identity/request", IdentityAnswer, request)

    async def install_certificate(self, install: CertificateInstall) -> None:
        await self._send("PUT", "/v1/identity/certificate", install)

    async def update_trust(self, update: TrustUpdate) -> None:
        await self._send("PUT", "/v1/identity/trust", update)

    async def _call(
        self,
        method: str,
        path: str,
        answer: type[M],
        body: Message | None = None,
        params: Mapping[str, str] | None = None,
    ) -> M:
        raw = await self._send(method, path, body, params=params)
        try:
            return answer.model_validate_json(raw)
        except ValidationError as error:
            raise self._nonsense(method, path, error) from error

    async def _send(
        self,
        method: str,
        path: str,
        body: Message | None = None,
        *,
        params: Mapping[str, str] | None = None,
        timeout: aiohttp.ClientTimeout | None = None,  # noqa: ASYNC109 - handed to aiohttp, which has three of them
    ) -> bytes:
        extra: dict[str, Any] = {} if timeout is None else {"timeout": timeout}
        if body is not None:
            extra |= {"data": body.to_json(), "headers": {"Content-Type": "application/json"}}
        try:
            async with self._session.request(method, self.endpoint + path, params=params, **extra) as response:
                content = await response.read()
        except (aiohttp.ClientError, ssl.SSLError, TimeoutError, asyncio.IncompleteReadError, OSError) as error:
            raise self._unreached(method, path, error) from error
        if response.status >= 400:
            raise self._refused(method, path, response.status, content)
        return content

    def _unreached(self, method: str, path: str, error: Exception) -> Unreached:
        reason, detail, remedy = why_unreached(error)
        what = f"{method} {path} at site {self.site} ({self.endpoint}) got no answer: {detail}"
        return Unreached(what, remedy, reason=reason)

    def _refused(self, method: str, path: str, status: int, content: bytes) -> SiteRefused:
        try:
            problem = Problem.model_validate_json(content)
        except ValidationError:
            problem = Problem(title="", status=status, code=Code.INTERNAL, detail=f"HTTP {status} without a reason")
        what = f"Site {self.site} refused {method} {path}: {problem.detail}"
        return SiteRefused(
            what, problem.remedy, code=problem.code.value, status=status, highest_term=problem.highest_term
        )

    def _nonsense(self, method: str, path: str, error: Exception) -> SiteRefused:
        what = f"Site {self.site} answered {method} {path} with what this version cannot read: {error}"
        return SiteRefused(what, "Bring operator and agent to versions at most one apart.", code="Unreadable")


_REMEDIES = {
    "ConnectionRefused": "Start the agent at that address, or correct spec.endpoint.",
    "Timeout": "Check the network between the operator and the site, and that the agent is running.",
    "CertificateExpired": "It is renewed by itself within the grace; later, ask for a new bundle with "
    "spec.requests.issueRegistration.",
    "CertificateUnknown": "Another vault's agent, or not an agent of Secondsite, answers there: correct spec.endpoint, "
    "or register the agent with this vault's bundle.",
}


def why_unreached(error: BaseException) -> tuple[str, str, str]:
    """A stable reason, what came back, and a remedy, for an exception of the transport."""
    found = list(causes(error))
    for cause in found:
        # First, for aiohttp wraps it in an SSLError that says less.
        if isinstance(cause, PeerRefused):
            return f"Peer{cause.reason}", cause.what, cause.remedy
    for cause in found:
        if isinstance(cause, ssl.SSLError):
            text = str(cause)
            expired = "certificate has expired" in text or "CERTIFICATE_EXPIRED" in text
            reason = "CertificateExpired" if expired else "CertificateUnknown"
            return reason, text, _REMEDIES[reason]
        if isinstance(cause, TimeoutError):
            return "Timeout", "no answer in time", _REMEDIES["Timeout"]
        if isinstance(cause, ConnectionRefusedError):
            return "ConnectionRefused", "connection refused", _REMEDIES["ConnectionRefused"]
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "Disconnected", "the connection was closed without an answer", ""
    return "Network", f"{type(error).__name__}: {error}", _REMEDIES["Timeout"]
