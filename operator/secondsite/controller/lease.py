"""The Lease by which one operator of several commands. Losing it, even for a moment, stops commands at once."""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from secondsite import logs
from secondsite.controller.kube import LEASES, ApiError, ApiUnreachable, Kube
from secondsite.errors import Superseded

NAME = "secondsite-operator"
DURATION_SECONDS = 6
RENEW_SECONDS = 2.0
CALL_SECONDS = 1.8
"""How long one call may take, so that two fit before the Lease runs out."""

_log = logs.get(__name__)


class LeaseLost(Exception):
    """Another operator holds the Lease now."""


class Lease:
    """`run` takes it, renews it, and raises LeaseLost when another one took it. `changed` hears when `held` changes.

    A standby watches the record: it is free when its holder has let it go, or has not renewed it for its duration by
    our own clock.
    """

    def __init__(
        self,
        kube: Kube,
        namespace: str,
        control_plane: str,
        changed: Callable[[bool], None] = lambda _held: None,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self.control_plane = control_plane
        self.holder = f"{socket.gethostname()}-{secrets.token_hex(4)}"
        self.ever_held = False
        self._kube = kube
        self._namespace = namespace
        self._changed = changed
        self._steady = steady
        self._term = 0
        self._renewed = float("-inf")
        self._told = False
        self._seen: tuple[object, float] = (None, 0.0)
        self._last: dict[str, Any] | None = None
        self._turn = asyncio.Lock()

    @property
    def held(self) -> bool:
        """Whether the Lease is ours at this moment, by the time of our last renewal."""
        return self._steady() < self._renewed + DURATION_SECONDS

    @property
    def term(self) -> int:
        """The Lease's count of transitions: rises with every holder, and with `raise_term`."""
        return self._term

    async def run(self) -> None:
        """Hold it from the moment at which it is free. Raises LeaseLost."""
        while True:
            began = self._steady()
            async with self._turn:
                try:
                    await self._attempt(began)
                except (ApiError, ApiUnreachable) as error:
                    self._fail(error)
            self._tell()
            await asyncio.sleep(max(0.0, (RENEW_SECONDS if self.held else 1.0) - (self._steady() - began)))

    async def raise_term(self, at_least: int) -> None:
        """Raise the transition count to at least this. Raises Superseded when the Lease is not ours any more."""
        async with self._turn:
            began = self._steady()
            if not self.held:
                raise Superseded("This operator does not hold the Lease")
            try:
                body = await self._read()
                if body is None or body["spec"].get("holderIdentity") != self.holder:
                    raise Superseded("Another operator holds the Lease")
                if at_least > self._term:
                    await self._write(body, max(at_least, self._term), began)
            except (ApiError, ApiUnreachable) as error:
                self._fail(error)
                raise Superseded(f"The Lease could not be renewed: {error}") from error
            finally:
                self._tell()

    async def release(self) -> None:
        """Let it go, so that a standby need not wait until it runs out."""
        async with self._turn:
            if not self.held:
                return
            self._renewed, self._last = float("-inf"), None
            self._tell()
            try:
                body = await self._read()
                if body is not None and body["spec"].get("holderIdentity") == self.holder:
                    body["spec"]["holderIdentity"] = ""
                    await self._kube.replace(LEASES, self._namespace, NAME, body)
            except (ApiError, ApiUnreachable) as error:
                _log.info("lease_not_released", error=str(error))

    async def _attempt(self, began: float) -> None:
        """Renew it, take it if it is free, or note that it is not."""
        last, self._last = self._last, None
        if last is not None and await self._renewed_blindly(last, began):
            return
        body = await self._read()
        if body is None:
            # Deleted, or the first start. A term that we held once must not come again.
            await self._create(self._term + 1, began)
            return
        spec = body.get("spec") or {}
        holder, term = spec.get("holderIdentity") or "", int(spec.get("leaseTransitions") or 0)
        if holder == self.holder:
            await self._write(body, max(term, self._term), began)
        elif self.ever_held and holder:
            self._renewed = float("-inf")
            raise LeaseLost(f"{holder} holds the Lease {self._namespace}/{NAME} now")
        elif self._is_free(spec, holder):
            await self._write(body, max(term, self._term) + 1, began)

    async def _renewed_blindly(self, last: dict[str, Any], began: float) -> bool:
        """Renew what we wrote last without reading it first. False: it is not what it was."""
        try:
            await self._write(last, self._term, began)
        except ApiError as error:
            if error.status not in (404, 409):
                raise
            return False
        return True

    def _is_free(self, spec: dict[str, Any], holder: str) -> bool:
        if not holder:
            return True
        record = (holder, spec.get("renewTime"), spec.get("leaseTransitions"))
        if record != self._seen[0]:
            self._seen = record, self._steady()
        duration = float(spec.get("leaseDurationSeconds") or DURATION_SECONDS)
        return self._steady() - self._seen[1] > duration

    async def _read(self) -> dict[str, Any] | None:
        try:
            return await self._kube.get(LEASES, self._namespace, NAME)
        except ApiError as error:
            if error.status != 404:
                raise
            return None

    async def _create(self, term: int, began: float) -> None:
        await self._kube.create(LEASES, self._namespace, {"metadata": {"name": NAME}, "spec": self._spec(term)})
        self._hold(term, began)

    async def _write(self, body: dict[str, Any], term: int, began: float) -> None:
        """Raises ApiError 409 when somebody else wrote in between."""
        spec = self._spec(term)
        if term == int(body["spec"].get("leaseTransitions") or 0) and "acquireTime" in body["spec"]:
            spec["acquireTime"] = body["spec"]["acquireTime"]
        self._last = await self._kube.replace(LEASES, self._namespace, NAME, {**body, "spec": spec})
        self._hold(term, began)

    def _spec(self, term: int) -> dict[str, Any]:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {
            "holderIdentity": self.holder,
            "leaseDurationSeconds": DURATION_SECONDS,
            "leaseTransitions": term,
            "acquireTime": now,
            "renewTime": now,
        }

    def _hold(self, term: int, began: float) -> None:
        # Counted from before the call: the others count from when it took effect.
        self._term, self._renewed = term, began
        if not self.ever_held:
            _log.info("lease_taken", holder=self.holder, term=term)
        self.ever_held = True

    def _fail(self, error: Exception) -> None:
        if self.held:
            _log.warning("lease_not_renewed", error=str(error))
        self._renewed = float("-inf")

    def _tell(self) -> None:
        if self.held != self._told:
            self._told = self.held
            self._changed(self._told)
