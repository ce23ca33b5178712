"""The engine as it stands in two agents: one process tracks and sends the disk, the other one receives it."""

import contextlib
import importlib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.worker import Worker
from bench.world import MEBIBYTE, World, change
from secondsite.agent.lab.engine import (
    Clone,
    CycleResult,
    DataServer,
    PeerClient,
    ReplicationSource,
    SourceDisk,
    TargetStore,
    TokenBucket,
)
from secondsite.agent.lab.engine.primary.compare import CompareResult
from secondsite.trust.contexts import client_context, server_context
from secondsite.trust.gate import SiteGate, only_roles
from secondsite.trust.identity import Identity, Trust
from secondsite.trust.names import Role
from secondsite.wire.peer import HashBasis
from support.vault import Vault

_DISK = "disk"
_STEP = MEBIBYTE


@dataclass(frozen=True)
class Credentials:
    """What an agent shows and whom it believes."""

    identity: Identity
    trust: Trust

    def listener(self) -> ssl.SSLContext:
        return server_context(self.identity, self.trust, only_roles(Role.AGENT))

    def dialler(self, site: str) -> ssl.SSLContext:
        return client_context(self.identity, self.trust, SiteGate(site, "127.0.0.1"))


def _load_agent() -> None:
    # Its memory is part of what an agent needs.
    importlib.import_module("secondsite.agent.main")


class Receiver:
    """The site that holds the replica."""

    def __init__(self, credentials: Credentials | None) -> None:
        _load_agent()
        tls = None if credentials is None else credentials.listener()
        self._store: TargetStore | None = None
        self._server = DataServer("127.0.0.1", 0, tls, lambda _: self._store, lambda *_: "west")
        self._server.start()

    def port(self) -> int:
        return self._server.port

    def open(self, root: Path) -> None:
        self.close()
        self._store = TargetStore(root, "vm")

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

    @property
    def store(self) -> TargetStore:
        assert self._store is not None
        return self._store

    def points(self) -> list[str]:
        return [point.id for point in self.store.points()]

    def equals(self, image: Path) -> bool:
        """The newest point, read as a failover would read it."""
        head = self.store.head
        assert head is not None
        size = self.store.disks[_DISK]
        with image.open("rb", buffering=0) as file:
            return all(
                file.read(_STEP) == self.store.read_point(head, _DISK, offset, min(_STEP, size - offset))
                for offset in range(0, size, _STEP)
            )

    def materialise(self, path: Path) -> None:
        head = self.store.head
        assert head is not None
        self.store.materialise(head, _DISK, path)

    def clone(self, point: str) -> None:
        self._clone: Clone = self.store.clone(point, "bench")

    def clone_holds(self, number: int, image: Path) -> bool:
        """Whether the clone has what change `number` wrote."""
        return all(self._clone.read(_DISK, offset, len(data)) == data for offset, data in change(number, image))

    def drop_clone(self) -> None:
        self._clone.close()
        self.store.drop_clone("bench")


class Sender:
    """The site at which the guest runs."""

    def __init__(self, port: int, credentials: Credentials | None, rate: float | None = None) -> None:
        _load_agent()
        tls = None if credentials is None else credentials.dialler("east")
        self._client = PeerClient("127.0.0.1", port, tls, bucket=TokenBucket(rate))
        self._source: ReplicationSource | None = None

    def open(self, root: Path, image: Path) -> None:
        self.close()
        self._disk = SourceDisk(image, image.stat().st_size)
        self._source = ReplicationSource(root, "vm", {_DISK: self._disk})

    def close(self) -> None:
        if self._source is not None:
            self._source.discard()
            self._disk.close()
            self._source = None

    @property
    def source(self) -> ReplicationSource:
        assert self._source is not None
        return self._source

    def change(self, number: int) -> None:
        """What the guest writes between two cycles."""
        for offset, content in change(number, self._disk.path):
            self._disk.write(offset, content)
        self._disk.sync()

    def cycle(self) -> CycleResult:
        return self.source.run_cycle(self._client)

    def compare(self, basis: HashBasis) -> CompareResult:
        return self.source.compare(self._client, basis=basis)

    def distrust(self) -> None:
        self.source.distrust()


@dataclass
class Agents:
    """Both, and what they did."""

    world: World
    sender: Worker
    receiver: Worker
    numbers: list[int] = field(default_factory=list)

    def start_over(self) -> None:
        """Nothing replicated yet: the first cycle is the initial copy."""
        self.sender.call("close")
        self.receiver.call("close")
        self.world.read_source()
        self.world.clear()
        self.receiver.call("open", self.world.output / "replica")
        self.sender.call("open", self.world.output / "tracking", self.world.source)

    def change(self) -> None:
        """The guest writes, and the tracker sees it."""
        number = next(self.world.changes)
        self.sender.call("change", number)
        self.numbers.append(number)
        self.world.read_source()

    def cycle(self) -> CycleResult:
        result: CycleResult = self.sender.call("cycle")
        return result

    def same(self) -> bool:
        return bool(self.receiver.call("equals", self.world.source))

    @property
    def cpu_seconds(self) -> tuple[float, float]:
        return self.sender.cpu_seconds, self.receiver.cpu_seconds

    @property
    def peak_bytes(self) -> tuple[int, int]:
        return self.sender.peak_bytes, self.receiver.peak_bytes


@contextlib.contextmanager
def agents(world: World, *, tls: bool = False, rate: float | None = None) -> Iterator[Agents]:
    """A pair of running agents; `tls` as the product has it, both ends with a certificate of one vault."""
    vault = Vault() if tls else None
    shown = {site: vault and Credentials(vault.agent(site), vault.trust()) for site in ("east", "west")}
    with (
        Worker(Receiver, shown["east"]) as receiver,
        Worker(Sender, receiver.call("port"), shown["west"], rate) as sender,
    ):
        yield Agents(world, sender, receiver)
        sender.call("close")
        receiver.call("close")
