"""The operator and an API server that comes late, knows nothing yet, or goes away for a while."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from secondsite.controller import login
from secondsite.controller.assembly import Connections, Operator
from secondsite.controller.kube import Kube
from secondsite.controller.ports import Key
from secondsite.controller.table import TABLE
from secondsite.sandbox.cluster import install_crds
from secondsite.sandbox.control_plane import ControlPlane
from secondsite.sandbox.kubectl import Kubectl
from support.operator import ROOT, OperatorProcess, until

VAULT = """
apiVersion: secondsite.dev/v1alpha1
kind: RecoveryVault
metadata: {name: NAME}
spec: {}
"""


def generation(kubectl: Kubectl, name: str) -> int:
    found: dict[str, Any] = kubectl.json("get", "vault", name).get("status", {})
    return int(found.get("observedGeneration") or 0)


def test_it_waits_for_the_crds_and_outlives_the_api_server(binary: Path, tmp_path: Path) -> None:
    with ControlPlane(tmp_path / "it", binary) as own:
        kubectl = own.kubectl.within("default")
        with OperatorProcess(own.kubeconfig(), "default", tmp_path) as operator:
            until(lambda: operator.logged("list_failed"), "it cannot list")
            assert "kubectl apply" in operator.logged("list_failed")[0]["remedy"]
            assert operator.get("/readyz")[0] == 503
            assert operator.get("/healthz")[0] == 200
            install_crds(kubectl, ROOT / "crds")
            until(operator.leads, "it leads")

            kubectl.apply(VAULT.replace("NAME", "early"))
            until(lambda: generation(kubectl, "early") == 1, "a report")
            own.kill_apiserver()
            until(lambda: operator.metric("secondsite_operator_leader") == 0.0, "it stops commanding")
            assert operator.running
            assert operator.get("/healthz")[0] == 200
            own.restart_apiserver()
            until(operator.leads, "it leads again")
            kubectl.apply(VAULT.replace("NAME", "late"))
            until(lambda: generation(kubectl, "late") == 1, "a report on what came after the outage")
            kubectl("delete", "vault", "late")
            assert operator.stop() == 0
            assert not operator.logged("turn_failed")


@pytest.fixture
async def blind(cluster: ControlPlane, namespace: str) -> Any:
    """An operator whose watches tell it nothing: it lives on its own lists."""
    found = login.of_file(cluster.kubeconfig())
    async with Kube(found) as kube, Kube(found, limit=2, timeout=2) as lease:
        operator = Operator(
            Connections(kube, lease), namespace=namespace, control_plane="test", table=TABLE, list_every=0.3
        )
        await operator.prepare()
        running = asyncio.create_task(operator.run())
        yield operator
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_what_no_watch_reported_is_found_by_the_next_list(
    blind: Operator, kubectl: Kubectl, namespace: str
) -> None:
    key = Key("RecoveryVault", namespace, "late")
    await asyncio.to_thread(kubectl.apply, VAULT.replace("NAME", "late"))
    async with asyncio.timeout(20):
        while await asyncio.to_thread(generation, kubectl, "late") != 1:
            await asyncio.sleep(0.05)
    assert blind.catalogue.get(key) is not None
    await asyncio.to_thread(kubectl, "delete", "vault", "late")
    async with asyncio.timeout(20):
        while blind.catalogue.get(key) is not None:
            await asyncio.sleep(0.05)
    assert b"vm_namespace" not in await blind.metrics.render()
