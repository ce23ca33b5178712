"""Runs the operator: kopf watches, everything else is ours."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kopf

from secondsite import logs
from secondsite.controller import handlers, login
from secondsite.controller.assembly import Connections, Operator
from secondsite.controller.kinds import Table
from secondsite.controller.kube import ApiError, ApiUnreachable, Kube
from secondsite.controller.lease import CALL_SECONDS, LeaseLost
from secondsite.controller.probes import Probes
from secondsite.errors import SecondsiteError

EXIT_LEASE_LOST = 3
"""Another operator holds the Lease: a supervisor may start this one again, as a standby."""
DEFAULT_NAMESPACE = "secondsite-system"

_log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says. `namespace` holds Lease and Secrets; by default that of the pod or the context."""

    kubeconfig: Path | None = None
    context: str | None = None
    namespace: str = ""
    listen: str | None = None
    """Address for probes and metrics; by default all in a pod, loopback elsewhere."""
    metrics_port: int = 8080


async def run(options: Options, table: Table) -> int:
    """Run until SIGTERM or SIGINT (0), until another operator commands (3), or until something breaks (raises)."""
    found = login.find(options.kubeconfig, options.context)
    in_pod = found.token_file is not None
    namespace = options.namespace or (found.namespace if in_pod else "") or DEFAULT_NAMESPACE
    host = options.listen if options.listen is not None else ("" if in_pod else "127.0.0.1")
    counter = _Counted()
    async with (
        Kube(found, observe=counter.observe) as kube,
        Kube(found, limit=2, timeout=CALL_SECONDS, observe=counter.observe) as lease,
    ):
        operator = Operator(
            Connections(kube, lease),
            namespace=namespace,
            control_plane=await _patiently_identify(kube),
            table=table,
        )
        counter.count = operator.metrics.kube_requests
        probes = Probes(lambda: (True, "ok"), operator.ready, operator.metrics.render, host, options.metrics_port)
        await _listen(probes)
        _log.info("started", namespace=namespace, server=found.server, port=probes.port, holder=operator.lease.holder)
        try:
            return await _until_the_end(operator, found)
        finally:
            await operator.lease.release()
            await probes.stop()


async def _until_the_end(operator: Operator, found: login.Login) -> int:
    lost: LeaseLost | None = None
    stop = asyncio.Event()
    try:
        async with asyncio.TaskGroup() as group:
            await operator.prepare()
            tasks = [group.create_task(operator.run()), group.create_task(_watch(operator, found, stop))]
            await stop.wait()
            # Before kopf has hung up all its watches: a standby need not wait for that.
            await operator.lease.release()
            for task in tasks:
                task.cancel()
    except* LeaseLost as errors:
        lost = next((error for error in errors.exceptions if isinstance(error, LeaseLost)), LeaseLost())
    if lost is None:
        return 0
    _log.error("lease_lost", error=str(lost))
    return EXIT_LEASE_LOST


async def _watch(operator: Operator, found: login.Login, stop: asyncio.Event) -> None:
    """kopf, which ends when `stop` is set; signals set it."""
    for name in ("kopf", "kopf.activities"):
        logging.getLogger(name).setLevel(logging.WARNING)
    made, started = handlers.registry(operator.kinds.values(), found, operator.feed), asyncio.Event()
    watching = kopf.operator(
        registry=made, settings=_settings(), clusterwide=True, standalone=True, stop_flag=stop, ready_flag=started
    )
    async with asyncio.TaskGroup() as group:
        task = group.create_task(watching)
        await started.wait()
        # kopf has set its own by now; those would stop it alone.
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await task
        stop.set()


async def _listen(probes: Probes) -> None:
    try:
        await probes.start()
    except OSError as error:
        raise SecondsiteError(
            f"Listen on {probes.host or 'all addresses'} port {probes.port} for probes and metrics: {error.strerror}",
            "Choose another port with --metrics-port, or 0 for any.",
        ) from error


async def _patiently_identify(kube: Kube) -> str:
    """The cluster's id, however long its API server takes to answer."""
    while True:
        try:
            return await kube.cluster_id()
        except (ApiUnreachable, ApiError) as error:
            _log.warning("cluster_not_identified", error=str(error))
            await asyncio.sleep(1.0)


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.queueing.idle_timeout = 0.5
    settings.watching.chunk_size = 500
    settings.networking.request_timeout = 30
    settings.networking.error_backoffs = _Endless()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.persistence.diffbase_storage = _NoDiff()
    return settings


class _Endless:
    """Pauses between tries of a list that fails: kopf ends the process when they run out."""

    def __iter__(self) -> Iterator[float]:
        yield from (0.5, 1.0, 2.0)
        while True:
            yield 5.0


class _NoDiff(kopf.DiffBaseStorage):
    """Keeps no copy of the spec in an annotation: no handler of ours asks what changed."""

    def build(self, *, body: kopf.Body, extra_fields: Any = None) -> kopf.BodyEssence:
        del body, extra_fields
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        del body
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Nothing."""


class _Counted:
    """Counts calls to the API server once there are metrics to count in."""

    count: Any = None

    def observe(self, method: str, status: int) -> None:
        if self.count is not None:
            self.count.labels(method, str(status)).inc()
