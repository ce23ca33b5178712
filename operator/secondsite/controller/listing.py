"""Our own lists of all objects: the start barrier's first half, and the cure for deletions that nobody reported."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from secondsite import logs
from secondsite.api.kind import Kind
from secondsite.controller.catalogue import Catalogue
from secondsite.controller.kube import ApiError, ApiUnreachable, Kube, Resource

EVERY_SECONDS = 600.0
_PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0)

_log = logs.get(__name__)


@dataclass(slots=True)
class Lister:
    """Lists every kind at the start, and again from time to time."""

    kube: Kube
    catalogue: Catalogue
    kinds: Iterable[Kind[Any, Any]]
    every: float = EVERY_SECONDS
    listed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when all kinds were listed once."""

    async def first(self) -> None:
        """List all kinds; goes on trying while the API server does not answer or does not know them yet."""
        for kind in self.kinds:
            await self._patiently(kind)
        self.listed.set()

    async def run(self) -> None:
        """List all kinds again and again, until cancelled."""
        while True:
            await asyncio.sleep(self.every)
            for kind in self.kinds:
                try:
                    await self._list(kind)
                except (ApiError, ApiUnreachable) as error:
                    _log.warning("list_failed", kind=kind.name, error=str(error))
                except Exception:  # noqa: BLE001 - without its lists the operator would slowly go wrong
                    _log.exception("list_failed", kind=kind.name)

    async def _patiently(self, kind: Kind[Any, Any]) -> None:
        failures = 0
        while True:
            try:
                await self._list(kind)
            except (ApiError, ApiUnreachable) as error:
                missing = isinstance(error, ApiError) and error.status == 404
                remedy = "Apply the CRDs: kubectl apply -k crds" if missing else ""
                _log.warning("list_failed", kind=kind.name, error=str(error), remedy=remedy)
                await asyncio.sleep(_PAUSES[min(failures, len(_PAUSES) - 1)])
                failures += 1
            else:
                return

    async def _list(self, kind: Kind[Any, Any]) -> None:
        known, listed = self.catalogue.begin_list(kind.name), set[str]()
        async for body in self.kube.list(Resource.of(kind)):
            listed.add(body["metadata"]["uid"])
            self.catalogue.take(kind, body)
        self.catalogue.end_list(kind.name, known, listed)
