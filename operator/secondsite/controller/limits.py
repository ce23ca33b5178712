"""Lets a limited command pass when the vault's limit has room for it, by what runs according to the mirrors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from secondsite.api.kind import Object
from secondsite.api.recoveryvault import Limits
from secondsite.controller.catalogue import Catalogue
from secondsite.controller.ports import Key, SiteKey, SitesPort
from secondsite.controller.references import SITE, VAULT
from secondsite.controller.slots import Line, Slots
from secondsite.errors import NotYet
from secondsite.plan.actions import Action, Limit, Slot
from secondsite.plan.observed import SiteView
from secondsite.wire.facts import Relation
from secondsite.wire.operations import Verb

_VERBS = {
    Limit.INITIAL_REPLICATIONS: frozenset({Verb.START_INITIAL_REPLICATION}),
    Limit.SETTINGS_UPDATES: frozenset({Verb.UPDATE_SETTINGS, Verb.CONFIGURE_REPLICA}),
    Limit.TEST_FAILOVERS: frozenset({Verb.START_TEST_FAILOVER}),
}
_AGAIN_SECONDS = 30.0


class Queued(NotYet):
    """It waits in line for a place; who leaves one wakes it."""


@dataclass(slots=True)
class Limiter:
    """The slots, and how many are taken."""

    sites: SitesPort
    slots: Slots = field(init=False)
    _asked: dict[Key, set[tuple[Line, str]]] = field(default_factory=dict)
    _running: dict[Line, frozenset[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.slots = Slots(self._count)

    def begin(self, key: Key) -> None:
        """A turn begins to act."""
        self._asked[key] = set()

    def end(self, key: Key) -> None:
        """It has ended: what it did not ask for again, it does not wait for any more."""
        self.slots.withdraw(key, frozenset(self._asked.pop(key, ())))

    def forget(self, key: Key) -> None:
        self.slots.forget(key)

    def admit(self, key: Key, action: Action, obj: Object[Any], catalogue: Catalogue) -> Callable[[], None]:
        """Let the action pass, and return what to call when its effect is seen. Raises Queued."""
        slot: Slot | None = getattr(action, "slot", None)
        if slot is None:
            return lambda: None
        vm_id = str(getattr(action, "vm_id", ""))
        line = Line.of(key.namespace, slot)
        self._asked.setdefault(key, set()).add((line, vm_id))
        place = self.slots.ask(
            line,
            key,
            vm_id,
            priority=slot.priority,
            created=obj.creation_timestamp,
            uid=obj.uid,
            capacity=_capacity(catalogue, key.namespace, slot),
        )
        if place is not None:
            what = f"Place {place.number} of {place.of} for {slot.limit} between {line.pair[0]} and {line.pair[1]}"
            raise Queued(what, delay=_AGAIN_SECONDS)
        return lambda: self.slots.seen(line, key, vm_id)

    def news(self, site: SiteKey) -> None:
        """Relations or operations of this site changed: count anew."""
        self._running = {
            line: running
            for line, running in self._running.items()
            if line.namespace != site[0] or site[1] not in line.pair
        }

    def _count(self, line: Line) -> frozenset[str]:
        running = self._running.get(line)
        if running is None:
            views = [self.sites.view(line.namespace, name) for name in line.pair]
            running = frozenset().union(*(_busy(view, line) for view in views))
            self._running[line] = running
        return running


def _busy(view: SiteView, line: Line) -> set[str]:
    """VMs of this pair that take a place, as one of its sites says. What was last heard counts while it is silent."""
    ours = {vm_id for vm_id, relation in view.relations.items() if relation.peer_site in line.pair}
    working = {
        vm_id
        for vm_id, operations in view.operations.items()
        if vm_id in ours and any(op.state == "Running" and op.verb in _VERBS[line.limit] for op in operations)
    }
    return working | {vm_id for vm_id in ours if _takes_place(view.relations[vm_id], line.limit)}


def _takes_place(relation: Relation, limit: Limit) -> bool:
    if limit is Limit.INITIAL_REPLICATIONS:
        return relation.state == "InitialReplicationInProgress" and relation.mode == "Primary"
    return limit is Limit.TEST_FAILOVERS and relation.test_vm is not None


def _capacity(catalogue: Catalogue, namespace: str, slot: Slot) -> int:
    site = catalogue.object(Key(SITE, namespace, slot.pair[0]))
    vault = catalogue.object(Key(VAULT, namespace, site.spec.vault_ref.name)) if site else None
    limits: Limits = vault.spec.limits if vault else Limits()
    return {
        Limit.INITIAL_REPLICATIONS: limits.initial_replications,
        Limit.SETTINGS_UPDATES: limits.settings_updates,
        Limit.TEST_FAILOVERS: limits.test_failovers,
    }[slot.limit]
