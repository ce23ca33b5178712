"""The machinery of one life of a site, in memory."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import cast

from secondsite.agent.lab.datacentre import DataCentre, Machine
from secondsite.agent.lab.engine import (
    Authorize,
    Clone,
    DataServer,
    Link,
    MediaRefused,
    PeerClient,
    Post,
    Promoted,
    PromotedAway,
    ReplicationSource,
    SourceDisk,
    TargetStore,
    TokenBucket,
)
from secondsite.agent.lab.engine.media.manifest import Manifest, MediaDisk
from secondsite.agent.lab.engine.types import Told
from secondsite.agent.lab.guest_disks import disk_ids
from secondsite.agent.lab.guests import Guest
from secondsite.agent.lab.machinery import Committed, Machinery, Runner, Stores
from secondsite.agent.lab.rounds import Rounds
from secondsite.agent.lab.socket import Answer, LabSocket
from secondsite.agent.lab.state import Documents
from support.lab_world import roles
from support.lab_world.clones import MemoryClone, MemoryCloneDisk
from support.lab_world.files import MemoryDocuments, SiteFiles, Stored
from support.lab_world.guest import MemoryGuest
from support.lab_world.images import MemoryDisk
from support.lab_world.life import Life
from support.lab_world.rounds import ManualRounds
from support.lab_world.store import MemoryStore
from support.lab_world.tracking import MemoryTracking
from support.lab_world.wire import MemoryClient, MemoryPort, Network
from support.lab_world.wire import Stores as MemoryStores


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

    def guest_on(self, clone: Clone, machine: Machine, folder: Path) -> Guest:
        held = cast("MemoryClone", clone)
        borrowed = {name: MemoryCloneDisk(held, name) for name in held.disks}
        return cast("Guest", MemoryGuest(self.files, machine, folder, self.now, borrowed))

    def has_disks(self, machine: Machine, folder: Path) -> bool:
        return all(name in self.files.disks.get(folder, {}) for name in disk_ids(machine))

    def tracked(self, folder: Path) -> list[str]:
        return [root.name for root in self.files.tracking if root.parent == folder]

    def forget(self, root: Path) -> None:
        self.life.act()
        self.files.tracking.pop(root, None)

    def is_tracked(self, root: Path) -> bool:
        return root in self.files.tracking

    def track(self, root: Path, vm_id: str, disks: Mapping[str, SourceDisk]) -> ReplicationSource:
        memory = cast("Mapping[str, MemoryDisk]", disks)
        made = MemoryTracking(self.files, self.life, root, vm_id, memory, self.now)
        made.unchanged_seconds = self.unchanged_seconds
        return cast("ReplicationSource", made)

    def distrust(self, root: Path) -> None:
        if root in self.files.tracking:
            raise AssertionError("a disk was lost in memory")

    def export_initial(self, source: ReplicationSource, folder: Path, stop: threading.Event, told: Told) -> Manifest:
        opened, _ = self._network.media[folder] = cast("MemoryTracking", source).export_initial()
        disks = {
            name: MediaDisk(size=plan.size, blocks=plan.blocks, root="", file_bytes=0, digest="")
            for name, plan in opened.disks.items()
        }
        return Manifest(
            vm=source.vm_id,
            cycle=opened.cycle,
            generation=opened.generation,
            freeze_time=opened.freeze_time,
            consistency=opened.consistency,
            disks=disks,
        )

    def import_initial(self, store: TargetStore, folder: Path, stop: threading.Event, told: Told) -> str:
        found = self._network.media.get(folder)
        if found is None:
            raise MediaRefused(f"{folder}: nothing was exported there")
        held, (opened, image) = cast("MemoryStore", store), found
        if held.head != opened.cycle:
            held.open_cycle(opened)
            held.put(opened.cycle, image, 0)
            held.commit(opened.cycle)
        return opened.cycle

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

    def is_changing(self, tracking: Path, store: Path) -> bool:
        return store in self.files.promotions or tracking in self.files.demotions

    def finish(self, tracking: Path, store: Path) -> None:
        if store in self.files.promotions:
            roles.finish_promotion(self.files, self.life, store)
        if tracking in self.files.demotions:
            roles.finish_demotion(self.files, self.life, tracking)

    def promoted_away(self, store: Path) -> PromotedAway | None:
        return self.files.retired.get(store)

    def failed_over(self, store: TargetStore) -> Promoted | None:
        promoted = cast("MemoryStore", store).held.promoted
        return Promoted(*promoted) if promoted else None

    def fail_over(self, store: TargetStore, point: str, clone: str, generation: int) -> Clone:
        return cast("Clone", roles.fail_over(cast("MemoryStore", store), point, clone, generation, self.life))

    def cancel_failover(self, store: TargetStore, clone: str) -> None:
        roles.cancel_failover(cast("MemoryStore", store), clone, self.life)

    def prepare_promotion(self, store: TargetStore) -> None:
        roles.prepare_promotion(cast("MemoryStore", store))

    def promote(self, store: TargetStore, tracking: Path, disks: Mapping[str, Path]) -> None:
        roles.promote(self.files, self.life, cast("MemoryStore", store), tracking, disks)

    def demote(self, source: ReplicationSource, store: Path, generation: int) -> None:
        roles.demote(self.files, self.life, cast("MemoryTracking", source), store, generation)
