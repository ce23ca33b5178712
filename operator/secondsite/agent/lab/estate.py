"""What runs at a lab site: guests, the primary's side and the replica's side of relations, the data port."""

from __future__ import annotations

import dataclasses
import functools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from secondsite import logs
from secondsite.agent.driver import SiteContext
from secondsite.agent.lab import datacentre
from secondsite.agent.lab.changeover import Changeovers
from secondsite.agent.lab.clock import LabClock
from secondsite.agent.lab.engine import EngineError
from secondsite.agent.lab.events import Event
from secondsite.agent.lab.fault_guest import at_rest
from secondsite.agent.lab.fault_link import BreakableTLS
from secondsite.agent.lab.faults import Faults
from secondsite.agent.lab.folders import Folders
from secondsite.agent.lab.guests import Guest
from secondsite.agent.lab.halves import Halves
from secondsite.agent.lab.host_log import HostLog
from secondsite.agent.lab.lines import Lines
from secondsite.agent.lab.machinery import Machinery
from secondsite.agent.lab.population import populated
from secondsite.agent.lab.primary import Primary
from secondsite.agent.lab.recovered import Recovered
from secondsite.agent.lab.replicas import Replicas
from secondsite.agent.lab.scrubber import Scrubber
from secondsite.agent.lab.slots import slot_id
from secondsite.agent.lab.state import Half, Replica, SiteSettings
from secondsite.agent.lab.table import find
from secondsite.agent.lab.works import Works

P = TypeVar("P")

_log = logs.get(__name__)


class Estate:
    """Opens everything in the order that crash safety asks for, and closes it the other way round.

    `changed` is called with a VM's id whenever its half or its points changed; it must only take note.
    """

    def __init__(
        self,
        context: SiteContext,
        path: Path,
        clock: LabClock,
        changed: Callable[[str], None],
        *,
        keep_every_cycle: bool = False,
        machinery: Machinery | None = None,
    ) -> None:
        self.path = path
        self.folders = Folders(context.data)
        self.machinery = machinery or Machinery()
        self.centre = self.machinery.centre(path)
        self.documents = self.machinery.documents(self.folders.documents)
        self.faults = Faults(self.documents, clock)
        self.context = dataclasses.replace(context, tls=BreakableTLS(context.tls, self.faults))
        self.clock = clock = dataclasses.replace(clock, now=self.faults.now)
        self.machinery.now = clock.now
        self.machinery.unchanged_seconds = 0 if keep_every_cycle else clock.point_spacing_seconds
        self.halves = Halves(self.documents, self._half_changed, HostLog(clock.now))
        self.settings = self.documents.get(SiteSettings, "site") or SiteSettings()
        self.lines = Lines(self.machinery, self.context.tls, self.documents, self.faults, self._disk_bytes)
        self.lines.limit(self.settings.bandwidth)
        self.guests: dict[str, Guest] = {}
        self.primaries: dict[str, Primary] = {}
        self.rounds = self.machinery.rounds(clock.knobs.maximum_active_transfers)
        self._works = Works(clock, self.machinery, self.rounds, changed, self.centre.offers)
        self.replicas = Replicas(self.folders, self.halves, self._works, keep_every_cycle=keep_every_cycle)
        self.changes = Changeovers(self.folders, self.documents, self.halves, self.machinery, clock)
        self.recovered = Recovered(self.changes, self.documents, self.halves, self.replicas, self.machinery)
        self._listed = self.centre
        self._changed = changed
        self._lock = threading.RLock()
        self._scrubber = Scrubber(self.replicas.all, clock, self.machinery.thread)

    def open(self) -> None:
        """What a kill interrupted; then disks, then tracking, then guests: no write escapes the map."""
        self.changes.finish()
        self.repopulate()
        stuck = self.changes.stuck
        each = self.machinery.each
        machines = [machine for machine in self.centre.vms if machine.id not in stuck]
        each(lambda machine: self._try(machine.id, self._open_guest, machine), machines)
        # What is wrong with their disks has been said.
        stuck = stuck | {machine.id for machine in machines if machine.id not in self.guests}
        kept = [replica.vm_id for replica in self.documents.all(Replica).values() if replica.disks]
        each(self.replicas.try_open, [vm_id for vm_id in kept if vm_id not in stuck])
        primaries = [half for half in self.halves.all() if half.side == "Primary"]
        self._forget_tracking_but({half.vm_id for half in primaries} | stuck)
        mine = [half for half in primaries if half.vm_id not in stuck]
        each(lambda half: self._try(half.vm_id, self._make_primary, half), mine)
        self.recovered.open()
        for guest in self.guests.values():
            guest.start()
        self._scrubber.start()

    def close(self) -> None:
        """Guests first, so that what they wrote is in the map."""
        self._scrubber.stop()
        for guest in self.guests.values():
            guest.stop()
        self.recovered.close()
        self.machinery.each(Primary.close, list(self.primaries.values()))
        self.replicas.close()
        self.rounds.close()
        self.lines.close()
        for guest in self.guests.values():
            guest.close()
        self.documents.close()

    def open_primary(self, half: Half) -> Primary:
        """The primary's side of a half; it goes on with what it was doing."""
        with self._lock:
            if half.vm_id not in self.primaries:
                self._make_primary(half)
            return self.primaries[half.vm_id]

    def _make_primary(self, half: Half) -> None:
        guest = self.guests.get(half.vm_id)
        if guest is None:
            raise EngineError(f"VM {half.vm_name} is replicated, but not in {self.path.name} any more")
        disks = {slot_id(slot): guest.disks[slot_id(slot)] for slot in half.disks}
        quiesce = functools.partial(at_rest, self.faults, guest)
        root, host = self.folders.tracking(half.vm_id), guest.machine.host
        self.primaries[half.vm_id] = Primary(
            half.vm_id, root, disks, self.halves, self._works, self.lines.client, quiesce, host
        )

    def close_primary(self, vm_id: str) -> None:
        """The relation is over: tracking is forgotten."""
        with self._lock:
            primary = self.primaries.pop(vm_id, None)
        if primary:
            primary.close(discard=True)
        self.machinery.forget(self.folders.tracking(vm_id))

    def repopulate(self) -> None:
        """Look again which VMs are here, and which of them are on."""
        with self._lock:
            self.centre = populated(self._listed, self.changes.placements())

    def power(self, vm_id: str, *, on: bool) -> None:
        """Start or shut down a VM of this site. Raises KeyError, and EngineError where it cannot be shut down."""
        guest = self.guests[vm_id]
        if not on:
            guest.shut_down()
        self.changes.power(vm_id, on=on)
        if on:
            guest.turn_on()
        self.repopulate()

    def came_to_run(self, vm_id: str, half: Half | None) -> None:
        """A change of roles brought the VM here: it goes on on its disks, tracked where it is replicated."""
        self.repopulate()
        machine = self.centre.machine(vm_id)
        if machine is None:
            raise EngineError(f"VM {vm_id} came to this site without its configuration")
        guest = self._guest(machine)
        with self._lock:
            self.guests = self.guests | {vm_id: guest}
        if half is not None:
            self.open_primary(half)
        guest.start()

    def became_replica(self, vm_id: str) -> None:
        """A change of roles took the VM away: its disks are the store of a replica by now."""
        with self._lock:
            self.primaries.pop(vm_id, None)
            guest = self.guests.get(vm_id)
            self.guests = {other: found for other, found in self.guests.items() if other != vm_id}
        if guest:
            guest.close()
        self.repopulate()
        self.replicas.open(vm_id)

    def configure(self, settings: SiteSettings) -> None:
        """Take over the site's own settings, durably."""
        self.documents.put("site", settings)
        self.settings = settings
        self.lines.limit(settings.bandwidth)

    def refresh(self) -> None:
        """Read the data-centre file again. New VMs start; one that left is stopped, and its disks are kept.

        One that left but is replicated runs on, and stays in the inventory: the first refresh after the end of its
        replication stops it. After a restart its relation is in Error, for then nobody knows its disks any more.
        """
        found = self.machinery.centre(self.path)
        centre = populated(found, self.changes.placements())
        fresh = [machine for machine in centre.vms if machine.id not in self.guests]
        started = {machine.id: self._guest(machine) for machine in fresh}
        with self._lock:
            left = {vm_id: self.guests[vm_id] for vm_id in self.guests if centre.machine(vm_id) is None}
            kept = {vm_id: guest for vm_id, guest in left.items() if self.halves.get(vm_id)}
            # A new one: others go through the old one meanwhile.
            listed = {vm_id: guest for vm_id, guest in self.guests.items() if vm_id not in left}
            self.guests = listed | kept | started
            left_over = tuple(guest.machine for guest in kept.values())
            self._listed = found.model_copy(update={"vms": (*found.vms, *left_over)})
            self.centre = centre.model_copy(update={"vms": (*centre.vms, *left_over)})
        for guest in started.values():
            guest.start()
        for vm_id, guest in left.items():
            if vm_id in kept:
                _log.warning("a VM left the data-centre file while it is replicated: it runs on", vm=guest.machine.name)
            else:
                guest.close()

    def _try(self, vm_id: str, opens: Callable[[P], object], what: P) -> None:
        """One VM that cannot be opened must not take the others with it: its relation fails, and says why."""
        try:
            opens(what)
        except (EngineError, OSError) as error:
            _log.exception("a VM's replication cannot be opened", vm=vm_id)
            half = self.halves.get(vm_id)
            broken = half and find(half.side, half.state, Event.CYCLE_REFUSED, half.look)
            if broken:
                self.halves.step(vm_id, Event.CYCLE_REFUSED, failure=str(error))
            elif half:
                self.halves.update(vm_id, failure=str(error))

    def _open_guest(self, machine: datacentre.Machine) -> None:
        self.guests[machine.id] = self._guest(machine)

    def _guest(self, machine: datacentre.Machine) -> Guest:
        folder = self.folders.disks(machine.id)
        if not self.machinery.has_disks(machine, folder):
            # It is made anew, and a map of changes would vouch for what was in it.
            self._try(machine.id, self.machinery.distrust, self.folders.tracking(machine.id))
        return self.machinery.guest(machine, folder)

    def _disk_bytes(self, vm_id: str) -> int:
        guest = self.guests.get(vm_id)
        return sum(disk.size for disk in guest.disks.values()) if guest else 0

    def _forget_tracking_but(self, wanted: set[str]) -> None:
        """A kill between the end of a relation and that of its tracking leaves a map that fits no later relation."""
        for found in self.machinery.tracked(self.folders.tracked):
            if found not in wanted:
                self.machinery.forget(self.folders.tracking(found))

    def _half_changed(self, vm_id: str) -> None:
        with self._lock:
            primary, store = self.primaries.get(vm_id), self.replicas.get(vm_id)
        if primary:
            primary.wake()
        if store:
            store.tidy()
        self._changed(vm_id)
