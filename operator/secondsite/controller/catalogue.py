"""What the cluster wants: every object of ours, parsed once and kept small, and what its status last said."""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from secondsite.api.kind import Kind, Object, parse
from secondsite.controller import references
from secondsite.controller.conditions import Fingerprint, fingerprint
from secondsite.controller.ports import Key
from secondsite.controller.references import Graph
from secondsite.controller.verdict import Verdict, of_status

Body = Mapping[str, Any]

# What reporting may carry on from a status that an earlier process wrote; planning never reads it.
# There are few tests and very many VMs.
_REMEMBERED: Mapping[str, Callable[[str], bool]] = {
    references.VM: frozenset(
        {
            "state",
            "vmID",
            "vmName",
            "activeSite",
            "replicaSite",
            "rpoTargetSeconds",
            "policyGeneration",
            "epoch",
            "primary",
            "replica",
            "lastRecoveryPoint",
            "recoveryPoints",
            "rpoBudget",
            "requests",
            "lastTestFailover",
            "deletion",
        }
    ).__contains__,
    references.TEST: lambda _field: True,
}


class Change(enum.Enum):
    """What became of an object, as far as it matters to anybody."""

    WISH = "Wish"
    """It is new or another one, or its spec, deletion or finalizers changed."""
    STATUS = "Status"
    """Its status is not the one that we wrote."""
    GONE = "Gone"


@dataclass(slots=True)
class Entry:
    """One object. `object` is None where the spec cannot be read; `fault` says why then."""

    key: Key
    uid: str
    version: str
    generation: int
    wish: tuple[object, ...] = ()
    """What tells one wish from the next: uid, generation, whether it is being deleted, finalizers."""
    object: Object[Any] | None = None
    fault: str = ""
    status: Fingerprint = field(default_factory=dict)
    """Of the status as the cluster holds it."""
    written: Fingerprint | None = None
    """Of the status as the cluster took our last write; None: this process has not written yet."""
    sent: Fingerprint | None = None
    """Of what we sent then, which the cluster may have pruned."""
    writing: bool = False
    """Our write is under way: a strange status may be our own, seen before the answer."""
    conditions: tuple[Body, ...] = ()
    """As we wrote them last, else as we found them."""
    memory: Mapping[str, Any] = field(default_factory=dict)
    """Small parts of the last status, for reporting."""
    verdict: Verdict = field(default_factory=lambda: Verdict({}))
    """What was last reported; before the first report of this process, what the status says."""
    verified: bool = False
    """It had a turn since this process commands."""


class Catalogue:
    """All objects of our kinds. `changed` hears of every change, on the loop."""

    def __init__(self, changed: Callable[[Key, Change], None] = lambda _key, _change: None) -> None:
        self.graph = Graph()
        self._changed = changed
        self._entries: dict[tuple[str, str], dict[str, Entry]] = defaultdict(dict)
        self._buried: dict[str, set[str]] = {}
        """By kind, while its list runs: uids that were deleted meanwhile, which a page read earlier may still name."""

    def get(self, key: Key) -> Entry | None:
        return self._entries.get((key.kind, key.namespace), {}).get(key.name)

    def object(self, key: Key) -> Object[Any] | None:
        """The parsed object; None where there is none, or none that can be read."""
        entry = self.get(key)
        return entry.object if entry else None

    def entries(self, kind: str = "", namespace: str | None = None) -> Iterator[Entry]:
        """All objects, of one kind or of one namespace if asked."""
        for (of_kind, of_namespace), named in list(self._entries.items()):
            if kind in ("", of_kind) and namespace in (None, of_namespace):
                yield from list(named.values())

    def take(self, kind: Kind[Any, Any], body: Body) -> None:
        """Take in an object as the API server showed it; an older version than the one known is ignored."""
        metadata = body["metadata"]
        key = Key(kind.name, metadata["namespace"], metadata["name"])
        before = self.get(key)
        if metadata["uid"] in self._buried.get(kind.name, ()) or (before and _older(metadata, before)):
            return
        if before is None or _wish(metadata) != before.wish:
            self._learn(kind, key, body, before)
            self._changed(key, Change.WISH)
        else:
            before.version = metadata["resourceVersion"]
            self._notice_status(before, body)

    def remove(self, key: Key, uid: str = "") -> None:
        """Forget an object; with a uid only that one."""
        entry = self.get(key)
        if entry is None or (uid and entry.uid != uid):
            return
        del self._entries[key.kind, key.namespace][key.name]
        if key.kind in self._buried:
            self._buried[key.kind].add(entry.uid)
        self._changed(key, Change.GONE)
        self.graph.drop(key)

    def begin_list(self, kind: str) -> Mapping[Key, str]:
        """Before the first page of a list of all objects of a kind: what to hand to `end_list`."""
        self._buried[kind] = set()
        return {entry.key: entry.uid for entry in self.entries(kind)}

    def end_list(self, kind: str, known: Mapping[Key, str], listed: set[str]) -> None:
        """After the last page: what was known before it began, and whose uid was not listed, is gone."""
        for key, uid in known.items():
            if uid not in listed:
                self.remove(key, uid)
        self._buried.pop(kind, None)

    def wrote(self, kind: Kind[Any, Any], entry: Entry, body: Body, sent: Fingerprint | None) -> None:
        """Note the API server's answer to our status write; it may show a newer wish as well."""
        status = body.get("status") or {}
        entry.written, entry.sent = fingerprint(status), sent
        entry.conditions = tuple(status.get("conditions") or ())
        entry.memory = remember(kind.name, status)
        if not _older(body["metadata"], entry):
            self.take(kind, body)
        elif entry.status != entry.written:
            self._changed(entry.key, Change.STATUS)

    def _learn(self, kind: Kind[Any, Any], key: Key, body: Body, before: Entry | None) -> None:
        metadata, status = body["metadata"], body.get("status") or {}
        same = before is not None and before.uid == metadata["uid"]
        entry = before if same and before else Entry(key, metadata["uid"], "", 0)
        entry.version, entry.generation = metadata["resourceVersion"], metadata.get("generation", 0)
        entry.wish = _wish(metadata)
        try:
            entry.object, entry.fault = parse(kind, body), ""
        except (ValueError, KeyError, TypeError) as error:
            entry.object, entry.fault = None, _explain(error)
        if not same:
            entry.conditions = tuple(status.get("conditions") or ())
            entry.memory = remember(kind.name, status)
            entry.verdict = of_status(entry.conditions, status)
        entry.status = fingerprint(status)
        self._entries[kind.name, key.namespace][key.name] = entry
        targets = references.references(key.namespace, entry.object.spec) if entry.object else frozenset()
        if targets or not entry.fault:
            # An unreadable spec keeps its former references: they still hold what it uses.
            self.graph.put(key, targets)

    def _notice_status(self, entry: Entry, body: Body) -> None:
        entry.status = fingerprint(body.get("status") or {})
        if entry.written not in (None, entry.status) and not entry.writing:
            self._changed(entry.key, Change.STATUS)


def remember(kind: str, status: Body) -> Mapping[str, Any]:
    """The parts of a status that are kept for reporting."""
    kept = _REMEMBERED.get(kind)
    return {name: value for name, value in status.items() if kept(name)} if kept else {}


def _wish(metadata: Body) -> tuple[object, ...]:
    return (
        metadata["uid"],
        metadata.get("generation", 0),
        metadata.get("deletionTimestamp") is not None,
        tuple(metadata.get("finalizers") or ()),
    )


def _older(metadata: Body, entry: Entry) -> bool:
    version, known = str(metadata["resourceVersion"]), entry.version
    return metadata["uid"] == entry.uid and version != known and _newer(version, known) == known


def _newer(one: str, other: str) -> str:
    # Versions are opaque to clients of old servers, so what is no number decides nothing.
    if one.isdigit() and other.isdigit():
        return max(one, other, key=int)
    return one


def _explain(error: Exception) -> str:
    if isinstance(error, ValidationError):
        found = error.errors(include_url=False, include_context=False)[:5]
        return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in found)
    return f"{type(error).__name__}: {error}"
