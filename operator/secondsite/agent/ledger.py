"""What the core knows of VMs and site beyond the driver's facts, and merges into them before they are reported."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Mapping

import msgspec

from secondsite.agent.changes import Feed
from secondsite.wire.facts import Fact, Ledger, Owner, Relation
from secondsite.wire.feed import AnyFact
from secondsite.wire.inventory import Site
from secondsite.wire.operations import OperationRequest, Verb

# A look changes nothing, so the next command's intent stays what it was.
_LOOKS = frozenset({Verb.CHECK_TEST_VM, Verb.REFRESH_INVENTORY})
RELEASING = frozenset({Verb.DISABLE_REPLICATION, Verb.REMOVE_REPLICA})
ENABLING = frozenset({Verb.PREPARE_REPLICA, Verb.ENABLE_REPLICATION})
_SITE = ""


class Ledgers:
    """One ledger per VM, and one for the site (its served requests), in memory and in the store."""

    def __init__(self, stored: Iterable[Ledger]) -> None:
        self._of: dict[str, Ledger] = {ledger.vm_id: ledger for ledger in stored}

    def of(self, vm_id: str) -> Ledger:
        """The ledger of a VM, of the site for an empty id; a blank one where nothing was ever done."""
        return self._of.get(vm_id) or Ledger(vm_id=vm_id)

    def put(self, ledger: Ledger) -> None:
        self._of[ledger.vm_id] = ledger

    def vms(self) -> list[Ledger]:
        """Of every VM."""
        return [ledger for ledger in self._of.values() if ledger.vm_id != _SITE]


def after_success(ledger: Ledger, request: OperationRequest) -> Ledger:
    """The ledger once a command has succeeded."""
    served = dict(ledger.served_requests)
    if request.request is not None:
        served[request.request.name] = request.request.token
    epoch = max(ledger.epoch, request.epoch)
    return msgspec.structs.replace(
        ledger,
        epoch=epoch,
        released_epoch=epoch if request.verb in RELEASING else ledger.released_epoch,
        changes=ledger.changes + (request.verb not in _LOOKS),
        owner=_owner(request.arguments.get("owner")) or ledger.owner,
        served_requests=tuple(sorted(served.items())),
    )


def book(connection: sqlite3.Connection, request: OperationRequest) -> Ledger:
    """Book a command that has succeeded into the stored ledger of its VM; returns that."""
    row = connection.execute("SELECT fact FROM ledger WHERE vm_id = ?", (request.vm_id,)).fetchone()
    stored = msgspec.json.decode(row[0], type=Ledger) if row else Ledger(vm_id=request.vm_id)
    books = after_success(stored, request)
    save(connection, books)
    return books


def load(connection: sqlite3.Connection) -> list[Ledger]:
    rows = connection.execute("SELECT fact FROM ledger")
    return [msgspec.json.decode(fact, type=Ledger) for (fact,) in rows]


def save(connection: sqlite3.Connection, ledger: Ledger) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO ledger (vm_id, fact) VALUES (?, ?)", (ledger.vm_id, msgspec.json.encode(ledger))
    )


class Reporter:
    """The sink that a driver reports to: merges the ledgers into relations and site, then publishes. Thread-safe."""

    def __init__(self, feed: Feed, ledgers: Ledgers, settings_digest: str = "") -> None:
        self._feed = feed
        self._ledgers = ledgers
        self._settings_digest = settings_digest
        # Merging and publishing are one step, or an older ledger could overtake a newer one.
        self._lock = threading.RLock()

    def publish(self, id: str, fact: AnyFact) -> None:
        with self._lock:
            self._feed.publish(type(fact), id, self._merged(fact))

    def withdraw(self, kind: type[AnyFact], id: str) -> None:
        with self._lock:
            self._feed.publish(kind, id, None)

    def keep_books(self, ledger: Ledger) -> None:
        """Take over a ledger that the store has, and report it with what it belongs to."""
        with self._lock:
            self._ledgers.put(ledger)
            if ledger.vm_id == _SITE:
                self._again(Site, "site")
            else:
                self._again(Relation, ledger.vm_id)
                self._feed.publish(Ledger, ledger.vm_id, ledger)

    def settings_applied(self, digest: str) -> None:
        with self._lock:
            self._settings_digest = digest
            self._again(Site, "site")

    def _again(self, kind: type[Fact], id_: str) -> None:
        fact = self._feed.fact(kind, id_)
        if fact is not None:
            self._feed.publish(kind, id_, self._merged(fact))

    def relation(self, fact: Relation) -> Relation:
        """A driver's relation with what the ledger knows of it."""
        ledger = self._ledgers.of(fact.vm_id)
        return msgspec.structs.replace(
            fact,
            owner=ledger.owner or fact.owner,
            epoch=ledger.epoch,
            changes=ledger.changes,
            served_requests=ledger.served_requests,
        )

    def _merged(self, fact: AnyFact) -> AnyFact:
        if isinstance(fact, Relation):
            return self.relation(fact)
        if isinstance(fact, Site):
            served = self._ledgers.of(_SITE).served_requests
            return msgspec.structs.replace(fact, settings_digest=self._settings_digest, served_requests=served)
        return fact


def _owner(value: object) -> Owner | None:
    if not isinstance(value, Mapping):
        return None
    return msgspec.convert(value, Owner)
