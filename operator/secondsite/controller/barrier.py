"""The start barrier: nothing is decided before it is known, and nothing is said anew before the sites were heard."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from secondsite.controller.catalogue import Catalogue
from secondsite.controller.ports import Key, SitesPort
from secondsite.controller.references import SITE, VAULT
from secondsite.plan.actions import Action, AddFinalizer, DeleteSelf, RemoveFinalizer, WriteEvidence

PATIENCE = 8.0
"""Seconds for which the turns of an object wait at the start for the first word of its sites, or of their silence."""

# These concern the cluster alone.
_CLUSTER_ACTIONS = (AddFinalizer, RemoveFinalizer, DeleteSelf, WriteEvidence)


@dataclass(slots=True)
class Barrier:
    """Closed until `open`: that is when the Lease was taken for the first time, all kinds listed before."""

    catalogue: Catalogue
    sites: SitesPort
    steady: Callable[[], float] = time.monotonic
    _opened: float | None = None
    _passed: bool = False

    @property
    def opened(self) -> bool:
        return self._opened is not None

    def open(self) -> None:
        """Turns may begin."""
        self._opened = self.steady()

    def held_back(self, key: Key) -> bool:
        """Whether this key's turn waits yet: reporting without its sites would only say Unknown and take it back."""
        if self._opened is None:
            return True
        return self.steady() < self._opened + PATIENCE and not self._heard(key)

    def may_act(self, key: Key, action: Action) -> bool:
        """Whether enough is known to act for this key: at no site before its first whole answer, or its silence."""
        return key.kind in (VAULT, SITE) or isinstance(action, _CLUSTER_ACTIONS) or self._heard(key)

    def unverified(self) -> int:
        """Objects that had no turn since the barrier opened."""
        return sum(not entry.verified for entry in self.catalogue.entries())

    def passed(self) -> bool:
        """Whether every object had its turn; stays true, since new objects are no reason to be unready."""
        self._passed = self._passed or (self.opened and self.unverified() == 0)
        return self._passed

    def _heard(self, key: Key) -> bool:
        around = self.catalogue.graph.above(key) | {key}
        return all(self._has_spoken(site) for site in around if site.kind == SITE)

    def _has_spoken(self, site: Key) -> bool:
        entry = self.catalogue.get(site)
        if entry is None or self.sites.ready(site.namespace, site.name):
            return True
        # One that was never registered has nothing to say: that it was dialled is all that can be awaited.
        known = entry.verdict.conditions.get("Registered") == "True"
        return not known and self.sites.view(site.namespace, site.name).contact.answer != "Unknown"
