"""The API server over one bounded session. Each call is one request: who calls decides what to do about a refusal."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp

from secondsite.api.kind import API_VERSION, Kind
from secondsite.controller.login import Login
from secondsite.errors import SecondsiteError

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"

CHUNK = 500
"""Objects per page of a list: small enough for a steady loop, large enough that no `continue` token expires."""

_GONE = 410

Body = dict[str, Any]


class ApiError(SecondsiteError):
    """The API server answered with an error; `status` and `reason` are the facts, `message` is for people."""

    def __init__(self, what: str, *, status: int, reason: str, message: str) -> None:
        super().__init__(f"{what}: {status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


class ApiUnreachable(SecondsiteError):
    """The API server did not answer: what was asked may or may not have been done."""


@dataclass(frozen=True, slots=True)
class Resource:
    """Where objects of one kind live."""

    api_version: str
    kind: str
    plural: str

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The path of a list (all namespaces, or one), of an object, or of its subresource."""
        root = f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"
        parts = [f"namespaces/{namespace}" if namespace else "", self.plural, name, subresource]
        return "/".join([root, *filter(None, parts)])

    @classmethod
    def of(cls, kind: Kind[Any, Any]) -> Resource:
        return cls(API_VERSION, kind.name, kind.plural)


SECRETS = Resource("v1", "Secret", "secrets")
CONFIG_MAPS = Resource("v1", "ConfigMap", "configmaps")
NAMESPACES = Resource("v1", "Namespace", "namespaces")
LEASES = Resource("coordination.k8s.io/v1", "Lease", "leases")


class Kube:
    """A session with the API server. `observe` hears of every answer: method and HTTP status, 0 for none.

    Every method raises ApiError for an answer that is an error, ApiUnreachable for none within `timeout` seconds.
    """

    def __init__(
        self,
        login: Login,
        *,
        limit: int = 32,
        timeout: float = 30.0,
        observe: Callable[[str, int], None] = lambda _method, _status: None,
    ) -> None:
        self.login = login
        self._limit = limit
        self._timeout = aiohttp.ClientTimeout(total=timeout, sock_connect=min(timeout, 5.0))
        self._observe = observe
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        tls = self.login.context()
        connector = aiohttp.TCPConnector(limit=self._limit, ssl=tls if tls is not None else True)
        self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        params: Mapping[str, str] | None = None,
        content_type: str = JSON,
    ) -> Body:
        """One request, one JSON answer."""
        if self._session is None:
            raise RuntimeError("used outside `async with`")
        headers = {"Accept": JSON}
        if token := self.login.bearer():
            headers["Authorization"] = f"Bearer {token}"
        if body is not None:
            headers["Content-Type"] = content_type
        data = None if body is None else json.dumps(body).encode()
        what = f"{method} {path}"
        try:
            async with self._session.request(
                method, self.login.server + path, data=data, params=params, headers=headers
            ) as answer:
                text, status = await answer.read(), answer.status
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            self._observe(method, 0)
            raise ApiUnreachable(f"{what}: {type(error).__name__}: {error}") from error
        self._observe(method, status)
        return _answer(what, status, text)

    async def list(self, resource: Resource, namespace: str = "", *, labels: str = "") -> AsyncIterator[Body]:
        """Every object, page by page. Should a page's token expire, all come again in one piece."""
        chosen = {"labelSelector": labels} if labels else {}
        params = {"limit": str(CHUNK), **chosen}
        while True:
            try:
                page = await self.request("GET", resource.path(namespace), params=params)
            except ApiError as error:
                if error.status != _GONE or "continue" not in params:
                    raise
                params = chosen
                continue
            for item in page["items"]:
                yield item
            token = page["metadata"].get("continue")
            if not token:
                return
            params = {"limit": str(CHUNK), "continue": token, **chosen}

    async def get(self, resource: Resource, namespace: str, name: str) -> Body:
        return await self.request("GET", resource.path(namespace, name))

    async def create(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> Body:
        """Create an object; `apiVersion` and `kind` are filled in."""
        whole = {"apiVersion": resource.api_version, "kind": resource.kind, **body}
        return await self.request("POST", resource.path(namespace), whole)

    async def replace(self, resource: Resource, namespace: str, name: str, body: Mapping[str, Any]) -> Body:
        """Replace an object whole. With a `resourceVersion` in it the answer to a change in between is a 409."""
        whole = {"apiVersion": resource.api_version, "kind": resource.kind, **body}
        return await self.request("PUT", resource.path(namespace, name), whole)

    async def merge_patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: Mapping[str, Any],
        *,
        subresource: str = "",
    ) -> Body:
        return await self.request("PATCH", resource.path(namespace, name, subresource), body, content_type=MERGE_PATCH)

    async def patch_status(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        operations: Sequence[Mapping[str, Any]],
    ) -> Body:
        """Change the status by a JSON patch, so that it can be guarded by `test`; a failed test is a 422."""
        path = resource.path(namespace, name, "status")
        return await self.request("PATCH", path, list(operations), content_type=JSON_PATCH)

    async def json_patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        operations: Sequence[Mapping[str, Any]],
    ) -> Body:
        path = resource.path(namespace, name)
        return await self.request("PATCH", path, list(operations), content_type=JSON_PATCH)

    async def delete(self, resource: Resource, namespace: str, name: str, *, uid: str = "") -> None:
        """Delete an object; with `uid` only that one, never a namesake that took its place (409)."""
        body = {"preconditions": {"uid": uid}} if uid else None
        await self.request("DELETE", resource.path(namespace, name), body)

    async def cluster_id(self) -> str:
        """The uid of the namespace kube-system: what tells one cluster from another."""
        uid: str = (await self.get(NAMESPACES, "", "kube-system"))["metadata"]["uid"]
        return uid


def _answer(what: str, status: int, text: bytes) -> Body:
    try:
        body = json.loads(text or b"{}")
    except ValueError:
        body = {"message": text[:200].decode(errors="replace")}
    if status >= 400:
        facts = body if isinstance(body, dict) else {}
        raise ApiError(
            what,
            status=status,
            reason=str(facts.get("reason") or "Unknown"),
            message=str(facts.get("message") or "no message"),
        )
    answer: Body = body
    return answer
