"""Changes of roles as a lab site carries them out: a replica comes to run here, a primary becomes a replica."""

from __future__ import annotations

import threading

from secondsite.agent.lab import inventory
from secondsite.agent.lab.datacentre import Machine
from secondsite.agent.lab.engine import EngineError, NoSpace, PointInUse
from secondsite.agent.lab.estate import Estate
from secondsite.agent.lab.events import Event
from secondsite.agent.lab.lookups import require_same_hurry, store_of, target_association
from secondsite.agent.lab.population import landed
from secondsite.agent.lab.replica import ReplicaStore
from secondsite.agent.lab.report import Reporter
from secondsite.agent.lab.reversal_peer import Reversal, Reversed
from secondsite.agent.lab.slots import slot_fact, slot_id
from secondsite.agent.lab.state import Changeover, Half, Replica
from secondsite.agent.lab.table import find
from secondsite.wire.problems import Code, Refusal


class Roles:
    """The one place where disks change hands."""

    def __init__(self, estate: Estate, reporter: Reporter) -> None:
        self._estate = estate
        self._reporter = reporter
        # The peer's reversal and a command of our own may come at the same moment.
        self.lock = threading.RLock()

    def machine_here(self, half: Half) -> str:
        """The configuration that a replica VM would run with here, as `Changeover.machine` wants it. Raises Refusal."""
        replica = self._estate.documents.get(Replica, half.vm_id)
        if replica is None or not replica.machine:
            raise Refusal(
                Code.STATE_CONFLICT,
                f"The replica of {half.vm_name} was made without the configuration of its VM",
                remedy="Cancel the failover, and protect the VM again.",
            )
        return landed(replica, half).model_dump_json(by_alias=True)

    def show(self) -> None:
        """Publish which VMs are here and on."""
        self._reporter.inventory()

    def prepare(self, half: Half) -> None:
        """What may be refused before a replica comes to run for good; older points go. The guest runs on."""
        try:
            self._estate.machinery.prepare_promotion(store_of(self._estate, half).store)
        except EngineError as error:
            raise _refused(half.vm_name, error) from error

    def take_over(self, change: Changeover, name: str) -> None:
        """A failed-over replica comes to run here for good. After `prepare`. Raises Refusal; then it runs on as it did.

        The guest rests meanwhile, and goes on where it was.
        """
        estate, vm_id = self._estate, change.vm_id
        estate.changes.begin(change)
        ran = estate.recovered.pause(vm_id)
        try:
            estate.replicas.give_away(vm_id, lambda store: self._promote(change, store))
        except (EngineError, OSError) as error:
            if estate.changes.undo(change) and ran:
                # Its power did not change: it rested.
                estate.recovered.start(vm_id)
            raise _refused(name, error) from error
        estate.changes.settle(change)
        estate.came_to_run(vm_id, estate.halves.get(vm_id))
        self._reporter.inventory()

    def give_up(self, change: Changeover, half: Half) -> None:
        """A primary becomes a replica: its disks are the store from now on. Raises Refusal; then all is as before."""
        estate, vm_id = self._estate, change.vm_id
        primary = estate.open_primary(half)
        estate.changes.begin(change)
        try:
            estate.replicas.set_aside(vm_id)
            store = estate.folders.replica(vm_id)
            primary.retire(lambda source: estate.machinery.demote(source, store, change.generation))
        except (EngineError, OSError) as error:
            estate.changes.undo(change)
            raise _refused(half.vm_name, error) from error
        estate.changes.settle(change)
        estate.became_replica(vm_id)
        self._reporter.inventory()

    def reversed_by(self, site: str, vm_id: str, message: Reversal) -> Reversed:
        """The peer reverses: this side becomes the replica, or is one by now. Raises Refusal."""
        with self.lock:
            half = self._half_of(site, vm_id)
            target_association(self._estate, message.association, site)
            require_same_hurry(self._estate, message.hurry)
            if half.side == "Replica":
                planned = half.state != "WaitingForInitialReplication" and half.generation == message.generation
                if planned or half.state == "WaitingForInitialReplication":
                    return Reversed(planned=planned, generation=half.generation)
            self._require_prepared(half)
            if not message.look:
                generation = max(message.generation, half.generation + 1)
                change = Changeover(
                    vm_id=vm_id,
                    becomes="Replica",
                    event=Event.PEER_REVERSED,
                    generation=generation,
                    replica=self.as_replica(half, message.association, site),
                    association=message.association,
                    peer_site=site,
                    settings=message.settings,
                    initial_done=True,
                )
                self.give_up(change, half)
                self._reporter.relation(vm_id)
            return Reversed(planned=True, generation=half.generation)

    def as_replica(self, half: Half, association: str, site: str) -> Replica:
        """What is to be remembered of a VM of this site while it is a replica here. Raises Refusal."""
        machine = self._estate.centre.machine(half.vm_id)
        if machine is None:
            raise Refusal(Code.NOT_FOUND, f"No VM {half.vm_id} at this site")
        sizes = {slot_fact(disk.slot): int(disk.size) for disk in machine.disks}
        return Replica(
            vm_id=half.vm_id,
            vm_name=half.vm_name,
            association=association,
            peer_site=site,
            cloud=machine.cloud,
            host=machine.host,
            storage=machine.storage,
            generation=machine.generation,
            operating_system=machine.operating_system,
            disks=tuple((slot, sizes[slot]) for slot in half.disks),
            adapters=inventory.adapters_of(self._estate.centre, machine),
            machine=_as_left(machine).model_dump_json(by_alias=True),
            home=True,
        )

    def _promote(self, change: Changeover, store: ReplicaStore) -> None:
        vm_id, folders, machinery = change.vm_id, self._estate.folders, self._estate.machinery
        replica = self._estate.documents.get(Replica, vm_id)
        names = [slot_id(slot) for slot, _ in replica.disks] if replica else []
        disks = {name: folders.disk(vm_id, name) for name in names}
        # Those that were excluded must be there before: one that is made later would cost the others their map.
        machinery.make_disks(Machine.model_validate_json(change.machine), folders.disks(vm_id), names)
        machinery.promote(store.store, folders.tracking(vm_id), disks)

    def _require_prepared(self, half: Half) -> None:
        if find(half.side, half.state, Event.PEER_REVERSED, half.look) is None:
            raise Refusal(
                Code.STATE_CONFLICT,
                f"{half.vm_name} is {half.state} at {self._estate.context.site}, and not prepared for a failover",
                remedy="Shut it down there and demote it to a replica, then reverse; what it wrote alone is given up.",
            )

    def _half_of(self, site: str, vm_id: str) -> Half:
        half = self._estate.halves.get(vm_id)
        if half is None:
            raise Refusal(
                Code.NOT_FOUND,
                f"VM {vm_id} has no replication at {self._estate.context.site} (any more)",
                remedy="Disable its replication at the other side, too; its VM stays there as it runs.",
            )
        if half.peer_site != site:
            raise Refusal(Code.NOT_AUTHORIZED, f"{half.vm_name} is replicated with {half.peer_site}, not with {site}")
        return half


def _as_left(machine: Machine) -> Machine:
    """A replica is off until it is started."""
    return machine.model_copy(update={"state": "Off"})


def _refused(name: str, error: EngineError | OSError) -> Refusal:
    if isinstance(error, NoSpace):
        return Refusal(Code.STORAGE_EXHAUSTED, f"The roles of {name} cannot change: {error}")
    if isinstance(error, PointInUse):
        return Refusal(
            Code.IN_USE,
            f"The roles of {name} cannot change while a recovery point is in use: {error}",
            remedy="Stop the test failover of the VM first; where a point is only being read, try again.",
        )
    return Refusal(Code.INTERNAL, f"The roles of {name} cannot change: {error}", remedy="Mend that, then try again.")
