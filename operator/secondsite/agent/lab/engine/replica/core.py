"""What the halves of a store share: its lock, its catalogue and what that amounts to, its disks."""

import contextlib
import logging
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

from secondsite.agent.lab.engine.durable import check_id, lock_directory, make_directories, make_directory
from secondsite.agent.lab.engine.errors import StoreDamaged
from secondsite.agent.lab.engine.media.adopt import expect_no_adoption
from secondsite.agent.lab.engine.replica.catalogue import (
    MAX_LISTED_BLOCKS,
    Catalogue,
    Damaged,
    Event,
    Founded,
    Merged,
    Merging,
    Unchanged,
)
from secondsite.agent.lab.engine.replica.contents import Contents, fold
from secondsite.agent.lab.engine.replica.damage import damaged_points
from secondsite.agent.lab.engine.replica.layer import Layer
from secondsite.agent.lab.engine.replica.repair import intact
from secondsite.agent.lab.engine.replica.replica_disk import ReplicaDisk
from secondsite.agent.lab.engine.replica.view import DiskView, Heal
from secondsite.agent.lab.engine.roles.retired import expect_not_promoted

# What has more blocks in its layers stays open: to read their indexes again would cost more than it saves.
_RESTING_BLOCKS = 4096
# A log this much longer than what it says is rewritten.
_SPARE_EVENTS = 1000

_log = logging.getLogger(__name__)


class StoreCore:
    """Opens a store and repairs what a kill left behind. `lock` guards everything here."""

    def __init__(self, root: Path, vm_id: str) -> None:
        self.vm_id = check_id("VM", vm_id)
        self.root = root
        self.lock = threading.RLock()
        # Held by whoever merges layers or writes into a sealed file; taken before `lock`.
        self.merge_lock = threading.RLock()
        self.heal: Heal | None = None
        self._damaged: dict[str, str] | None = None
        self._replicas: dict[str, ReplicaDisk] = {}
        # Whether files are open only while they are needed.
        self.rests = False
        self._resting = False
        # How many work on its files beyond one hold of `lock`.
        self._users = 0
        make_directories(root)
        self._directory_lock = lock_directory(root)
        try:
            expect_no_adoption(root)
            expect_not_promoted(root)
            self._catalogue = Catalogue(root / "catalog.log")
            self.contents: Contents = fold(self._catalogue.events)
            self.contents.expect_vm(vm_id, root)
            self._lines = len(self._catalogue.events)
            if self.contents.founded is None:
                self.log(Founded(vm=vm_id))
            self._recover()
        except BaseException:
            os.close(self._directory_lock)
            raise

    def log(self, event: Event) -> None:
        """Make an event true, durably. Lock held."""
        self._catalogue.append(event)
        self.contents.apply(event)
        if not isinstance(event, Unchanged):
            self._damaged = None
        self._lines += 1
        if self._lines > _SPARE_EVENTS:
            self._shorten()

    @property
    def replicas(self) -> dict[str, ReplicaDisk]:
        """The disks, opened again where they were let go of. Lock held by whoever changes them."""
        if self._resting:
            with self.lock:
                self._take_up()
        return self._replicas

    def rest(self) -> None:
        """Let go of all files while nothing comes in; whoever asks for a disk takes them up again."""
        if not self.rests:
            return
        with self.lock:
            if self.contents.open or self.contents.merging or self._users or self._directory_lock < 0:
                return
            if not self._resting and self._cheap():
                # What they tell is asked for again and again.
                self.damaged_points()
                self._replicas = {}
                self._resting = True
            if self._resting:
                self._catalogue.rest()

    def _cheap(self) -> bool:
        return sum(len(layer.index) for layer in self.layers(*self._chain())) <= _RESTING_BLOCKS

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """While inside, nobody lets go of the files."""
        with self.lock:
            self._users += 1
        try:
            yield
        finally:
            with self.lock:
                self._users -= 1

    def _take_up(self) -> None:
        """Lock held."""
        if self._resting:
            found = {
                name: ReplicaDisk(self._disk_folder(name), name, size, established=True, made=True)
                for name, size in self.contents.named_sizes.items()
            }
            for disk in found.values():
                disk.find(self._chain())
            self._replicas, self._resting = found, False

    def _chain(self) -> list[str]:
        return [entry.point for entry in self.contents.points]

    def keep_disks(self, sizes: dict[str, int]) -> None:
        """Make the disks those of the cycle that begins, and of every point that there is. Lock held."""
        named = self.contents.named_sizes
        wanted = named | sizes
        for name, disk in list(self.replicas.items()):
            if wanted.get(name) != disk.size:
                disk.drop_part()
                del self.replicas[name]
                shutil.rmtree(self._disk_folder(name))
        for name, size in wanted.items():
            if name not in self.replicas:
                self._make_disk(name, size, established=name in named)

    def _make_disk(self, name: str, size: int, *, established: bool) -> None:
        folder = self._disk_folder(name)
        try:
            disk = ReplicaDisk(folder, name, size, established=established)
            for entry in self.contents.points:
                # A disk has a layer at every point, an empty one where the VM was without it.
                if name not in entry.sizes:
                    disk.blank(entry.point)
            self.replicas[name] = disk
        except OSError:
            if not established:
                # A sender that asks for what cannot be must not leave a folder each time.
                shutil.rmtree(folder, ignore_errors=True)
            raise

    def views(self, point_id: str) -> dict[str, DiskView]:
        """All disks at a point. UnknownPoint. Lock held."""
        chain = self._chain()[: self.contents.position(point_id) + 1]
        named = self.contents.sizes_at(point_id)
        return {name: disk.view(chain, self.heal) for name, disk in self.replicas.items() if name in named}

    def damaged_points(self) -> dict[str, str]:
        """Points at which damage shows, and what it is. Lock held."""
        if self._damaged is None:
            self._damaged = damaged_points(self.contents, self.replicas)
        return self._damaged

    def unreadable(self, *points: str | None) -> str:
        """Why layers of these points cannot take part in a merge; empty when they can. Lock held."""
        return "; ".join(layer.lost for layer in self.layers(*points) if layer.lost)

    def layers(self, *points: str | None) -> list[Layer]:
        """The layers of points, of all disks; None is no point. Lock held."""
        return [disk.layer(point) for disk in self.replicas.values() for point in points if point is not None]

    def clone_folder(self, clone_id: str) -> Path:
        return self.root / "clones" / clone_id

    def finish_merge(self, merging: Merging) -> None:
        """The second half of a merge, which may be redone: copy, log, unlink. StoreDamaged when a layer is lost."""
        if reason := self.unreadable(merging.point, merging.into):
            raise StoreDamaged(f"recovery point {merging.point} cannot be merged: {reason}")
        for disk in self.replicas.values():
            disk.merge(merging.point, merging.into)
        with self.lock:
            held = 0
            for disk in self.replicas.values():
                if merging.into is not None:
                    disk.load(merging.into)
                    held += disk.layer_bytes(merging.into)
            damage = tuple(self._damage_after(merging))
            self.log(Merged(point=merging.point, bytes=held, damage=damage))
            for disk in self.replicas.values():
                disk.forget(merging.point)
            if self.contents.kept_sizes.keys() != self.replicas.keys():
                # It was the last point that knew a disk which the VM has no more.
                self.keep_disks(self.contents.kept_sizes)

    def _damage_after(self, merging: Merging) -> Iterator[Damaged]:
        """Of what was damaged before, what is so in the files of now: damage is copied like anything else."""
        for name, disk in self.replicas.items():
            keys = ((name, merging.point), (name, merging.into))
            before = [self.contents.damage[key] for key in keys if key in self.contents.damage]
            if before:
                blocks = sorted({block for event in before for block in event.blocks})
                still = [block for block in blocks if not intact(disk, merging.into, block)]
                unlisted = sum(event.unlisted for event in before) + max(0, len(still) - MAX_LISTED_BLOCKS)
                listed = tuple(still[:MAX_LISTED_BLOCKS])
                yield Damaged(disk=name, layer=merging.into, blocks=listed, unlisted=unlisted)

    def close(self) -> None:
        """Let go of the files; parts keep what they have. May be repeated."""
        with self.lock:
            if self._directory_lock < 0:
                return
            for disk in self._replicas.values():
                disk.drop_part()
            self._replicas.clear()
            self._resting = False
            self._catalogue.close()
            os.close(self._directory_lock)
            self._directory_lock = -1

    def _shorten(self) -> None:
        """A replica that lives for years must not grow a log of years."""
        shortest = self.contents.events()
        if self._lines <= len(shortest) + _SPARE_EVENTS:
            return
        try:
            self._catalogue.rewrite(shortest)
        except OSError as error:
            # The long one says the same, and the event that brought us here stands in it.
            _log.warning("store %s: the catalogue could not be shortened: %s", self.root, error)
        self._lines = len(shortest)

    def _recover(self) -> None:
        self._catalogue.events.clear()
        if self._lines > _SPARE_EVENTS:
            self._shorten()
        make_directory(self.root / "disks")
        self.keep_disks(self.contents.kept_sizes)
        points, opened = self._chain(), self.contents.open
        for name, disk in self.replicas.items():
            disk.recover(points, opened.cycle if opened else None)
            if opened is not None and name in opened.disks:
                disk.begin_part(opened.cycle, opened.generation, opened.disks[name])
        if self.contents.merging is not None:
            try:
                self.finish_merge(self.contents.merging)
            except StoreDamaged as damage:
                # The point is offered no more, but what stands on its layer may be.
                _log.warning("store %s: %s", self.root, damage)
        self.forget_stale_maps()
        for folder in make_directory(self.root / "clones").iterdir():
            if folder.name not in self.contents.clones:
                shutil.rmtree(folder)

    def forget_stale_maps(self) -> None:
        """A point stands on the adopted disks: nobody asks any more where they differed. Lock held."""
        if self.contents.points and not self.contents.stale:
            shutil.rmtree(self.root / "stale", ignore_errors=True)

    def _disk_folder(self, name: str) -> Path:
        return self.root / "disks" / name
