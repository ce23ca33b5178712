"""The operator put together: who hears what from whom. It knows neither kopf nor signals."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from secondsite import logs
from secondsite.api.kind import Kind, Object
from secondsite.api.recoveryvault import RecoveryVaultSpec
from secondsite.api.vmmsite import VMMSiteSpec
from secondsite.controller.act import Declared
from secondsite.controller.barrier import Barrier
from secondsite.controller.catalogue import Catalogue, Change, Entry
from secondsite.controller.cluster_act import ClusterActor
from secondsite.controller.kinds import Table
from secondsite.controller.kube import Kube
from secondsite.controller.lease import Lease
from secondsite.controller.limits import Limiter
from secondsite.controller.listing import EVERY_SECONDS, Lister
from secondsite.controller.machines import Machines
from secondsite.controller.metrics import Metrics, Sources
from secondsite.controller.observe import Observer
from secondsite.controller.pending import Pending
from secondsite.controller.ports import Key, SiteKey
from secondsite.controller.probes import Answer
from secondsite.controller.queue import Rank, WorkQueue
from secondsite.controller.references import MAPPING, POLICY, SITE, TEST, VAULT, VM
from secondsite.controller.report import StatusWriter
from secondsite.controller.runner import Runner
from secondsite.controller.siteside import SiteSide
from secondsite.controller.tombstones import Tombstones
from secondsite.controller.turn import Clocks, Turns
from secondsite.controller.wake import Waker
from secondsite.plan.actions import Action

# Sites first, since all others plan by what they find; people wait for tests.
_URGENCY = {VAULT: 0, SITE: 1, TEST: 2, POLICY: 3}
_LAST = 4
_REST = 30
"""A roll-up that took long rests so many times as long, however many of its members change."""

_log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class Connections:
    """The API server: for everything, and apart from it for the Lease, which must not wait in line."""

    kube: Kube
    lease: Kube


class Operator:
    """One operator process. `feed` takes in what a watch shows; `run` does the rest until it is cancelled."""

    def __init__(
        self,
        connections: Connections,
        *,
        namespace: str,
        control_plane: str,
        table: Table,
        list_every: float = EVERY_SECONDS,
    ) -> None:
        self.table = table
        self.kinds: Mapping[str, Kind[Any, Any]] = {name: row.kind for name, row in table.items()}
        self.catalogue = Catalogue(self._changed)
        self.lease = Lease(connections.lease, namespace, control_plane, self._lease_changed)
        self.sites = SiteSide(connections.kube, namespace, self.lease, Declared(site=self._site, vault=self._vault))
        self.barrier = Barrier(self.catalogue, self.sites)
        self.metrics = Metrics(self._sources())
        self._tombstones = Tombstones(connections.kube, namespace)
        self._lister = Lister(connections.kube, self.catalogue, tuple(self.kinds.values()), list_every)
        self._leading = asyncio.Event()
        self._verified = False
        self._slow: dict[Key, float] = {}
        self._machines = Machines()
        self._writer = self._make_writer(connections.kube)
        self._runner = self._make_runner(connections.kube)
        self._waker = Waker(
            self.catalogue, self.sites, self._machines, self._now, self._later, self._runner.turns.forgive
        )
        self._runner.turns.judged = self._waker.judged
        self.sites.subscribe(self._news)

    async def prepare(self) -> None:
        """Learn all that is declared. Only then may watches begin, and `run`."""
        await self._tombstones.load()
        await self._lister.first()
        self._sync_sites()
        _freeze()
        _log.info("listed", objects=sum(1 for _ in self.catalogue.entries()))

    async def run(self) -> None:
        """Hold the Lease and do the work. Raises LeaseLost, in a group, when another operator commands."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.lease.run())
                group.create_task(self._lister.run())
                group.create_task(self._writer.run())
                group.create_task(self._work())
        finally:
            await self.sites.close()

    def feed(self, kind: Kind[Any, Any], event: str | None, body: Mapping[str, Any]) -> None:
        """An event of the watch: `DELETED`, or anything else for what is there."""
        metadata = body["metadata"]
        if event == "DELETED":
            self.catalogue.remove(Key(kind.name, metadata["namespace"], metadata["name"]), metadata["uid"])
        else:
            self.catalogue.take(kind, body)

    def ready(self) -> Answer:
        """For `/readyz`."""
        if not self._lister.listed.is_set():
            return False, "the first lists have not ended"
        if not self.lease.ever_held:
            return True, "standby"
        return self.barrier.passed(), f"{self.barrier.unverified()} objects are not verified yet"

    async def _work(self) -> None:
        await self._leading.wait()
        self.barrier.open()
        for entry in self.catalogue.entries():
            self._runner.now(entry.key)
        await self._runner.run()

    def _took(self, key: Key, seconds: float) -> None:
        self.metrics.turns.labels(key.kind).observe(seconds)
        if key.kind in (VAULT, POLICY, MAPPING):
            self._slow[key] = seconds
        if not self._verified and not len(self._runner.queue) and self.barrier.passed():
            self._verified = True
            # The mirrors are full by now.
            _freeze()
            _log.info("verified", objects=sum(1 for _ in self.catalogue.entries()))

    def _changed(self, key: Key, change: Change) -> None:
        self._waker.changed(key, change)
        if change is Change.GONE:
            self._runner.turns.forget(key)
            self._writer.forget(key)
            self._slow.pop(key, None)
        if key.kind == SITE and change is not Change.STATUS:
            self._sync_sites()

    def _news(self, site: SiteKey, kind: str, id_: str) -> None:
        self._runner.limiter.news(site)
        self._waker.news(site, kind, id_)
        self._runner.stir()

    def _now(self, key: Key) -> None:
        # A standby only remembers: everything gets a turn when it leads.
        if self.barrier.opened:
            self._runner.now(key)

    def _later(self, key: Key, delay: float) -> None:
        if self.barrier.opened:
            self._runner.later(key, max(delay, _REST * self._slow.get(key, 0.0)))

    def _lease_changed(self, held: bool) -> None:
        _log.info("commanding" if held else "commands_stopped", term=self.lease.term)
        if held:
            self._leading.set()
            self._runner.stir()

    def _written(self, key: Key) -> None:
        self.metrics.status_writes.labels(key.kind).inc()
        if key.kind == TEST:
            # What ended stays as it was reported, and its VMs tell of it: both read what is written.
            for other in (key, *self.catalogue.graph.targets(key)):
                self._now(other)

    def _may_act(self, key: Key, action: Action) -> bool:
        return self.lease.held and self.barrier.may_act(key, action)

    def _sync_sites(self) -> None:
        if self._lister.listed.is_set():
            found = (entry.object for entry in self.catalogue.entries(SITE))
            self.sites.sync({(site.namespace, site.name): site for site in found if site})

    def _site(self, namespace: str, name: str) -> Object[VMMSiteSpec] | None:
        return self.catalogue.object(Key(SITE, namespace, name))

    def _vault(self, namespace: str, name: str) -> Object[RecoveryVaultSpec] | None:
        return self.catalogue.object(Key(VAULT, namespace, name))

    def _refresh_seconds(self, entry: Entry) -> float:
        if entry.key.kind != VM or entry.object is None:
            return 0.0
        policy = self.catalogue.object(Key(POLICY, entry.key.namespace, entry.object.spec.policy_ref.name))
        return float(policy.spec.replication_interval_seconds) if policy else 0.0

    def _rank(self, key: Key) -> Rank:
        found = self.catalogue.object(key)
        if found is None:
            return (-1,)
        priority = found.spec.initial_replication_priority if key.kind == VM else 0
        return _URGENCY.get(key.kind, _LAST), -priority, found.creation_timestamp, found.uid

    def _sources(self) -> Sources:
        return Sources(
            catalogue=self.catalogue,
            sites=self.sites,
            commanding=lambda: self.lease.ever_held,
            leading=lambda: self.lease.held,
            unverified=self.barrier.unverified,
            depth=lambda: len(self._runner.queue),
        )

    def _make_writer(self, kube: Kube) -> StatusWriter:
        return StatusWriter(
            kube,
            self.catalogue,
            self.kinds,
            wall=_wall,
            steady=time.monotonic,
            may_write=lambda: self.lease.held,
            refresh_seconds=self._refresh_seconds,
            written=self._written,
        )

    def _make_runner(self, kube: Kube) -> Runner:
        queue, pending, limiter = WorkQueue(self._rank), Pending(self.sites.reached), Limiter(self.sites)
        turns = Turns(
            table=self.table,
            catalogue=self.catalogue,
            observer=Observer(self.catalogue, self.sites, self.sites, self._machines, self._tombstones),
            queue=queue,
            pending=pending,
            limiter=limiter,
            performer=ClusterActor(kube, self.catalogue, self.sites.actor, self._tombstones),
            reporter=self._writer,
            clocks=Clocks(_wall, time.monotonic),
            may_act=self._may_act,
        )
        return Runner(
            queue=queue,
            turns=turns,
            pending=pending,
            limiter=limiter,
            held_back=self.barrier.held_back,
            took=self._took,
        )


def _freeze() -> None:
    """What is in memory now stays for long; later collections need not walk through it again and again."""
    gc.collect()
    gc.freeze()


_wall = partial(datetime.now, UTC)
