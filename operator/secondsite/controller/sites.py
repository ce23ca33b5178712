"""The mirror of what the sites say, in memory, filled by their feeds. Reading it costs nothing."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from secondsite.controller.ports import News, Receipt, SiteKey
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
                ids = set(self.vms_by_name.pop((vm.cloud, vm.name), ()))
                ids = ids | {vm.id} if present else ids - {vm.id}
                if ids:
                    self.vms_by_name[vm.cloud, vm.name] = tuple(sorted(ids))

    def _index_operation(self, before: object, now: object) -> None:
        operation = now if isinstance(now, Operation) else before
        if not isinstance(operation, Operation):
            return
        others = [op for op in self.operations.get(operation.vm_id, ()) if op.key != operation.key]
        mine = [now] if isinstance(now, Operation) else []
        # All that the site shows: it is asked again for what it has dropped, and would be for ever for what we dropped.
        self.operations[operation.vm_id] = tuple(sorted([*others, *mine], key=lambda op: (op.start_time, op.attempt)))


def _subject(id_: str, facts: object, before: object) -> str:
    """Whom the news is about: an operation's is its VM."""
    operation = facts or before
    return operation.vm_id if isinstance(operation, Operation) else id_


class Sites:
    """All mirrors, and who wants to hear of changes."""

    def __init__(self) -> None:
        self._mirrors: dict[SiteKey, SiteMirror] = {}
        self._listeners: list[News] = []

    def mirror(self, key: SiteKey) -> SiteMirror:
        """The mirror of this site, made at first mention."""
        return self._mirrors.setdefault(key, SiteMirror(key))

    def drop(self, key: SiteKey) -> None:
        """Forget a site whose VMMSite is gone."""
        self._mirrors.pop(key, None)
        self.tell(key, "Contact", "")

    def view(self, namespace: str, name: str) -> SiteView:
        """What is known of a site now; of one never heard of, nothing."""
        mirror = self._mirrors.get((namespace, name))
        return SiteView(name=name) if mirror is None else mirror.view()

    def views(self) -> list[SiteMirror]:
        return list(self._mirrors.values())

    def subscribe(self, listener: News) -> None:
        self._listeners.append(listener)

    def tell(self, key: SiteKey, kind: str, id_: str) -> None:
        """Pass news on. Called on the loop."""
        for listener in self._listeners:
            listener(key, kind, id_)

    def take(self, key: SiteKey, page: Changes) -> None:
        """Take in a page of a feed and pass on what it changed."""
        mirror = self.mirror(key)
        was_synced = mirror.synced
        for kind, id_ in mirror.take(page):
            self.tell(key, kind, id_)
        if mirror.synced and not was_synced:
            self.tell(key, "Contact", "")

    def contact(self, key: SiteKey, now: datetime, *, failure: tuple[str, str] | None = None) -> None:
        """Note that the site answered, or with which (reason, message) it did not."""
        mirror = self.mirror(key)
        before = mirror.contact
        answer: Literal["Reachable", "Unreachable"] = "Reachable" if failure is None else "Unreachable"
        reason, message = failure or ("", "")
        since = before.since if before.answer == answer else now
        last = now if failure is None else before.last_time
        mirror.contact = Contact(answer, since, last, reason, message)
        if failure is not None:
            # Who answers next may be another process with another memory: believe it after its first page.
            mirror.synced = False
        if (before.answer, before.reason) != (answer, reason):
            self.tell(key, "Contact", "")

    def ready(self, namespace: str, name: str) -> bool:
        """Whether enough is known to report on the site: it has told everything once, or does not answer."""
        mirror = self._mirrors.get((namespace, name))
        return mirror is not None and (mirror.synced or mirror.contact.answer == "Unreachable")

    def reached(self, namespace: str, receipt: Receipt) -> bool:
        """Whether the mirror shows what the receipt stands for; an instance that has ended shows nothing more."""
        mirror = self._mirrors.get((namespace, receipt.site))
        if mirror is None or receipt.instance in mirror.ended:
            return True
        # A receipt may be of a process that the feed has not met yet.
        return mirror.instance == receipt.instance and mirror.revision >= receipt.revision

    def foreign(self, key: SiteKey, vault_id: str | None) -> None:
        """Note what a probe found while we hold no authority: the vault whose agent answers, or empty; None: none."""
        mirror = self.mirror(key)
        if mirror.foreign != vault_id:
            mirror.foreign = vault_id
            self.tell(key, "Contact", "")

    def suspend(self, key: SiteKey, *, suspended: bool) -> None:
        mirror = self.mirror(key)
        if mirror.suspended != suspended:
            mirror.suspended = suspended
            self.tell(key, "Contact", "")

    def met(self, key: SiteKey, *, info: AgentInfo, peer: Peer | None, skew: timedelta) -> None:
        """Note what the agent says of itself and whose certificate it showed."""
        mirror = self.mirror(key)
        changed = (mirror.peer, mirror.info and replaced_time(mirror.info)) != (peer, replaced_time(info))
        mirror.info, mirror.peer, mirror.skew = info, peer, skew
        if changed:
            self.tell(key, "Contact", "")

    def checked(self, key: SiteKey, checks: tuple[Check, ...]) -> None:
        mirror = self.mirror(key)
        if mirror.checks != checks:
            mirror.checks = checks
            self.tell(key, "Contact", "")

    def unsync(self, key: SiteKey) -> None:
        """The agent was replaced: nothing that it said counts until it has told everything again."""
        mirror = self.mirror(key)
        mirror.synced, mirror.cursor, mirror.checks = False, "", UNKNOWN


def replaced_time(info: AgentInfo) -> AgentInfo:
    """The same without what changes with every call."""
    return info.model_copy(update={"time": info.time.min.replace(tzinfo=UTC), "operations_begun": 0})
