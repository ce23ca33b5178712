"""Whom news concerns: from a changed object, or from a change at a site, to the keys that need a turn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from secondsite.api.protectedvm import ProtectedVMSpec
from secondsite.controller.catalogue import Catalogue, Change
from secondsite.controller.machines import Machines
from secondsite.controller.ports import Key, SiteKey, SitesPort
from secondsite.controller.references import MAPPING, POLICY, SITE, TEST, VAULT, VM
from secondsite.controller.verdict import Verdict

SOON = 1.0
"""Seconds for which roll-ups wait, so that a thousand changed members make one turn."""
MAPPING_SOON = 3.0
"""The same for what reads every VM of a pair of sites."""

_OF_A_VM = frozenset({"Relation", "Operation", "VM"})
_OF_THE_NETWORK = frozenset({"Network", "Pool"})


@dataclass(frozen=True, slots=True)
class Waker:
    """`now` makes a key ready; `later` makes it due in so many seconds; `forgive` lifts what held its actions back."""

    catalogue: Catalogue
    sites: SitesPort
    machines: Machines
    now: Callable[[Key], None]
    later: Callable[[Key, float], None]
    forgive: Callable[[Key], None]

    def changed(self, key: Key, change: Change) -> None:
        """An object changed in the cluster."""
        if change is not Change.GONE:
            self.now(key)
        if change is Change.STATUS:
            return
        self.forgive(key)
        if key.kind == VM:
            self._index(key, change)
        for other in self._dependants(key):
            self.now(other)
        for other in self.catalogue.graph.above(key) | self._beside(key):
            self.later(other, SOON)

    def judged(self, key: Key, before: Verdict, verdict: Verdict) -> None:
        """An object's verdict changed: what rolls it up looks again."""
        if key.kind == TEST and before.conditions != verdict.conditions:
            for other in self.catalogue.graph.targets(key) | self._beside(key):
                self.now(other)
        # The age of the newest point changes all the time, and no roll-up shows it.
        if (before.ready, before.summary("")) != (verdict.ready, verdict.summary("")):
            for other in self.catalogue.graph.above(key):
                if other.kind in (POLICY, VAULT):
                    self.later(other, SOON)

    def news(self, site: SiteKey, kind: str, id_: str) -> None:
        """A site said something new."""
        namespace, name = site
        key = Key(SITE, namespace, name)
        if kind in _OF_A_VM:
            self._vm_news(site, id_, inventory=kind == "VM")
        elif kind in _OF_THE_NETWORK:
            self._spread(key, {MAPPING: 0.0, VM: SOON})
            self.later(key, SOON)
        elif kind == "Association":
            self._spread(key, {POLICY: 0.0, VM: 0.0})
        elif kind == "TestNetwork":
            self._spread(key, {TEST: 0.0})
        elif kind == "Vault":
            self._vault_news(Key(VAULT, namespace, id_))
        else:
            self._site_news(key, kind)

    def _site_news(self, site: Key, kind: str) -> None:
        """Contact, the site as a whole, tombstones, and what only a newer version knows."""
        self.forgive(site)
        self.now(site)
        if kind == "Site":
            self._spread(site, {POLICY: SOON})
        elif kind == "Contact":
            self._spread(site, {POLICY: 0.0, MAPPING: 0.0, VM: 0.0, TEST: 0.0})
            for vault in self.catalogue.graph.targets(site):
                # Which authority a site answers with decides whether the vault may have a new one.
                self.now(vault)

    def _vm_news(self, site: SiteKey, vm_id: str, *, inventory: bool) -> None:
        key = Key(SITE, *site)
        meant = self.machines.meant(site, vm_id, self.sites.view(*site)) if vm_id else set()
        if not vm_id:
            self.now(key)
        for vm in meant:
            self.now(vm)
            for test in self.catalogue.graph.referrers(vm, TEST):
                self.now(test)
        if inventory:
            self.later(key, SOON)
            self._spread(key, {MAPPING: MAPPING_SOON})

    def _vault_news(self, vault: Key) -> None:
        self.now(vault)
        for other in self.catalogue.graph.below(vault):
            self.forgive(other)
            self.now(other)

    def _spread(self, site: Key, delays: dict[str, float]) -> None:
        """Wake what depends on a site, by kind, after so many seconds."""
        for other in self.catalogue.graph.below(site):
            delay = delays.get(other.kind)
            if delay == 0.0:
                self.forgive(other)
                self.now(other)
            elif delay is not None:
                self.later(other, delay)

    def _index(self, key: Key, change: Change) -> None:
        vm = self.catalogue.object(key)
        if change is Change.GONE:
            self.machines.drop(key)
        elif vm is not None and isinstance(vm.spec, ProtectedVMSpec):
            self.machines.put(key, vm.spec)

    def _dependants(self, key: Key) -> set[Key]:
        """What plans by this object, beside the object itself."""
        graph = self.catalogue.graph
        found = graph.below(key)
        if key.kind == MAPPING:
            for site in graph.targets(key):
                found |= {other for other in graph.below(site) if other.kind == VM}
        if key.kind == TEST:
            found |= graph.targets(key)
        return found - {key}

    def _beside(self, key: Key) -> set[Key]:
        """Others that reckon with it: rivals of its kind, and what plans for all VMs of its sites."""
        graph, found = self.catalogue.graph, set[Key]()
        if key.kind in (POLICY, MAPPING):
            found = {entry.key for entry in self.catalogue.entries(key.kind, key.namespace)}
        elif key.kind == TEST:
            found = {other for vm in graph.targets(key) for other in graph.referrers(vm, TEST)}
        elif key.kind == VM:
            found = {
                other for site in graph.above(key) if site.kind == SITE for other in graph.referrers(site, MAPPING)
            }
        return found - {key}
