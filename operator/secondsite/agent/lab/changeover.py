"""Changes of roles, as far as they must survive a kill: noted before the first step, finished at the next start."""

from __future__ import annotations

from collections.abc import Mapping

from secondsite import logs
from secondsite.agent.lab import rpo
from secondsite.agent.lab.clock import LabClock
from secondsite.agent.lab.counters import Window
from secondsite.agent.lab.engine import EngineError
from secondsite.agent.lab.events import Event
from secondsite.agent.lab.folders import Folders
from secondsite.agent.lab.halves import Halves
from secondsite.agent.lab.machinery import Machinery
from secondsite.agent.lab.state import Changeover, Documents, Half, Placement, Replica

_log = logs.get(__name__)


class Changeovers:
    """What is known of the changes of roles under way at a site, and what they leave in its documents."""

    def __init__(
        self, folders: Folders, documents: Documents, halves: Halves, machinery: Machinery, clock: LabClock
    ) -> None:
        self.folders = folders
        self._documents = documents
        self._halves = halves
        self._machinery = machinery
        self._clock = clock
        self.stuck: set[str] = set()
        """VMs whose change could be neither finished nor undone: nothing of theirs is opened."""

    def placements(self) -> dict[str, Placement]:
        """What is otherwise than in the data-centre file, by VM."""
        return self._documents.all(Placement)

    def power(self, vm_id: str, *, on: bool) -> None:
        """Whether a VM is on is durable from here on."""
        found = self._documents.get(Placement, vm_id) or Placement(vm_id)
        self._documents.put(vm_id, Placement(vm_id, "Running" if on else "Off", found.machine, found.away))

    def is_on(self, vm_id: str) -> bool:
        """Of a replica VM: whether it was started, and not stopped since."""
        found = self._documents.get(Placement, vm_id)
        return found is not None and found.state == "Running"

    def begin(self, change: Changeover) -> None:
        """From here on a kill does not leave it half done."""
        self._documents.put(change.vm_id, change)

    def undo(self, change: Changeover) -> bool:
        """Forget it, if the engine refused before it changed anything; else the next start goes on with it."""
        begun = self._machinery.is_changing(self.folders.tracking(change.vm_id), self.folders.replica(change.vm_id))
        if begun or self._is_done(change):
            return False
        self._documents.remove(Changeover, change.vm_id)
        return True

    def finish(self) -> None:
        """What a start does first: carry out what the engine has begun, forget what it has not."""
        for change in self._documents.all(Changeover).values():
            try:
                self._machinery.finish(self.folders.tracking(change.vm_id), self.folders.replica(change.vm_id))
                if self._is_done(change):
                    self.settle(change)
                else:
                    self._documents.remove(Changeover, change.vm_id)
            except (EngineError, OSError) as error:
                _log.exception("a change of roles cannot be finished", vm=change.vm_id)
                self.stuck.add(change.vm_id)
                self._halves.update(change.vm_id, failure=f"Its change of roles cannot be finished: {error}")

    def settle(self, change: Changeover) -> None:
        """The disks have their new role: so has the VM. May be repeated."""
        if change.becomes == "Replica":
            self._became_replica(change)
        else:
            self._came_to_run(change)
        self._documents.remove(Changeover, change.vm_id)

    def _is_done(self, change: Changeover) -> bool:
        if change.becomes == "Replica":
            return not self._machinery.is_tracked(self.folders.tracking(change.vm_id))
        away = self._machinery.promoted_away(self.folders.replica(change.vm_id))
        return away is not None and away.generation == change.generation

    def _became_replica(self, change: Changeover) -> None:
        if change.replica is not None:
            self._documents.put(change.vm_id, change.replica)
        self._documents.put(change.vm_id, Placement(change.vm_id, "Off", away=True))
        half = self._halves.get(change.vm_id)
        if half and half.side == "Primary":
            self._halves.step(change.vm_id, change.event, {"vm_off": True}, **self._changes(change, half))

    def _came_to_run(self, change: Changeover) -> None:
        on = self.is_on(change.vm_id)
        self._documents.put(change.vm_id, Placement(change.vm_id, "Running" if on else "Off", change.machine))
        self._documents.remove(Replica, change.vm_id)
        half = self._halves.get(change.vm_id)
        if half is None or half.side != "Replica":
            return
        if change.event is Event.DISABLE:
            self._machinery.forget(self.folders.tracking(change.vm_id))
            self._halves.step(change.vm_id, Event.DISABLE)
        else:
            known = {"peer_prepared": change.initial_done, "peer_is_replica": not change.initial_done}
            self._halves.step(change.vm_id, change.event, known, **self._changes(change, half))

    def _changes(self, change: Changeover, half: Half) -> Mapping[str, object]:
        """What of the half is as at the beginning of a relation."""
        return {
            **rpo.settled(half, self._clock.now()),
            "peer_site": change.peer_site,
            "association": change.association,
            "peer_address": change.peer_address,
            "peer_port": change.peer_port,
            "settings": change.settings or half.settings,
            "generation": change.generation,
            "initial_done": change.initial_done,
            "initial_total_bytes": half.initial_total_bytes if change.initial_done else None,
            "initial_start_time": None,
            "media": "",
            "resynchronize_start_time": None,
            "resynchronize_percent": None,
            "peer_resynchronizes": False,
            "window": Window(start=self._clock.now()),
            "failures": 0,
            "failure": "",
            "retry_time": None,
            "last_cycle_start": None,
            "failover_point": None,
            "failover_clone": "",
            "planned": False,
        }
