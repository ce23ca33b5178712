"""What a lab site remembers: documents by kind and id in SQLite, durable before a call returns."""

from __future__ import annotations

import sqlite3
import threading
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from secondsite.agent.lab.commits import Commits
from secondsite.agent.lab.counters import Window
from secondsite.agent.lab.events import Event
from secondsite.agent.lab.table import Look
from secondsite.wire.facts import AdapterSetting, DiskSlot, Point, Replication, State, TestVM
from secondsite.wire.inventory import Adapter

T = TypeVar("T", bound="Document")


class Document(msgspec.Struct, frozen=True):
    """Anything that is remembered."""


class Half(Document, frozen=True):
    """One half of a relation. What only one side has stays at its default at the other."""

    vm_id: str
    vm_name: str
    side: Literal["Primary", "Replica"]
    state: State
    peer_site: str
    association: str
    settings: Replication
    disks: tuple[DiskSlot, ...]
    window: Window
    enabled_time: datetime | None = None
    failures: int = 0
    """Attempts that failed in a row."""
    failure: str = ""
    retry_time: datetime | None = None
    last_cycle_start: datetime | None = None
    last_replication_time: datetime | None = None
    last_cycle_seconds: float | None = None
    last_cycle_bytes: int = 0
    cycles: int = 0
    # The primary's side: freezes of the newest application-consistent point, and of the last attempt at one.
    app_consistent_time: datetime | None = None
    quiesce_time: datetime | None = None
    quiesce_failure: str = ""
    """Why the last attempt came to nothing; empty after a success."""
    initial_done: bool = False
    initial_total_bytes: int | None = None
    # The primary's side: an initial replication or a resynchronization that waits for its time.
    initial_start_time: datetime | None = None
    resynchronize_start_time: datetime | None = None
    resynchronize_percent: int | None = None
    resynchronize_after: datetime | None = None
    """A person stopped a resynchronization: the next does not begin by itself before this."""
    peer_resynchronizes: bool = False
    """The peer was told that we resynchronize, and not yet that it is over."""
    media: str = ""
    """Folder of an initial replication by media; empty: over the network."""
    generation: int = 1
    """Of the engine: raised with every primary term."""
    # The primary's side: where the peer takes data.
    peer_address: str = ""
    peer_port: int = 0
    # The replica's side.
    resynchronized_point: str = ""
    """The point that a resynchronization ended with: those before it go, except while a clone stands on them."""
    adapters: tuple[AdapterSetting, ...] = ()
    test_vm: TestVM | None = None
    test_adapters: tuple[Adapter, ...] = ()
    """How the test VM is connected."""
    clone_id: str = ""
    last_test_time: datetime | None = None
    """When the last test failover began (LastTestFailoverInitiatedTime)."""
    failover_point: Point | None = None
    """What the VM was failed over to."""
    failover_clone: str = ""
    planned: bool = False
    """The failover is, or was, a planned one: the primary's side sent its last changes before."""
    rpo: tuple[tuple[str, float], ...] = ()
    """The replica's side: seconds outside the RPO target by UTC day, up to `rpo_time`."""
    rpo_time: datetime | None = None
    rpo_source_time: datetime | None = None
    """Of the newest point since `rpo_time`; None before the first."""

    @property
    def look(self) -> Look:
        """What the transition table's guards are judged by."""
        return Look(
            initial_done=self.initial_done,
            test_vm=self.test_vm is not None,
            peer_prepared=self.planned,
            scheduled=self.initial_start_time is not None or self.resynchronize_start_time is not None,
        )


class Replica(Document, frozen=True):
    """Place for a replica: prepared, used, or kept after its relation ended. `disks` empty: only prepared."""

    vm_id: str
    vm_name: str
    association: str
    peer_site: str
    cloud: str
    host: str
    storage: str
    generation: int = 2
    operating_system: str = ""
    disks: tuple[tuple[DiskSlot, int], ...] = ()
    """Slot and virtual size in bytes."""
    adapters: tuple[Adapter, ...] = ()
    machine: str = ""
    """The VM's configuration as the side that ran it has it: a `datacentre.Machine` as JSON."""
    home: bool = False
    """The VM ran here before: what `machine` says of networks is this site's."""


class Placement(Document, frozen=True):
    """What of a VM is otherwise than the data-centre file has it."""

    vm_id: str
    state: Literal["Running", "Off"] | None = None
    """Its power; None: as in the file. Of the replica VM, where it is one here."""
    machine: str = ""
    """A `datacentre.Machine` as JSON, where a change of roles brought the VM here."""
    away: bool = False
    """A change of roles made it a replica here: the other site runs it."""


class Changeover(Document, frozen=True):
    """A change of roles under way: noted before its first step, forgotten after its last."""

    vm_id: str
    becomes: Literal["Primary", "Replica", "Alone"]
    """Alone: the VM goes on here without replication."""
    event: Event
    generation: int
    machine: str = ""
    """Of a VM that is to run here, see `Placement`; empty: as in the file."""
    replica: Replica | None = None
    """Of a VM that is to be a replica here."""
    association: str = ""
    peer_site: str = ""
    peer_address: str = ""
    peer_port: int = 0
    settings: Replication | None = None
    initial_done: bool = False
    """The other side has all but what is written from here on: no initial replication."""


class Association(Document, frozen=True):
    """One prepared side of a pair of clouds; `digest` is of the body that was last put."""

    id: str
    role: Literal["Source", "Target"]
    cloud: str
    peer_site: str
    peer_cloud: str
    authentication: Literal["Certificate", "Kerberos"]
    port: int
    digest: str
    storage: tuple[tuple[str, str], ...]
    data_host: str
    data_address: str
    data_port: int


class Reservation(Document, frozen=True):
    """Addresses that one adapter holds."""

    vm_id: str
    adapter: str
    network: str
    addresses: tuple[str, ...]


class TestNetwork(Document, frozen=True):
    """An isolated network; the id is the test's identity."""

    id: str
    name: str


class Tombstone(Document, frozen=True):
    """What a deletion still owes here."""

    id: str
    vault: str
    vm_id: str
    epoch: int
    steps: tuple[str, ...]


class ActiveFault(Document, frozen=True):
    """A fault that is switched on. `until` None: until it is cleared. `vm_id` empty: the whole site."""

    id: str
    fault: str
    vm_id: str = ""
    value: float | None = None
    until: datetime | None = None


class SiteSettings(Document, frozen=True):
    """What the site itself was told."""

    clouds: tuple[str, ...] = ()
    bandwidth: int | None = None


class Documents:
    """The store. One connection, any thread; every change is on the disk when the call returns.

    What was asked for once is kept in memory: documents are small, never changed, and read at every cycle.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._known: dict[type[Document], dict[str, Any]] = {}
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS document (kind TEXT, id TEXT, body BLOB, PRIMARY KEY (kind, id))"
        )
        self._commits = Commits(self._connection, self._lock)

    def put(self, id_: str, document: Document) -> None:
        """Replace the document of that kind and id."""
        body, kind = msgspec.json.encode(document), type(document)

        def note() -> None:
            if kind in self._known:
                self._known[kind][id_] = document

        self._commits.run(note, "INSERT OR REPLACE INTO document VALUES (?, ?, ?)", kind.__name__, id_, body)

    def get(self, kind: type[T], id_: str) -> T | None:
        """The document, or None."""
        with self._lock:
            return self._all(kind).get(id_)

    def all(self, kind: type[T]) -> dict[str, T]:
        """Every document of a kind, by id."""
        with self._lock:
            return dict(sorted(self._all(kind).items()))

    def remove(self, kind: type[Document], id_: str) -> None:
        """Forget it; an unknown id is no error."""
        self._commits.run(
            lambda: self._known.get(kind, {}).pop(id_, None),
            "DELETE FROM document WHERE kind = ? AND id = ?",
            kind.__name__,
            id_,
        )

    def close(self) -> None:
        """Nothing may be called after it."""
        with self._lock:
            self._connection.close()

    def _all(self, kind: type[T]) -> dict[str, T]:
        """Lock held."""
        if kind not in self._known:
            rows = self._connection.execute("SELECT id, body FROM document WHERE kind = ?", (kind.__name__,))
            self._known[kind] = {str(id_): msgspec.json.decode(body, type=kind) for id_, body in rows}
        return self._known[kind]
