"""What the operator gathers for a test from catalogue and mirrors, also when a ProtectedVM is gone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from secondsite.api.recoveryvault import RECOVERY_VAULT
from secondsite.api.testfailover import TEST_FAILOVER
from secondsite.api.vmmsite import VMM_SITE
from secondsite.controller.catalogue import Catalogue
from secondsite.controller.machines import Machines
from secondsite.controller.observe import Observer
from secondsite.controller.ports import Key
from secondsite.plan.observed import Identity, SiteView
from support.tested_site import body

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
SITE: dict[str, Any] = {"vaultRef": {"name": "vault"}, "endpoint": "https://agent.example:8443"}


class Around:
    """Mirrors, keys and tombstones that say no more than whom they were asked about."""

    def view(self, namespace: str, name: str) -> SiteView:
        return SiteView(name=f"{namespace}/{name}")

    def identity(self, namespace: str, name: str) -> Identity:
        return Identity(f"keys of {namespace}/{name}", "cluster")

    def of(self, namespace: str) -> frozenset[str]:
        return frozenset({f"tombstone of {namespace}"})


def test_sites_vault_and_tombstones_are_seen_without_any_protected_vm() -> None:
    catalogue, around = Catalogue(), Around()
    for kind, made in (
        (RECOVERY_VAULT, body("vault", {"deletionDeadlineMinutes": 30}, resourceVersion="1")),
        (VMM_SITE, body("newyork", SITE, resourceVersion="1")),
        (VMM_SITE, body("chicago", SITE, resourceVersion="1")),
        (VMM_SITE, body("elsewhere", SITE, resourceVersion="1", namespace="other")),
        (TEST_FAILOVER, body("drill", {"protectedVMRefs": [{"name": "gone"}]}, resourceVersion="1")),
    ):
        catalogue.take(kind, made)
    sources: Any = around
    observer = Observer(catalogue, sources, sources, Machines(), sources)
    test = catalogue.object(Key("TestFailover", "recovery", "drill"))
    assert test is not None
    world = observer.test(test, NOW)
    assert [view.name for view in world.sites] == ["recovery/chicago", "recovery/newyork"]
    assert world.tombstones == {"tombstone of recovery"}
    assert world.vault is not None
    assert world.identity.vault == "keys of recovery/vault"
    assert world.members == {"gone": None}
