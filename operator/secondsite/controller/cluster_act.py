"""Carries out what was planned in the cluster itself: finalizers, deletion, evidence, tombstones."""

from __future__ import annotations

from typing import Any

from secondsite.api.kind import Kind, Object
from secondsite.controller.catalogue import Catalogue
from secondsite.controller.kube import ApiError, Kube, Resource
from secondsite.controller.ports import ActorPort, Key, Receipt
from secondsite.controller.tombstones import Tombstones, keep
from secondsite.errors import SiteUnreachable, Superseded
from secondsite.plan.actions import (
    Action,
    AddFinalizer,
    DeleteSelf,
    LeaveTombstone,
    RemoveFinalizer,
    WriteEvidence,
)


class ClusterActor:
    """Performs every action: those on the cluster itself, the others by the site side."""

    def __init__(self, kube: Kube, catalogue: Catalogue, sites: ActorPort, tombstones: Tombstones) -> None:
        self._kube = kube
        self._catalogue = catalogue
        self._sites = sites
        self._tombstones = tombstones

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
                await keep(self._kube, obj.namespace, action.name, dict(action.data), "evidence")
            case LeaveTombstone():
                return await self._bury(key, action, obj)
            case _:
                return await self._sites.perform(key, action, obj)
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

    async def _bury(self, key: Key, action: LeaveTombstone, obj: Object[Any]) -> Receipt | None:
        await self._tombstones.leave(obj.namespace, action)
        try:
            return await self._sites.perform(key, action, obj)
        except SiteUnreachable:
            # It stands in the cluster; the site is told when it returns.
            return None
