"""The change feed: `GET /v1/changes?cursor=C&wait=S`, and one VM whole: `GET /v1/vms/{id}`."""

from datetime import datetime

import msgspec

from secondsite.wire.base import camel
from secondsite.wire.facts import Counters, Fact, Ledger, Operation, Point, Relation
from secondsite.wire.inventory import VM, Association, Network, Pool, Site, TestNetwork, Tombstone


class Item(msgspec.Struct, frozen=True, gc=False, rename=camel, tag_field="type"):
    id: str
    revision: int


class RelationEntry(Item, frozen=True, tag="Relation"):
    """Facts, or None where the relation is gone."""

    facts: Relation | None = None


class OperationEntry(Item, frozen=True, tag="Operation"):
    facts: Operation | None = None


class LedgerEntry(Item, frozen=True, tag="Ledger"):
    facts: Ledger | None = None


class VMEntry(Item, frozen=True, tag="VM"):
    facts: VM | None = None


class NetworkEntry(Item, frozen=True, tag="Network"):
    facts: Network | None = None


class PoolEntry(Item, frozen=True, tag="Pool"):
    facts: Pool | None = None


class AssociationEntry(Item, frozen=True, tag="Association"):
    facts: Association | None = None


class TestNetworkEntry(Item, frozen=True, tag="TestNetwork"):
    facts: TestNetwork | None = None


class TombstoneEntry(Item, frozen=True, tag="Tombstone"):
    facts: Tombstone | None = None


class SiteEntry(Item, frozen=True, tag="Site"):
    facts: Site | None = None


Entry = (
    RelationEntry
    | OperationEntry
    | LedgerEntry
    | VMEntry
    | NetworkEntry
    | PoolEntry
    | AssociationEntry
    | TestNetworkEntry
    | TombstoneEntry
    | SiteEntry
)
AnyFact = Relation | Operation | Ledger | VM | Network | Pool | Association | TestNetwork | Tombstone | Site


class Changes(msgspec.Struct, frozen=True, gc=False, rename=camel):
    """One page of `GET /v1/changes`.

    `whole` marks the pages of a whole answer: what none of them named is gone once `more` is False. `begins` marks the
    first of them; a whole answer may begin again before the last one ended, and then what that named counts no more.
    The next call passes `cursor` on, whatever else the page says; it reads `instance.revision`, with more behind it
    while a whole answer is under way. A page with `settling` is no answer: it holds nothing but the Site, and the
    empty cursor, which asks for everything.
    """

    instance: str
    cursor: str
    whole: bool
    more: bool
    time: datetime
    begins: bool = False
    settling: bool = False
    entries: tuple[Entry, ...] = ()


class VMDetail(msgspec.Struct, frozen=True, gc=False, rename=camel):
    """`GET /v1/vms/{id}`: one VM whole.

    `replica_free_bytes`: what the storage under its replica really has left, absent where there is no replica. It
    changes with every write to that storage, so it is told when asked for and is no news in the feed.
    """

    vm: VM | None = None
    relation: Relation | None = None
    points: tuple[Point, ...] = ()
    operations: tuple[Operation, ...] = ()
    replica_free_bytes: int | None = None
    counters: Counters | None = None


PAGE_SIZE = 500
"""Most entries on one page of the feed."""

ENTRY_TYPES: dict[type[Fact], type[Item]] = {
    Relation: RelationEntry,
    Operation: OperationEntry,
    Ledger: LedgerEntry,
    VM: VMEntry,
    Network: NetworkEntry,
    Pool: PoolEntry,
    Association: AssociationEntry,
    TestNetwork: TestNetworkEntry,
    Tombstone: TombstoneEntry,
    Site: SiteEntry,
}
