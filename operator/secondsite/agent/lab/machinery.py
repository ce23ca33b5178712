"""Every way from a lab site into the replication engine: one place, so that a test can put another engine there."""

from __future__ import annotations

import shutil
import ssl
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Protocol, TypeVar

from secondsite.agent.lab import datacentre, engine
from secondsite.agent.lab.clock import utc_now
from secondsite.agent.lab.clone_disk import CloneDisk
from secondsite.agent.lab.datacentre import DataCentre, Machine
from secondsite.agent.lab.engine import (
    Authorize,
    Clone,
    DataServer,
    Link,
    PeerClient,
    Post,
    Promoted,
    PromotedAway,
    RecoveryPoint,
    ReplicationSource,
    SourceDisk,
    TargetStore,
    TokenBucket,
)
from secondsite.agent.lab.engine.media.manifest import Manifest
from secondsite.agent.lab.engine.types import Told
from secondsite.agent.lab.guest_disks import disk_ids, make_disks
from secondsite.agent.lab.guests import Guest
from secondsite.agent.lab.rounds import Rounds, ThreadedRounds
from secondsite.agent.lab.socket import Answer, LabSocket
from secondsite.agent.lab.state import Documents

T = TypeVar("T")
R = TypeVar("R")

Committed = Callable[[RecoveryPoint], None]
Stores = Callable[[str], TargetStore | PromotedAway | None]


class Runner(Protocol):
    """A thread, or what stands for one."""

    @property
    def ident(self) -> int | None:
        """None before its start."""

    def start(self) -> None:
        """Begin."""

    def join(self) -> None:
        """Wait for its end."""


# Fewer than these are done one after the other.
_FEW = 64
_AT_ONCE = 16


class Machinery:
    """The real engine, on files, sockets and threads. `now` is the clock of the site, which may be wrong."""

    now: Callable[[], datetime] = staticmethod(utc_now)
    unchanged_seconds = 0.0
    """For how long a point may go on being the newest while nothing changes; 0: every cycle makes one."""

    def centre(self, path: Path) -> DataCentre:
        """What the data-centre file says. Raises SecondsiteError."""
        return datacentre.load(path)

    def documents(self, path: Path) -> Documents:
        """The store of what a site remembers."""
        return Documents(path)

    def thread(self, name: str, run: Callable[[], None]) -> Runner:
        """What works beside everything else until it is told to end."""
        return threading.Thread(target=run, name=name, daemon=True)

    def socket(self, folder: Path, answer: Answer) -> LabSocket:
        """Where people ask for the truth."""
        return LabSocket(folder, answer)

    def each(self, work: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """What `work` makes of all, in their order; some at a time where there are many: they wait for the disk."""
        if len(items) < _FEW:
            return [work(item) for item in items]
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="each") as pool:
            return list(pool.map(work, items))

    def rounds(self, places: int) -> Rounds:
        """What gives relations their turns; `places` of one host at a time."""
        return ThreadedRounds(places)

    def guest(self, machine: Machine, folder: Path) -> Guest:
        """A VM that runs here."""
        return Guest(machine, folder)

    def guest_on(self, clone: Clone, machine: Machine, folder: Path) -> Guest:
        """A VM that runs from a clone. Disks that the clone has not are files in `folder`."""
        return Guest(machine, folder, {name: CloneDisk(clone, name) for name in clone.disks})

    def make_disks(self, machine: Machine, folder: Path, but: Collection[str]) -> None:
        """Make the disks of a VM that are not there, all `but` those."""
        make_disks(machine, folder, but)

    def has_disks(self, machine: Machine, folder: Path) -> bool:
        """Whether every disk of a VM is there; one that is not is made anew."""
        return all((folder / f"{name}.raw").exists() for name in disk_ids(machine))

    def tracked(self, folder: Path) -> list[str]:
        """The VMs of which there are maps of changes, or what is left of them."""
        return [found.name for found in folder.iterdir()] if folder.exists() else []

    def forget(self, root: Path) -> None:
        """Remove a map of changes that nobody has open; nothing there is no error."""
        shutil.rmtree(root, ignore_errors=True)

    def is_tracked(self, root: Path) -> bool:
        """Whether there is a map of changes."""
        return ReplicationSource.exists(root)

    def track(self, root: Path, vm_id: str, disks: Mapping[str, SourceDisk]) -> ReplicationSource:
        """The map of changes of a VM, made where there is none; of other disks than before where they are others."""
        engine.change_disks(root, {name: disk.size for name, disk in disks.items()})
        return ReplicationSource(root, vm_id, disks, clock=self.now, unchanged_seconds=self.unchanged_seconds)

    def distrust(self, root: Path) -> None:
        """The map of changes, closed now, vouches for nothing any more."""
        ReplicationSource.distrust_at(root)

    def export_initial(self, source: ReplicationSource, folder: Path, stop: threading.Event, told: Told) -> Manifest:
        """See `engine.export_initial`."""
        return engine.export_initial(source, folder, stop=stop, progress=told)

    def import_initial(self, store: TargetStore, folder: Path, stop: threading.Event, told: Told) -> str:
        """See `engine.import_initial`."""
        return engine.import_initial(store, folder, stop=stop, progress=told)

    def is_stored(self, root: Path) -> bool:
        """Whether there is a replica."""
        return TargetStore.exists(root)

    def store(self, root: Path, vm_id: str, committed: Committed, changed: Callable[[], None]) -> TargetStore:
        """The files of a replica, made where there are none."""
        found = TargetStore(root, vm_id, on_commit=committed, on_change=changed, clock=self.now, rests=True)
        found.receiver.takes_unchanged = self.unchanged_seconds > 0
        return found

    def remove_store(self, root: Path) -> None:
        """Remove a replica that cannot be opened."""
        shutil.rmtree(root)

    def set_aside(self, root: Path, aside: Path) -> None:
        """Keep a replica that nobody has open, out of the way."""
        aside.parent.mkdir(exist_ok=True)
        root.rename(aside)

    def client(self, address: str, port: int, tls: ssl.SSLContext, bucket: TokenBucket, link: Link) -> PeerClient:
        """Dials the data port of a site."""
        return PeerClient(address, port, tls, bucket=bucket, link=link)

    def listen(
        self,
        address: str,
        port: int,
        tls: ssl.SSLContext,
        stores: Stores,
        authorize: Authorize,
        posts: Mapping[str, Post],
    ) -> DataServer:
        """Take data from now on. Raises OSError where the port cannot be had."""
        opened = DataServer(address, port, tls, stores, authorize, posts)
        opened.start()
        return opened

    def is_changing(self, tracking: Path, store: Path) -> bool:
        """Whether a change of roles is half done, and can only go forward."""
        return engine.promotion_pending(store) or engine.demotion_pending(tracking)

    def finish(self, tracking: Path, store: Path) -> None:
        """What an agent does first of all: go on with a change of roles that its end interrupted."""
        if engine.promotion_pending(store):
            engine.finish_promotion(store)
        if engine.demotion_pending(tracking):
            engine.finish_demotion(tracking)

    def promoted_away(self, store: Path) -> PromotedAway | None:
        """What is left of a replica that became a primary; None where that did not happen."""
        return engine.promoted_away(store)

    def failed_over(self, store: TargetStore) -> Promoted | None:
        """The failover that stands."""
        return store.promoted

    def fail_over(self, store: TargetStore, point: str, clone: str, generation: int) -> Clone:
        """See `engine.fail_over`."""
        return engine.fail_over(store, point, clone, generation)

    def cancel_failover(self, store: TargetStore, clone: str) -> None:
        """See `engine.cancel_failover`."""
        engine.cancel_failover(store, clone)

    def prepare_promotion(self, store: TargetStore) -> None:
        """See `engine.prepare_promotion`."""
        engine.prepare_promotion(store)

    def promote(self, store: TargetStore, tracking: Path, disks: Mapping[str, Path]) -> None:
        """See `engine.promote`. Right after `prepare_promotion`."""
        for path in disks.values():
            path.parent.mkdir(parents=True, exist_ok=True)
        engine.promote(store, tracking, disks, prepared=True)

    def demote(self, source: ReplicationSource, store: Path, generation: int) -> None:
        """See `engine.demote`."""
        engine.demote(source, store, generation=generation)
