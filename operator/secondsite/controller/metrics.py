"""What Prometheus sees, computed when it asks, from the last verdicts and the mirrors: what is gone vanishes."""

from __future__ import annotations

import asyncio
import platform
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from secondsite import __version__
from secondsite.api.protectedvm_status import ProtectedVMState
from secondsite.controller.catalogue import Catalogue, Entry
from secondsite.controller.ports import Key, SitesPort
from secondsite.controller.references import SITE, VM

_HEALTH = {"Normal": 0.0, "Warning": 1.0, "Critical": 2.0}
_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300)

Row = tuple[str, str, float]
"""Namespace, name, value."""


@dataclass(slots=True)
class Snapshot:
    """The numbers of one moment, taken on the loop and rendered beside it."""

    points: list[Row] = field(default_factory=list)
    targets: list[Row] = field(default_factory=list)
    protected: list[Row] = field(default_factory=list)
    health: list[Row] = field(default_factory=list)
    states: dict[tuple[str, str, str], int] = field(default_factory=dict)
    reachable: list[Row] = field(default_factory=list)


@dataclass(slots=True)
class Sources:
    """What the numbers are taken from. `commanding`: this process has led and no other does now."""

    catalogue: Catalogue
    sites: SitesPort
    commanding: Callable[[], bool]
    leading: Callable[[], bool]
    unverified: Callable[[], int]
    depth: Callable[[], int]
    point_time: Callable[[Entry], datetime | None] = lambda entry: entry.verdict.point_time


class Metrics:
    """The registry of one operator. A standby shows nothing of single objects: the leader's numbers are the truth."""

    def __init__(self, sources: Sources) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library leaves it untyped
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self._sources = sources
        self.turns = Histogram(
            "secondsite_reconcile_duration_seconds",
            "Time that a turn of one object was busy, by kind.",
            ["controller"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.status_writes = Counter(
            "secondsite_status_writes_total", "Statuses written, by kind.", ["controller"], registry=self.registry
        )
        self.kube_requests = Counter(
            "secondsite_kube_requests_total",
            "Calls to the API server, by HTTP status; 0 is no answer.",
            ["method", "code"],
            registry=self.registry,
        )
        self._plain_gauges()
        self._collector = _Collector()
        self.registry.register(self._collector)

    async def render(self) -> bytes:
        """The whole text."""
        self._collector.snapshot = snapshot(self._sources) if self._sources.commanding() else Snapshot()
        # A thread, because ten thousand VMs take half a second to write down.
        return await asyncio.to_thread(generate_latest, self.registry)

    def _plain_gauges(self) -> None:
        sources = self._sources
        build = Gauge(
            "secondsite_build_info", "Versions; always 1.", ["version", "python_version"], registry=self.registry
        )
        build.labels(__version__, platform.python_version()).set(1)
        for name, text, value in (
            ("secondsite_operator_leader", "1 while this operator holds the Lease.", lambda: float(sources.leading())),
            (
                "secondsite_operator_unverified_objects",
                "Objects that had no turn yet since this operator commands.",
                lambda: float(sources.unverified()),
            ),
            ("secondsite_queue_depth", "Objects that wait for a turn now.", lambda: float(sources.depth())),
        ):
            Gauge(name, text, registry=self.registry).set_function(value)


def snapshot(sources: Sources) -> Snapshot:
    """The numbers of this moment."""
    taken, states = Snapshot(), Tally[tuple[str, str, str]]()
    for entry in sources.catalogue.entries(VM):
        key, verdict = entry.key, entry.verdict
        if (point := sources.point_time(entry)) is not None:
            taken.points.append(_row(key, point.timestamp()))
        if verdict.rpo_target_seconds is not None:
            taken.targets.append(_row(key, float(verdict.rpo_target_seconds)))
        taken.protected.append(_row(key, float(verdict.conditions.get("Protected") == "True")))
        if verdict.health in _HEALTH:
            taken.health.append(_row(key, _HEALTH[verdict.health]))
        policy = entry.object.spec.policy_ref.name if entry.object else ""
        states.update({(key.namespace, policy, state.value): 0 for state in ProtectedVMState})
        states[key.namespace, policy, verdict.state or ProtectedVMState.PENDING.value] += 1
    taken.states = dict(states)
    for entry in sources.catalogue.entries(SITE):
        contact = sources.sites.view(entry.key.namespace, entry.key.name).contact
        taken.reachable.append(_row(entry.key, float(contact.answer == "Reachable")))
    return taken


class _Collector(Collector):
    """Renders the last snapshot."""

    def __init__(self) -> None:
        self.snapshot = Snapshot()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        taken, of_vm = self.snapshot, ["vm_namespace", "vm"]
        prefix = "secondsite_protected_vm"
        yield _family(
            f"{prefix}_last_recovery_point_timestamp_seconds",
            "Source time of the newest recovery point usable at the target; absent before the first.",
            of_vm,
            taken.points,
        )
        yield _family(f"{prefix}_rpo_target_seconds", "Seconds that the replica may be behind.", of_vm, taken.targets)
        yield _family(f"{prefix}_protected", "1 while the VM is protected.", of_vm, taken.protected)
        yield _family(f"{prefix}_health", "Replication health: 0 Normal, 1 Warning, 2 Critical.", of_vm, taken.health)
        yield _family(
            "secondsite_site_reachable",
            "1 while the site's agent answers.",
            ["site_namespace", "site"],
            taken.reachable,
        )
        states = GaugeMetricFamily(
            "secondsite_protected_vms", "ProtectedVMs in each state.", labels=["policy_namespace", "policy", "state"]
        )
        for labels, count in sorted(taken.states.items()):
            states.add_metric(labels, count)
        yield states


def _family(name: str, text: str, labels: list[str], rows: Iterable[Row]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels)
    for namespace, of, value in rows:
        family.add_metric([namespace, of], value)
    return family


def _row(key: Key, value: float) -> Row:
    return key.namespace, key.name, value
