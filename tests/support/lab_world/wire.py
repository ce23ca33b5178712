"""Both ends of the data port in memory: the target's own `authorize` and `posts` decide, as behind the real port."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from secondsite.agent.lab.engine import Authorize, Compression, LinkError, PeerRefused, Post, PromotedAway
from secondsite.agent.lab.engine.port.routes import _problem_of
from secondsite.agent.lab.engine.port.stream import _error_of
from secondsite.agent.lab.faults import Fault, Faults
from secondsite.wire.peer import CycleOpen, Message, PeerStatus
from support.lab_world.images import Image, Key
from support.lab_world.life import Killed, Life
from support.lab_world.link import LinkModel

A = TypeVar("A", bound=Message)
R = TypeVar("R")


class Receiving(Protocol):
    """What a store offers to whoever sends."""

    def status(self) -> PeerStatus: ...
    def open_cycle(self, message: CycleOpen) -> int: ...
    def put(self, cycle: str, items: Image, first: int) -> int: ...
    def unchanged(self, head: str, generation: int, time: datetime) -> datetime: ...
    def commit(self, cycle: str) -> datetime: ...
    def hashes(self) -> Image: ...
    def stale_page(self) -> set[Key] | None: ...


_CUTTING = (Fault.LINK_DOWN, Fault.VMMS_RESTART, Fault.CERTIFICATE_EXPIRED)
# Of so many messages one is lost where the link is lossy.
_LOSSY = 4
Stores = Callable[[str], "Receiving | PromotedAway | None"]


@dataclass
class MemoryPort:
    """The open data port of one life of a site."""

    port: int
    life: Life
    stores: Stores
    authorize: Authorize
    posts: Mapping[str, Post]
    network: Network

    def close(self) -> None:
        """Take no more."""
        if self.network.ports.get(self.port) is self:
            del self.network.ports[self.port]

    def start(self) -> None:
        """Take from now on."""
        self.network.ports[self.port] = self

    def store(self, certificate: Mapping[str, object], vm_id: str, path: str) -> Receiving:
        """What is there of a VM. Raises PeerRefused, as the real routes do."""
        self.authorize(certificate, vm_id, path)
        store = self.stores(vm_id)
        if store is None:
            raise PeerRefused(404, "UnknownVM", f"no replica of VM {vm_id} here; enable replication first")
        if isinstance(store, PromotedAway):
            raise store.refusal()
        return store

    def post(self, certificate: Mapping[str, object], path: str, body: bytes) -> Message:
        """A message beside replication."""
        for prefix, answer in self.posts.items():
            if path.startswith(prefix):
                vm_id = path.removeprefix(prefix)
                return answer(self.authorize(certificate, vm_id, path), vm_id, body)
        raise PeerRefused(404, "UnknownPath", f"no POST {path}")


@dataclass
class Network:
    """Ports by number; numbers are unique among the sites of a test."""

    link: LinkModel = field(default_factory=LinkModel)
    ports: dict[int, MemoryPort] = field(default_factory=dict)
    media: dict[Path, tuple[CycleOpen, Image]] = field(default_factory=dict)
    """What people carry from site to site."""
    faults: dict[str, Faults] = field(default_factory=dict)
    """By site: what is broken there on purpose."""

    def hampered(self, *sites: str) -> bool:
        """Whether a fault of either site ends a connection between them."""
        found = [faults for site in sites if (faults := self.faults.get(site))]
        if any(faults.on(fault) for faults in found for fault in _CUTTING):
            return True
        lossy = any(faults.on(Fault.LINK_LOSSY) for faults in found)
        return lossy and self.link.calls % _LOSSY == 0


class MemoryClient:
    """Dials a port for the agent of `site`."""

    def __init__(self, network: Network, site: str, life: Life, port: int) -> None:
        self.compression = Compression.Auto
        self.port = port
        self._network = network
        self._life = life
        self._certificate = {"subjectAltName": (("URI", f"secondsite://vault/agent/{site}"),)}

    @contextlib.contextmanager
    def session(self) -> Iterator[MemoryClient]:
        """One connection: here every call is one."""
        yield self

    def post(self, path: str, message: Message, answer: type[A]) -> A:
        """A message beside replication. LinkError, PeerRefused."""
        body = msgspec.json.encode(message)
        reply = self._call(lambda port: port.post(self._certificate, path, body))
        return msgspec.json.decode(msgspec.json.encode(reply), type=answer)

    def status(self, vm_id: str) -> PeerStatus:
        return self._on_store(vm_id, lambda store: store.status())

    def open_cycle(self, vm_id: str, message: CycleOpen) -> int:
        return self._on_store(vm_id, lambda store: store.open_cycle(message), "/cycles")

    def unchanged(self, vm_id: str, head: str, generation: int, time: datetime) -> datetime:
        return self._on_store(vm_id, lambda store: store.unchanged(head, generation, time), "/cycles?unchanged")

    def put(self, vm_id: str, cycle: str, items: Image, first: int) -> int:
        during = self._network.link.during
        while during:
            during.popleft()()
        return self._on_store(vm_id, lambda store: store.put(cycle, items, first))

    def commit(self, vm_id: str, cycle: str) -> datetime:
        return self._on_store(vm_id, lambda store: store.commit(cycle))

    def hashes(self, vm_id: str) -> Image:
        return self._on_store(vm_id, lambda store: store.hashes())

    def stale(self, vm_id: str) -> set[Key] | None:
        return self._on_store(vm_id, lambda store: store.stale_page())

    def _on_store(self, vm_id: str, act: Callable[[Receiving], R], what: str = "") -> R:
        return self._call(lambda port: act(port.store(self._certificate, vm_id, f"/v1/vms/{vm_id}{what}")))

    def _call(self, act: Callable[[MemoryPort], R]) -> R:
        if not self._life.alive:
            raise Killed(self._life.site)
        fate = self._network.link.fate()
        port = self._network.ports.get(self.port)
        hampered = port is not None and self._network.hampered(self._life.site, port.life.site)
        if fate == "lost" or port is None or not port.life.alive or hampered:
            raise LinkError(f"connecting to port {self.port}: no answer")
        try:
            answer = act(port)
        except Killed as killed:
            if killed.args[0] == self._life.site:
                raise
            raise LinkError(f"port {self.port}: the connection broke") from killed
        except Exception as error:
            if fate == "answer lost":
                raise LinkError(f"port {self.port}: the answer did not come") from error
            raise _error_of(_problem_of(error)) from error
        if fate == "answer lost":
            raise LinkError(f"port {self.port}: the answer did not come")
        return answer
