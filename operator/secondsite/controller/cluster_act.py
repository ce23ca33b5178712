"""Carries out what was planned in the cluster itself: finalizers, deletion, evidence, tombstones."""

from __future__ import annotations

from typing import Any

from secondsite.api.kind import Kind, Object
from secondsite.controller.catalogue import Catalogue
from secondsite.controller.kube import CONFIG_MAPS, ApiError, Kube, Resource
from secondsite.controller.ports import ActorPort, Key, Receipt
from secondsite.errors import SiteUnreachable, Superseded
from secondsite.plan.actions import (
    Action,
    AddFinalizer,
    DeleteSelf,
    LeaveTombstone,
    RemoveFinalizer,
    WriteEvidence,
)

LABELS = {"app.kubernetes.io/managed-by": "secondsite-operator"}


class ClusterActor:
    """Performs every action: those on the cluster itself, the others by the site side."""

    def __init__(self, kube: Kube, catalogue: Catalogue, sites: ActorPort, namespace: str) -> None:
        self._kube = kube
        self._catalogue = catalogue
        self._sites = sites
        self._namespace = namespace

    async def perform(self, kind: Kind[Any, Any], key: Key, action: Action, obj: Object[Any]) -> Receipt | None:
        """Do it once. Raises the kinds of `secondsite.errors` and those of the API server."""
        match action:
            case AddFinalizer(finalizer):
                await self._set_finalizers(kind, key, obj, (*obj.finalizers, finalizer))
            case RemoveFinalizer(finalizer):
                kept = tuple(other for other in obj.finalizers if other != finalizer)
                await self._set_finalizers(kind, key, obj, kept)
            case DeleteSelf():
                await self._delete(kind, obj)
            case WriteEvidence():
                await self._keep(obj.namespace, action.name, dict(action.data), {"secondsite.dev/kind": "evidence"})
            case LeaveTombstone():
                return await self._bury(action, obj)
            case _:
                return await self._sites.perform(action, obj)
        return None

    async def _set_finalizers(
        self, kind: Kind[Any, Any], key: Key, obj: Object[Any], finalizers: tuple[str, ...]
    ) -> None:
        entry = self._catalogue.get(key)
        if entry is None or entry.uid != obj.uid:
            raise Superseded(f"{key} is gone")
        # With the version: another's finalizer, added meanwhile, must not be lost.
        wish = {"metadata": {"resourceVersion": entry.version, "uid": obj.uid, "finalizers": list(finalizers)}}
        try:
            answer = await self._kube.merge_patch(Resource.of(kind), obj.namespace, obj.name, wish)
        except ApiError as error:
            if error.status != 404:
                raise
            self._catalogue.remove(key, obj.uid)
            return
        if answer["metadata"].get("deletionTimestamp") and not answer["metadata"].get("finalizers"):
            self._catalogue.remove(key, obj.uid)
        else:
            self._catalogue.take(kind, answer)

    async def _delete(self, kind: Kind[Any, Any], obj: Object[Any]) -> None:
        try:
            await self._kube.delete(Resource.of(kind), obj.namespace, obj.name, uid=obj.uid)
        except ApiError as error:
            if error.status != 404:
                raise

    async def _bury(self, action: LeaveTombstone, obj: Object[Any]) -> Receipt | None:
        name = f"tombstone-{action.site}-{action.id}"[:253]
        data = {
            "namespace": obj.namespace,
            "site": action.site,
            "id": action.id,
            "tombstone.json": action.wish.model_dump_json(by_alias=True, exclude={"fence"}),
        }
        await self._keep(self._namespace, name, data, {"secondsite.dev/kind": "tombstone"})
        try:
            return await self._sites.perform(action, obj)
        except SiteUnreachable:
            # It stands in the cluster; the site is told when it returns.
            return None

    async def _keep(self, namespace: str, name: str, data: dict[str, str], labels: dict[str, str]) -> None:
        """A ConfigMap that is written once and never changed."""
        metadata = {"name": name, "labels": {**LABELS, **labels}}
        try:
            await self._kube.create(CONFIG_MAPS, namespace, {"metadata": metadata, "data": data, "immutable": True})
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
