"""The machinery of one life of a site, in memory."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

from secondsite.agent.lab.machinery import Committed, Machinery, Runner, Stores
from support.lab_world.files import MemoryDocuments, SiteFiles, Stored
from support.lab_world.guest import MemoryGuest
from support.lab_world.life import Life
from support.lab_world.rounds import ManualRounds
from support.lab_world.store import MemoryStore
from support.lab_world.tracking import MemoryTracking
from support.lab_world.wire import MemoryClient, MemoryPort, Network
from support.lab_world.wire import Stores as MemoryStores

if TYPE_CHECKING:
    from secondsite.agent.lab.datacentre import DataCentre, Machine
    from secondsite.agent.lab.engine import (
        Authorize,
        DataServer,
        Link,
        PeerClient,
        Post,
        ReplicationSource,
        SourceDisk,
        TargetStore,
        TokenBucket,
    )
    from secondsite.agent.lab.guests import Guest
    from secondsite.agent.lab.rounds import Rounds
    from secondsite.agent.lab.socket import Answer, LabSocket
    from secondsite.agent.lab.state import Documents
    from support.lab_world.images import MemoryDisk


class Idle:
    """A thread that never begins: whoever holds the clock does its work."""

    ident: int | None = None

    def start(self) -> None:
        """Nothing."""

    def stop(self) -> None:
        """Nothing."""

    def join(self) -> None:
        """Nothing."""


class MemoryMachinery(Machinery):
    """Everything that the real one does with files, sockets and threads, without any of them."""

    def __init__(
        self,
        files: SiteFiles,
        life: Life,
        network: Network,
        centre: DataCentre,
        now: Callable[[], datetime],
        stored: Stored,
    ) -> None:
        self.files = files
        self.life = life
        self.manual = ManualRounds(now)
        self._network = network
        self._centre = centre
        self.now = now
        self._stored = stored

    def centre(self, path: Path) -> DataCentre:
        return self._centre

    def documents(self, path: Path) -> Documents:
        return MemoryDocuments(self.files, self.life, self._stored)

    def thread(self, name: str, run: Callable[[], None]) -> Runner:
        return Idle()

    def socket(self, folder: Path, answer: Answer) -> LabSocket:
        self.answer = answer
        return cast("LabSocket", Idle())

    def rounds(self, places: int) -> Rounds:
        return self.manual

    def guest(self, machine: Machine, folder: Path) -> Guest:
        return cast("Guest", MemoryGuest(self.files, machine, folder, self.now))

    def has_disks(self, machine: Machine, folder: Path) -> bool:
        return folder in self.files.disks

    def tracked(self, folder: Path) -> list[str]:
        return [root.name for root in self.files.tracking if root.parent == folder]

    def forget(self, root: Path) -> None:
        self.life.act()
        self.files.tracking.pop(root, None)

    def is_tracked(self, root: Path) -> bool:
        return root in self.files.tracking

    def track(self, root: Path, vm_id: str, disks: Mapping[str, SourceDisk]) -> ReplicationSource:
        memory = cast("Mapping[str, MemoryDisk]", disks)
        return cast("ReplicationSource", MemoryTracking(self.files, self.life, root, vm_id, memory, self.now))

    def distrust(self, root: Path) -> None:
        if root in self.files.tracking:
            raise AssertionError("a disk was lost in memory")

    def is_stored(self, root: Path) -> bool:
        return root in self.files.stores

    def store(self, root: Path, vm_id: str, committed: Committed, changed: Callable[[], None]) -> TargetStore:
        made = MemoryStore(self.files, self.life, root, vm_id, committed, changed, self.now)
        return cast("TargetStore", made)

    def remove_store(self, root: Path) -> None:
        self.life.act()
        self.files.stores.pop(root, None)

    def set_aside(self, root: Path, aside: Path) -> None:
        self.life.act()
        self.files.stores[aside] = self.files.stores.pop(root)

    def client(self, address: str, port: int, tls: ssl.SSLContext, bucket: TokenBucket, link: Link) -> PeerClient:
        return cast("PeerClient", MemoryClient(self._network, self.files.site, self.life, port))

    def listen(
        self,
        address: str,
        port: int,
        tls: ssl.SSLContext,
        stores: Stores,
        authorize: Authorize,
        posts: Mapping[str, Post],
    ) -> DataServer:
        opened = MemoryPort(port, self.life, cast("MemoryStores", stores), authorize, posts, self._network)
        opened.start()
        return cast("DataServer", opened)
