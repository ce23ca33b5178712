"""What deletions that ran out of time still owe: ConfigMaps in the operator's namespace, written once."""

from __future__ import annotations

import hashlib
from collections import defaultdict

from secondsite import logs
from secondsite.controller.kube import CONFIG_MAPS, ApiError, Kube
from secondsite.plan.actions import LeaveTombstone

_KIND = "secondsite.dev/kind"
_TOMBSTONE = "tombstone"

_log = logs.get(__name__)


class Tombstones:
    """Those that the cluster remembers, by namespace of what was deleted."""

    def __init__(self, kube: Kube, namespace: str) -> None:
        self._kube = kube
        self._namespace = namespace
        self._ids: dict[str, set[str]] = defaultdict(set)

    def of(self, namespace: str) -> frozenset[str]:
        """Their ids."""
        return frozenset(self._ids.get(namespace, ()))

    async def load(self) -> None:
        """Read what stands there. Raises ApiUnreachable; where it may not be read, nothing is known."""
        try:
            async for body in self._kube.list(CONFIG_MAPS, self._namespace, labels=f"{_KIND}={_TOMBSTONE}"):
                data = body.get("data") or {}
                self._ids[data.get("namespace", "")].add(data.get("id", ""))
        except ApiError as error:
            _log.warning("tombstones_unreadable", error=str(error), remedy="Let the operator list ConfigMaps here.")

    async def leave(self, namespace: str, action: LeaveTombstone) -> None:
        """Write one down. It may stand there already."""
        digest = hashlib.sha256(f"{namespace}/{action.site}/{action.id}".encode()).hexdigest()[:20]
        data = {
            "namespace": namespace,
            "site": action.site,
            "id": action.id,
            "tombstone.json": action.wish.model_dump_json(by_alias=True, exclude={"fence"}),
        }
        await keep(self._kube, self._namespace, f"{_TOMBSTONE}-{digest}", data, _TOMBSTONE)
        self._ids[namespace].add(action.id)


async def keep(kube: Kube, namespace: str, name: str, data: dict[str, str], kind: str) -> None:
    """A ConfigMap that is written once and never changed; one of that name that stands there already stays."""
    labels = {"app.kubernetes.io/managed-by": "secondsite-operator", _KIND: kind}
    body = {"metadata": {"name": name, "labels": labels}, "data": data, "immutable": True}
    try:
        await kube.create(CONFIG_MAPS, namespace, body)
    except ApiError as error:
        if error.reason != "AlreadyExists":
            raise
