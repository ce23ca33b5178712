"""The mirror of one site: what its feed has said, in dictionaries that views are made of."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from secondsite.controller.ports import SiteKey
from secondsite.plan.observed import UNKNOWN, Contact, SiteView, Unknown
from secondsite.trust.certificates import Peer
from secondsite.wire.agent import AgentInfo, Check
from secondsite.wire.facts import Ledger, Operation, Relation
from secondsite.wire.feed import Changes, Item
from secondsite.wire.inventory import VM, Association, Network, Pool, Site, TestNetwork, Tombstone

_ENDED_INSTANCES = 8
"""How many former processes of an agent are remembered: no command waits longer than a few restarts."""


@dataclass
class SiteMirror:
    """One site. The dictionaries are handed out in views, so they are changed in place and never replaced mid-turn."""

    key: SiteKey
    contact: Contact = field(default_factory=Contact)
    info: AgentInfo | None = None
    peer: Peer | None = None
    """Whose certificate was shown at the last connection."""
    checks: tuple[Check, ...] | Unknown = UNKNOWN
    skew: timedelta = timedelta(0)
    foreign: str | None = None
    """Vault whose agent answered a probe, empty for none; None: not probed."""
    synced: bool = False
    suspended: bool = False
    instance: str = ""
    cursor: str = ""
    ended: deque[str] = field(default_factory=lambda: deque(maxlen=_ENDED_INSTANCES))
    """Instances that were followed by another."""
    site: Site | None = None
    relations: dict[str, Relation] = field(default_factory=dict)
    vms: dict[str, VM] = field(default_factory=dict)
    vms_by_name: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    holders: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    """(network, address) → ids of the production VMs that have it."""
    operations: dict[str, tuple[Operation, ...]] = field(default_factory=dict)
    networks: dict[str, Network] = field(default_factory=dict)
    pools: dict[str, Pool] = field(default_factory=dict)
    ledgers: dict[str, Ledger] = field(default_factory=dict)
    associations: dict[str, Association] = field(default_factory=dict)
    test_networks: dict[str, TestNetwork] = field(default_factory=dict)
    tombstones: dict[str, Tombstone] = field(default_factory=dict)
    _operations: dict[str, Operation] = field(default_factory=dict)
    _named: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """While a whole answer comes in: the ids that it named, by type."""

    def view(self) -> SiteView:
        return SiteView(
            name=self.key[1],
            contact=self.contact,
            synced=self.synced,
            suspended=self.suspended,
            info=self.info,
            skew=self.skew,
            site=self.site,
            relations=self.relations,
            vms=self.vms,
            vms_by_name=self.vms_by_name,
            holders=self.holders,
            operations=self.operations,
            networks=self.networks,
            pools=self.pools,
            ledgers=self.ledgers,
            associations=self.associations,
            test_networks=self.test_networks,
            tombstones=self.tombstones,
        )

    @property
    def revision(self) -> int:
        """Position in the feed of `instance` up to which everything stands here."""
        # `instance.revision`, and more behind it while a whole answer is under way.
        _, *numbers = self.cursor.split(".")
        return int(numbers[0]) if numbers and numbers[0].isdigit() else 0

    def take(self, page: Changes) -> list[tuple[str, str]]:
        """Take in one page; returns (type, id) of what changed."""
        if page.instance != self.instance:
            # Another agent process: what its forerunner said counts for nothing until it has told everything itself.
            self.ended.append(self.instance)
            self.synced = False
        if page.instance != self.instance or page.begins:
            # Names of a whole answer that was cut off would keep alive what went meanwhile.
            self._named = defaultdict(set)
        changed = [news for entry in page.entries if (news := self._take_entry(entry, whole=page.whole))]
        if page.whole and not page.more:
            changed += self._forget_unnamed()
        self.instance, self.cursor = page.instance, page.cursor
        if not page.more and not page.settling:
            self.synced = True
        return changed

    def _take_entry(self, entry: Item, *, whole: bool) -> tuple[str, str] | None:
        kind = type(entry).__name__.removesuffix("Entry")
        if whole:
            self._named[kind].add(entry.id)
        facts = getattr(entry, "facts", None)
        before = self._get(kind, entry.id)
        if facts == before:
            return None
        self._set(kind, entry.id, facts)
        return kind, _subject(entry.id, facts, before)

    def _forget_unnamed(self) -> list[tuple[str, str]]:
        named, self._named = self._named, defaultdict(set)
        gone = [(kind, id_) for kind, ids in self._ids().items() for id_ in ids - named[kind]]
        for kind, id_ in gone:
            self._set(kind, id_, None)
        return gone

    def _tables(self) -> dict[str, dict[str, Any]]:
        return {
            "Relation": self.relations,
            "VM": self.vms,
            "Network": self.networks,
            "Pool": self.pools,
            "Ledger": self.ledgers,
            "Association": self.associations,
            "TestNetwork": self.test_networks,
            "Tombstone": self.tombstones,
            "Operation": self._operations,
        }

    def _ids(self) -> dict[str, set[str]]:
        return {kind: set(table) for kind, table in self._tables().items()}

    def _get(self, kind: str, id_: str) -> object:
        return self.site if kind == "Site" else self._tables()[kind].get(id_)

    def _set(self, kind: str, id_: str, facts: object) -> None:
        if kind == "Site":
            self.site = facts if isinstance(facts, Site) else None
            return
        table = self._tables()[kind]
        before = table.pop(id_, None)
        if facts is not None:
            table[id_] = facts
        if kind == "VM":
            self._index_vm(before, facts)
        if kind == "Operation":
            self._index_operation(before, facts)

    def _index_vm(self, before: object, now: object) -> None:
        for vm, present in ((before, False), (now, True)):
            if isinstance(vm, VM) and vm.role == "Production":
                _mark(self.vms_by_name, (vm.cloud, vm.name), vm.id, present=present)
                for place in {(adapter.network, address) for adapter in vm.adapters for address in adapter.addresses}:
                    _mark(self.holders, place, vm.id, present=present)

    def _index_operation(self, before: object, now: object) -> None:
        operation = now if isinstance(now, Operation) else before
        if not isinstance(operation, Operation):
            return
        others = [op for op in self.operations.get(operation.vm_id, ()) if op.key != operation.key]
        mine = [now] if isinstance(now, Operation) else []
        # All that the site shows: it is asked again for what it has dropped, and would be for ever for what we dropped.
        self.operations[operation.vm_id] = tuple(sorted([*others, *mine], key=lambda op: (op.start_time, op.attempt)))


def _mark(index: dict[tuple[str, str], tuple[str, ...]], key: tuple[str, str], id_: str, *, present: bool) -> None:
    ids = set(index.pop(key, ()))
    ids = ids | {id_} if present else ids - {id_}
    if ids:
        index[key] = tuple(sorted(ids))


def _subject(id_: str, facts: object, before: object) -> str:
    """Whom the news is about: an operation's is its VM."""
    operation = facts or before
    return operation.vm_id if isinstance(operation, Operation) else id_
