"""What stands behind the contract: the protocol that the lab and the real Hyper-V driver both fulfil.

The agent's core owns what every driver needs alike: operations, the feed, fences, identity, and per relation the
ledger (owner, epoch, number of changes, served requests). A driver owns what the hypervisor owns: relations,
inventory, addresses. It reports by publishing whole facts into the feed and is told one verb at a time per VM.
"""

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from secondsite.wire.agent import Capability, Check, Settings
from secondsite.wire.base import Message
from secondsite.wire.facts import Point, Relation, State
from secondsite.wire.feed import AnyFact, VMDetail
from secondsite.wire.operations import Verb
from secondsite.wire.resources import (
    AssociationAnswer,
    AssociationWish,
    ReservationWish,
    TestNetworkWish,
    TombstoneWish,
)


class Sink(Protocol):
    """Where a driver reports. Both calls are thread-safe, cheap, and keep only the newest fact of an id."""

    def publish(self, id: str, fact: AnyFact) -> None:
        """State that this is so now. An equal fact is no change and gets no revision."""

    def withdraw(self, kind: type[AnyFact], id: str) -> None:
        """State that it is gone."""


@dataclass(frozen=True)
class Command:
    """One operation as a driver sees it: already stored, fenced, checked against the expected states."""

    key: str
    verb: Verb
    vm_id: str
    arguments: Message
    epoch: int
    deadline: datetime
    resumed: bool = False
    """True where the agent died meanwhile: it may be half done, wholly done, or not begun."""
    report: Callable[[int | None, str], None] = field(default=lambda _percent, _message: None)
    """Tells progress: percent or None, and a sentence."""


class DataTLS(Protocol):
    """TLS of the data port. What it hands out stays good: new connections use the newest certificate and trust."""

    def listener(self) -> ssl.SSLContext:
        """For taking data: admits the agents of this vault and nobody else (`trust.handshake.peer_of` says which)."""

    def dialler(self, site: str) -> ssl.SSLContext:
        """For sending data to `site`: any other peer ends the handshake."""


@dataclass(frozen=True)
class SiteContext:
    """What the core lends a driver."""

    site: str
    data: Path
    """Folder of its own."""
    sink: Sink
    tls: DataTLS
    address: str = "127.0.0.1"
    """Host or address on which the agent itself listens."""


class Driver(Protocol):
    """A site's hypervisor. Every method may raise `wire.problems.Refusal`; nothing else is expected of it.

    Changes of resources come one after the other for each kind of resource. One that takes long is cancelled, and like
    `perform` returns or raises only when nothing of it goes on.
    """

    name: str
    version: str
    capabilities: frozenset[Capability]
    hurry: float

    async def start(self, context: SiteContext) -> None:
        """Open its state, publish every fact once, and go on with what it was doing."""

    async def stop(self) -> None:
        """End cleanly: nothing acknowledged is lost."""

    def now(self) -> datetime:
        """The site's own clock (UTC, aware), by which its facts are dated: the operator derives the skew from it."""

    def settled(self) -> bool:
        """False while relations cannot be read yet (the VMMS restarts): the agent then gives no whole answer."""

    def state(self, vm_id: str) -> State:
        """State of this site's half; `Disabled` where there is none. Read right before a command begins."""

    def relation(self, vm_id: str) -> Relation | None:
        """Half of the relation that this site holds, as it stands now."""

    async def perform(self, command: Command) -> dict[str, str]:
        """Carry a verb out and return its result. Safe to repeat: a resumed command finds out what is left to do.

        Cancelled when the operation is abandoned; it returns or raises only when nothing of it goes on, however long
        that takes, for its VM is free from then on. Long work that the hypervisor goes on with by itself (initial
        replication) is only started here; its progress is in the facts.
        """

    async def checks(self) -> list[Check]:
        """Preflight: what this site needs, with a remedy for what fails."""

    async def apply(self, settings: Settings) -> None:
        """Take over the site's own settings."""

    async def detail(self, vm_id: str) -> VMDetail:
        """One VM whole (without its operations, which the core adds)."""

    async def points(self, vm_id: str) -> list[Point]:
        """Every recovery point that this site holds, oldest first."""

    async def associate(self, id: str, wish: AssociationWish) -> AssociationAnswer:
        """Prepare one side of a pair of clouds. The core fills in revision and instance."""

    async def dissociate(self, id: str) -> None:
        """Undo it; an unknown id is no error."""

    async def reserve(self, vm_id: str, adapter: str, wish: ReservationWish) -> list[str]:
        """Addresses for one adapter, the same ones every time."""

    async def release(self, vm_id: str, adapter: str) -> None:
        """Give them back; nothing reserved is no error."""

    async def make_test_network(self, id: str, wish: TestNetworkWish) -> None:
        """Make an isolated network for a test; the same id is the same network."""

    async def remove_test_network(self, id: str) -> None:
        """Remove it; refused with `InUse` while a test VM is on it, an unknown id is no error."""

    async def leave_tombstone(self, id: str, wish: TombstoneWish) -> None:
        """Remember what a deletion still owes here."""

    async def remove_tombstone(self, id: str) -> None:
        """Forget it; an unknown id is no error."""
