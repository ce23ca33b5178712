"""VMs that run from the clone of a recovery point: replicas that were failed over, until their role is settled."""

from __future__ import annotations

import contextlib

from secondsite import logs
from secondsite.agent.lab.changeover import Changeovers
from secondsite.agent.lab.datacentre import Machine
from secondsite.agent.lab.engine import Clone, EngineError, PointInUse, UnknownPoint
from secondsite.agent.lab.events import Event
from secondsite.agent.lab.guests import Guest
from secondsite.agent.lab.halves import Halves
from secondsite.agent.lab.machinery import Machinery
from secondsite.agent.lab.population import landed
from secondsite.agent.lab.relation import point_fact
from secondsite.agent.lab.replica import ReplicaStore
from secondsite.agent.lab.replicas import Replicas
from secondsite.agent.lab.state import Documents, Half, Replica
from secondsite.wire.peer import Consistency
from secondsite.wire.problems import Code, Refusal

_log = logs.get(__name__)

FAILED_OVER = frozenset({"FailedOverWaitingCompletion", "FailedOver"})
NOT_FAILED_OVER: dict[str, object] = {"failover_point": None, "failover_clone": "", "planned": False}


class Recovered:
    """The failed-over VMs of a site. `guests` are those that are on, by VM."""

    def __init__(
        self,
        changes: Changeovers,
        documents: Documents,
        halves: Halves,
        replicas: Replicas,
        machinery: Machinery,
    ) -> None:
        self._changes = changes
        self._documents = documents
        self._halves = halves
        self._replicas = replicas
        self._machinery = machinery
        self.guests: dict[str, Guest] = {}

    def open(self) -> None:
        """After the replicas: what a kill left between the engine's word and ours, then the VMs that are on."""
        for half in self._halves.all():
            store = self._replicas.get(half.vm_id)
            if half.side != "Replica" or store is None:
                continue
            try:
                self._catch_up(half, store)
                if self._halves.state(half.vm_id) in FAILED_OVER and self._changes.is_on(half.vm_id):
                    self.start(half.vm_id)
            except (EngineError, OSError, Refusal) as error:
                _log.exception("a failed-over VM cannot be opened", vm=half.vm_name)
                self._halves.update(half.vm_id, failure=str(error))

    def start(self, vm_id: str) -> None:
        """Start-VM on a failed-over replica; one that is on stays so. Raises Refusal, EngineError."""
        half = self._halves.get(vm_id)
        store, replica = self._replicas.get(vm_id), self._documents.get(Replica, vm_id)
        if vm_id in self.guests:
            return
        if half is None or store is None or replica is None or not replica.machine:
            raise Refusal(
                Code.STATE_CONFLICT,
                f"The replica of VM {vm_id} cannot be started: its configuration or its files are not here",
                remedy="Cancel the failover, and protect the VM again; or repair its store.",
            )
        self._changes.power(vm_id, on=True)
        try:
            guest = self._opened(vm_id, store.open_clone(half.failover_clone), landed(replica, half))
        except BaseException:
            # A start that failed must not come true at the next one of the agent.
            self._changes.power(vm_id, on=False)
            raise
        self.guests = self.guests | {vm_id: guest}
        guest.turn_on()

    def _opened(self, vm_id: str, clone: Clone, machine: Machine) -> Guest:
        try:
            return self._machinery.guest_on(clone, machine, self._changes.folders.disks(vm_id))
        except BaseException:
            clone.close()
            raise

    def machine(self, vm_id: str) -> Machine | None:
        """The VM as it runs here; None where it is off."""
        guest = self.guests.get(vm_id)
        return guest.machine if guest else None

    def shut_down(self, vm_id: str) -> None:
        """Stop-VM: cleanly. One that is off is no error."""
        guest = self.guests.get(vm_id)
        if guest:
            guest.shut_down()
            self.pause(vm_id)
        self._changes.power(vm_id, on=False)

    def turn_off(self, vm_id: str) -> None:
        """As if its power was cut."""
        self._changes.power(vm_id, on=False)
        self.pause(vm_id)

    def pause(self, vm_id: str) -> bool:
        """Let go of the clone; whether the VM was on, and is to go on where it was."""
        guest = self.guests.get(vm_id)
        # A new one each time: others go through the old one meanwhile.
        self.guests = {other: found for other, found in self.guests.items() if other != vm_id}
        if guest:
            guest.close()
        return guest is not None

    def close(self) -> None:
        """Stop every one; they stay on."""
        for vm_id in list(self.guests):
            self.pause(vm_id)

    def forget_others(self, half: Half, store: ReplicaStore) -> None:
        """Give up what is older than the point that was failed over to (table row 28)."""
        points = [point.id for point in store.points()]
        chosen = half.failover_point.id if half.failover_point else ""
        for older in points[: points.index(chosen)] if chosen in points else ():
            # One that is looked at, or that a test VM stands on, is hidden all the same.
            with contextlib.suppress(PointInUse, UnknownPoint):
                store.store.merge(older)

    def _catch_up(self, half: Half, store: ReplicaStore) -> None:
        standing = self._machinery.failed_over(store.store)
        if standing and half.state not in FAILED_OVER | {"RecoveryInProgress"}:
            point = next(point for point in store.points() if point.id == standing.point)
            newest = store.points()[-1]
            planned = point.id == newest.id and point.consistency is Consistency.Synced
            fact = point_fact(half.vm_name, point)
            changes = {"failover_point": fact, "failover_clone": standing.clone, "planned": planned}
            self._halves.step(half.vm_id, Event.FAILOVER, **changes)
        if self._halves.state(half.vm_id) == "RecoveryInProgress":
            self._halves.step(half.vm_id, Event.FAILOVER_DONE)
        elif standing is None and half.state == "FailedOverWaitingCompletion":
            self._changes.power(half.vm_id, on=False)
            self._halves.step(half.vm_id, Event.CANCEL_FAILOVER, **NOT_FAILED_OVER)
        elif half.state == "FailedOver":
            self.forget_others(half, store)
