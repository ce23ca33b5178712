"""The files of a site's replicas: opened, set aside, given up."""

from __future__ import annotations

import threading
from collections.abc import Callable

from secondsite import logs
from secondsite.agent.lab.engine import EngineError, StoreDamaged
from secondsite.agent.lab.folders import Folders
from secondsite.agent.lab.halves import Halves
from secondsite.agent.lab.replica import ReplicaStore
from secondsite.agent.lab.works import Works

_log = logs.get(__name__)


class Replicas:
    """All replicas of a site by VM. What people asked to keep is set aside."""

    def __init__(self, folders: Folders, halves: Halves, works: Works, *, keep_every_cycle: bool) -> None:
        self._folders = folders
        self._halves = halves
        self._works = works
        self._keep_every_cycle = keep_every_cycle
        self._lock = threading.RLock()
        self._stores: dict[str, ReplicaStore] = {}
        # Those that could not be opened, and why.
        self.unreadable: dict[str, str] = {}

    def all(self) -> list[ReplicaStore]:
        """Every replica that is open."""
        return list(self._stores.values())

    def get(self, vm_id: str) -> ReplicaStore | None:
        """The replica of a VM, or None."""
        return self._stores.get(vm_id)

    def open(self, vm_id: str) -> ReplicaStore:
        """The replica of a VM, made where there is none."""
        with self._lock:
            if vm_id not in self._stores:
                self._stores[vm_id] = self._make(vm_id)
            return self._stores[vm_id]

    def _make(self, vm_id: str) -> ReplicaStore:
        keep = self._keep_every_cycle
        return ReplicaStore(vm_id, self._folders.replica(vm_id), self._halves, self._works, keep_every_cycle=keep)

    def try_open(self, vm_id: str) -> None:
        """At the start, when nobody else asks for it: open it, or remember why it cannot be.

        One that is damaged must not take the others with it.
        """
        try:
            self._stores[vm_id] = self._make(vm_id)
        except (EngineError, OSError) as error:
            _log.exception("a replica cannot be opened", vm=vm_id)
            self.unreadable[vm_id] = str(error)

    def discard(self, vm_id: str) -> None:
        """Delete a replica's files; nothing there is no error."""
        with self._lock:
            if not self._is_there(vm_id):
                return
            store = self._taken_out(vm_id)
            if store is None:
                self._works.machinery.remove_store(self._folders.replica(vm_id))
            else:
                store.discard()

    def give_away(self, vm_id: str, promote: Callable[[ReplicaStore], None]) -> None:
        """Make a replica something else: `promote` takes its store, and closes it. Where it raises, it stays ours."""
        with self._lock:
            store = self.open(vm_id)
            with store.standing_down():
                promote(store)
            del self._stores[vm_id]

    def set_aside(self, vm_id: str) -> None:
        """Keep the files of an earlier replica out of the way of a new one: people asked to keep them."""
        with self._lock:
            if not self._is_there(vm_id):
                return
            store = self._taken_out(vm_id)
            if store is not None and store.store.head is None:
                store.discard()
                return
            if store is not None:
                store.close()
            aside = self._folders.kept(f"{vm_id}-{self._works.clock.now():%Y%m%dT%H%M%S%f}")
            self._works.machinery.set_aside(self._folders.replica(vm_id), aside)
            _log.warning("the replica that was kept is set aside for a new one", vm=vm_id, folder=str(aside))

    def close(self) -> None:
        """Close every one; all stay."""
        for store in self.all():
            store.close()

    def _is_there(self, vm_id: str) -> bool:
        return vm_id in self._stores or self._works.machinery.is_stored(self._folders.replica(vm_id))

    def _taken_out(self, vm_id: str) -> ReplicaStore | None:
        """A store that is a replica's no more; None where it is too damaged to be opened. Lock held."""
        try:
            self.open(vm_id)
        except StoreDamaged:
            _log.warning("a damaged replica is given up", vm=vm_id)
        self.unreadable.pop(vm_id, None)
        return self._stores.pop(vm_id, None)
