"""Test failover: a test VM is a thin clone of one recovery point. Chain and replication go on untouched."""

from __future__ import annotations

import hashlib
import threading
from typing import cast

import msgspec

from secondsite.agent.driver import Command
from secondsite.agent.lab import inventory
from secondsite.agent.lab.choice import choose
from secondsite.agent.lab.engine import EngineError, UnknownPoint
from secondsite.agent.lab.estate import Estate
from secondsite.agent.lab.events import Event
from secondsite.agent.lab.lookups import half_of, store_of
from secondsite.agent.lab.probe import Answer, probe
from secondsite.agent.lab.relation import point_fact
from secondsite.agent.lab.replica import ReplicaStore
from secondsite.agent.lab.resources import Resources
from secondsite.agent.lab.results import Handlers, Result, point_result
from secondsite.agent.lab.slots import slot_id
from secondsite.agent.lab.state import Half, Replica
from secondsite.agent.lab.truth import examine
from secondsite.wire import arguments
from secondsite.wire.facts import TestVM
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Code, Refusal

_CHOICES = 3


class TestFailovers:
    """Start-VMFailover -AsTest, the checks, Stop-VMFailover. At most one test VM per VM."""

    def __init__(self, estate: Estate, resources: Resources) -> None:
        self._estate = estate
        self._resources = resources
        # The engine opens a clone once at a time.
        self._clones = threading.Lock()

    @property
    def on_primary(self) -> Handlers:
        """Nothing: test VMs are made from replicas."""
        return {}

    @property
    def elsewhere(self) -> Handlers:
        """What is asked of a replica."""
        return {Verb.START_TEST_FAILOVER: self.start, Verb.STOP_TEST_FAILOVER: self.stop}

    def start(self, command: Command) -> Result:
        """Clone a recovery point; the same test again finds its test VM. Raises Refusal."""
        wish = cast("arguments.StartTestFailover", command.arguments)
        half = half_of(self._estate, command.vm_id, Event.START_TEST, "Replica")
        if half.test_vm and half.test_vm.owner == wish.owner and half.test_vm.state == "Running":
            return _result(half.test_vm)
        if not half.test_vm or half.test_vm.owner != wish.owner:
            self._estate.halves.require(half.vm_id, half.vm_name, Event.START_TEST)
        network = self._resources.test_network(wish.network)
        networks = {plan.adapter: self._resources.test_network(plan.network) for plan in wish.adapters}
        store, replica = store_of(self._estate, half), self._replica(half.vm_id)
        for _ in range(_CHOICES):
            point = choose(half.vm_name, store.points(), wish)
            test = TestVM(
                id=inventory.make_test_vm_id(half.vm_id, wish.owner),
                name=f"{half.vm_name} - Test",
                host=replica.host,
                owner=wish.owner,
                state="Off",
                network=network,
                recovery_point=point_fact(half.vm_name, point),
            )
            adapters = inventory.test_adapters(replica, network, networks, wish.adapters)
            # Its mark first: whatever a killed agent leaves half made is found, and cleaned up, by its owner.
            clone_id = _clone_id(wish.owner, point.id)
            self._drop_stale(half, store, clone_id)
            marks = {"test_vm": test, "test_adapters": adapters, "clone_id": clone_id}
            self._estate.halves.update(half.vm_id, **marks, last_test_time=self._estate.clock.now())
            try:
                self._clone(store, point.id, clone_id)
            except UnknownPoint:
                # Retention merged it between choice and clone: choose again.
                continue
            # As long as a host needs to make one.
            threading.Event().wait(self._estate.clock.scaled(self._estate.clock.knobs.test_vm_seconds))
            running = msgspec.structs.replace(test, state="Running")
            self._estate.halves.update(half.vm_id, test_vm=running)
            return _result(running)
        raise Refusal(Code.BUSY, f"The recovery points of {half.vm_name} change too fast to clone one; try again")

    def check(self, command: Command) -> Answer:
        """Probe the test VM once. Raises Refusal where the test has none."""
        wish = cast("arguments.CheckTestVM", command.arguments)
        half = half_of(self._estate, command.vm_id, Event.CHECK_TEST, "Replica")
        self._estate.halves.require(half.vm_id, half.vm_name, Event.CHECK_TEST)
        test = half.test_vm
        if test is None or test.owner != wish.owner or test.state != "Running":
            raise Refusal(
                Code.STATE_CONFLICT,
                f"Test {wish.owner} has no running test VM of {half.vm_name}",
                remedy="Start the test failover first.",
            )
        try:
            return self._probe(half, wish, connected=bool(test.network))
        except EngineError as error:
            return Answer(False, f"the disk of {test.name} cannot be read: {error}")

    def stop(self, command: Command) -> Result:
        """Delete the test VM. Nothing there is no error; another test's is refused."""
        wish = cast("arguments.StopTestFailover", command.arguments)
        half = self._estate.halves.get(command.vm_id)
        if half is None or half.side != "Replica" or half.test_vm is None:
            return {}
        if half.test_vm.owner != wish.owner:
            raise Refusal(
                Code.IN_USE,
                f"{half.test_vm.name} belongs to test {half.test_vm.owner}, not to {wish.owner}",
                remedy="Clean up the test that owns it.",
            )
        self._estate.halves.require(half.vm_id, half.vm_name, Event.STOP_TEST)
        store = store_of(self._estate, half)
        with self._clones:
            store.drop_clone(half.clone_id)
        self._estate.halves.step(half.vm_id, Event.STOP_TEST, test_vm=None, test_adapters=(), clone_id="")
        store.tidy()
        return {}

    def _replica(self, vm_id: str) -> Replica:
        replica = self._estate.documents.get(Replica, vm_id)
        if replica is None:
            raise Refusal(Code.NOT_FOUND, f"VM {vm_id} has no replica at this site")
        return replica

    def _drop_stale(self, half: Half, store: ReplicaStore, clone_id: str) -> None:
        if half.clone_id and half.clone_id != clone_id:
            with self._clones:
                store.drop_clone(half.clone_id)

    def _clone(self, store: ReplicaStore, point_id: str, clone_id: str) -> None:
        with self._clones:
            store.clone(point_id, clone_id).close()

    def _probe(self, half: Half, wish: arguments.CheckTestVM, *, connected: bool) -> Answer:
        with self._clones:
            clone = store_of(self._estate, half).open_clone(half.clone_id)
            try:
                log = _log_disk(half, list(clone.disks))
                evidence = examine(lambda offset, length: clone.read(log, offset, length))
            finally:
                clone.close()
        return probe(wish, evidence, connected=connected)


def _log_disk(half: Half, disks: list[str]) -> str:
    """The disk with the guest's log: the one in the lowest slot."""
    order = sorted(
        half.disks, key=lambda slot: (slot.controller_type, slot.controller_number, slot.controller_location)
    )
    return next(slot_id(slot) for slot in order if slot_id(slot) in disks)


def _clone_id(owner: str, point_id: str) -> str:
    return hashlib.sha256(f"{owner}\n{point_id}".encode()).hexdigest()[:32]


def _result(test: TestVM) -> Result:
    """What outlives the test VM: the evidence of what was tested."""
    made = {"testVM": test.name, "testVMID": test.id, "host": test.host, "network": test.network}
    return made | point_result(test.recovery_point)
