"""Publishing of facts: news at once, numbers that always move at most once a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import msgspec

from secondsite import logs
from secondsite.agent.driver import Sink
from secondsite.agent.lab import counters, heap, inventory
from secondsite.agent.lab.choice import offered
from secondsite.agent.lab.engine import EngineError
from secondsite.agent.lab.estate import Estate
from secondsite.agent.lab.fault_port import no_room
from secondsite.agent.lab.faults import Fault
from secondsite.agent.lab.listing import listed_vms, replica_vm
from secondsite.agent.lab.machinery import Runner
from secondsite.agent.lab.relation import Files, primary_fact, replica_fact
from secondsite.agent.lab.state import Association, Replica, Reservation, TestNetwork, Tombstone
from secondsite.wire import inventory as facts
from secondsite.wire.facts import Relation

_log = logs.get(__name__)

PULSE_SECONDS = 1.0
# Pending bytes move with every write of every guest: for a VM that replicates, that is no news once a second.
_CALM_PULSES = 5
# Initial copies leave much behind that nothing needs any more.
_TRIM_PULSES = 60
# At most so many are looked at again in a second without having changed, the others in turn.
_LOOKS = 100
# An inventory that takes longer than this is not told anew with each replica that is made.
_LONG_SECONDS = 0.02
# Of the time, for inventories that are told later.
_INVENTORY_SHARE = 0.05


class Reporter:
    """Computes facts and hands them to the sink. Its lock orders them: an older fact never follows a newer one."""

    def __init__(self, sink: Sink, thread: Callable[[str, Callable[[], None]], Runner]) -> None:
        self.sink = sink
        self._estate: Estate | None = None
        self._lock = threading.RLock()
        self._said: dict[str, Relation] = {}
        self._test_vms: dict[str, str] = {}
        self._machines: set[str] = set()
        self._shown = False
        self._inventory_seconds = 0.0
        self._inventory_time: float | None = None
        self._looked = 0
        self._dirty: set[str] = set()
        self._news = threading.Condition()
        self._closing = False
        self._thread = thread("facts", self._run)

    def changed(self, vm_id: str) -> None:
        """Take note that a VM's relation has changed; it is published soon. May be called under any lock."""
        with self._news:
            self._dirty.add(vm_id)
            self._news.notify_all()

    def start(self, estate: Estate) -> None:
        """Publish everything once, then go on."""
        self._estate = estate
        self.everything()
        self._thread.start()

    def stop(self) -> None:
        """Say no more."""
        with self._news:
            self._closing = True
            self._news.notify_all()
        self._thread.join()

    def everything(self) -> None:
        """Publish every fact of the site."""
        with self._lock:
            estate = self._at
            for association in estate.documents.all(Association).values():
                self.association(association)
            for tombstone in estate.documents.all(Tombstone).values():
                self.sink.publish(
                    tombstone.id,
                    facts.Tombstone(tombstone.id, tombstone.vault, tombstone.vm_id, tombstone.epoch, tombstone.steps),
                )
            self.inventory()
            for half in estate.halves.all():
                self.relation(half.vm_id)

    def inventory(self) -> None:
        """Publish VMs, networks, pools, test networks and the site; withdraw VMs that are no longer served."""
        with self._lock:
            began, self._inventory_time = time.monotonic(), None
            self._list_inventory()
            self._inventory_seconds = time.monotonic() - began

    def replica(self, vm_id: str) -> None:
        """Publish a replica VM that was made: at once, and what it means for the site soon, where the site is large."""
        with self._lock:
            estate = self._at
            found = estate.documents.get(Replica, vm_id)
            if found is None or estate.faults.all() or self._inventory_seconds < _LONG_SECONDS:
                self.inventory()
                return
            self.sink.publish(vm_id, replica_vm(estate, found))
            self._machines.add(vm_id)
            if self._inventory_time is None:
                self._inventory_time = time.monotonic() + self._inventory_seconds / _INVENTORY_SHARE

    def _list_inventory(self) -> None:
        """Lock held."""
        estate = self._at
        if self._shown and estate.faults.on(Fault.INVENTORY_STALE):
            return
        self._shown = True
        replicas = estate.documents.all(Replica).values()
        listed = listed_vms(estate, replicas)
        for vm in listed:
            self.sink.publish(vm.id, vm)
        named = {vm.id for vm in listed}
        for gone in self._machines - named:
            self.sink.withdraw(facts.VM, gone)
        self._machines = named
        for network in inventory.network_facts(estate.centre):
            self.sink.publish(network.name, network)
        self.pools()
        self.test_networks()
        site = inventory.site_fact(estate.centre, estate.settings, replicas)
        settling = estate.faults.on(Fault.VMMS_RESTART)
        self.sink.publish("site", msgspec.structs.replace(site, state="Settling") if settling else site)

    def pools(self) -> None:
        """Publish the address pools."""
        with self._lock:
            reservations = self._at.documents.all(Reservation).values()
            for pool in inventory.pool_facts(self._at.centre, list(reservations)):
                self.sink.publish(f"{pool.network}/{pool.subnet}", pool)

    def test_networks(self) -> None:
        """Publish the isolated networks and who is on them."""
        with self._lock:
            halves = self._at.halves.all()
            for network in self._at.documents.all(TestNetwork).values():
                vms = inventory.test_network_vms(network.name, halves)
                self.sink.publish(network.id, facts.TestNetwork(network.id, network.name, vms))

    def association(self, document: Association) -> None:
        """Publish one association."""
        fact = facts.Association(
            id=document.id,
            role=document.role,
            cloud=document.cloud,
            peer_site=document.peer_site,
            peer_cloud=document.peer_cloud,
            authentication=document.authentication,
            port=document.port,
            digest=document.digest,
            data_host=document.data_host,
            data_address=document.data_address,
            data_port=document.data_port,
        )
        self.sink.publish(document.id, fact)

    def compute(self, vm_id: str) -> Relation | None:
        """The relation of a VM as it stands now."""
        estate = self._at
        now, window_seconds = estate.clock.now(), estate.clock.monitoring_seconds
        estate.halves.amend(vm_id, lambda half: counters.turned(half.window, now, window_seconds))
        half = estate.halves.get(vm_id)
        if half is None:
            return None
        if half.side == "Primary":
            primary = estate.primaries.get(vm_id)
            return primary_fact(half, primary.tracking.progress() if primary else None, estate.clock, now)
        store = estate.replicas.get(vm_id)
        points = offered(half, store.points()) if store else []
        replica, full = estate.documents.get(Replica, vm_id), store.out_of_space if store else ""
        full = full or no_room(estate.faults, vm_id)
        broken = "" if store else estate.replicas.unreadable.get(vm_id, "")
        return replica_fact(half, Files(points, full, broken), replica, estate.clock, now)

    def relation(self, vm_id: str) -> None:
        """Publish a VM's relation and its test VM now."""
        with self._lock:
            fact, before = self.compute(vm_id), self._said.get(vm_id)
            if fact is None:
                self._said.pop(vm_id, None)
                self.sink.withdraw(Relation, vm_id)
            else:
                if before and msgspec.structs.replace(fact, time=before.time) == before:
                    fact = before
                self._said[vm_id] = fact
                self.sink.publish(vm_id, fact)
            self._test_vm(vm_id, fact)

    def _test_vm(self, vm_id: str, fact: Relation | None) -> None:
        test, before = fact.test_vm if fact else None, self._test_vms.get(vm_id)
        if before and (test is None or test.id != before):
            del self._test_vms[vm_id]
            self.sink.withdraw(facts.VM, before)
        half, replica = self._at.halves.get(vm_id), self._at.documents.get(Replica, vm_id)
        if test and half and replica:
            self._test_vms[vm_id] = test.id
            self.sink.publish(test.id, inventory.test_vm_fact(replica, test, half.test_adapters))
        if before or test:
            self.test_networks()

    @property
    def _at(self) -> Estate:
        if self._estate is None:
            raise RuntimeError("the reporter is not started")
        return self._estate

    def _run(self) -> None:
        pulse, count = time.monotonic() + PULSE_SECONDS, 0
        while not self._closing:
            with self._news:
                if not self._dirty:
                    self._news.wait(max(0.0, pulse - time.monotonic()))
                due, self._dirty = self._dirty, set()
            if time.monotonic() >= pulse:
                pulse, count = time.monotonic() + PULSE_SECONDS, count + 1
                due |= self._looks(count)
                self._tell_inventory()
                if count % _TRIM_PULSES == 0:
                    heap.trim()
            for vm_id in due:
                self._say(vm_id)

    def _looks(self, pulse: int) -> set[str]:
        """Whom to look at without news: those that copy each second, the others each five, none of them too often."""
        halves = self._at.halves.all()
        moving = {half.vm_id for half in halves if not half.initial_done}
        if len(halves) <= _LOOKS * _CALM_PULSES:
            return {half.vm_id for half in halves} if pulse % _CALM_PULSES == 0 else moving
        self._looked = (self._looked + _LOOKS) % len(halves)
        turns = (halves[self._looked :] + halves[: self._looked])[:_LOOKS]
        return {half.vm_id for half in turns} | (moving if len(moving) <= _LOOKS else set())

    def _tell_inventory(self) -> None:
        if self._inventory_time is not None and time.monotonic() >= self._inventory_time:
            self.inventory()

    def news(self) -> None:
        """Publish what has changed and is not said yet."""
        with self._news:
            due, self._dirty = self._dirty, set()
        for vm_id in due:
            self._say(vm_id)

    def _say(self, vm_id: str) -> None:
        try:
            self.relation(vm_id)
        except (EngineError, OSError, ValueError):
            # Its files are closed under our hands: the relation ends, and that is news of its own.
            _log.debug("a relation could not be read", vm=vm_id, exc_info=True)
