"""What is made at a site beside relations: address reservations, isolated test networks, tombstones."""

from __future__ import annotations

import threading

from secondsite.agent.lab import addresses, inventory
from secondsite.agent.lab.datacentre import Network
from secondsite.agent.lab.estate import Estate
from secondsite.agent.lab.report import Reporter
from secondsite.agent.lab.state import Reservation, TestNetwork, Tombstone
from secondsite.wire import inventory as facts
from secondsite.wire.problems import Code, Refusal
from secondsite.wire.resources import ReservationWish, TestNetworkWish, TombstoneWish


class Resources:
    """Idempotent by id, durable before they are answered."""

    def __init__(self, estate: Estate, reporter: Reporter) -> None:
        self._estate = estate
        self._reporter = reporter
        self._lock = threading.Lock()

    def reserve(self, vm_id: str, adapter: str, wish: ReservationWish) -> list[str]:
        """Addresses for one adapter; what it holds already it keeps as far as it still fits. Raises Refusal."""
        network = self.network(wish.network)
        with self._lock:
            held = self._estate.documents.get(Reservation, _key(vm_id, adapter))
            mine = held.addresses if held and held.network == wish.network else ()
            chosen = addresses.choose(
                network, wish.subnets, wish.addresses, self._taken(wish.network, vm_id, adapter), mine
            )
            document = Reservation(vm_id, adapter, wish.network, tuple(chosen))
            if document != held:
                self._estate.documents.put(_key(vm_id, adapter), document)
        self._reporter.pools()
        return chosen

    def release(self, vm_id: str, adapter: str) -> None:
        """Give them back; nothing reserved is no error."""
        with self._lock:
            self._estate.documents.remove(Reservation, _key(vm_id, adapter))
        self._reporter.pools()

    def make_test_network(self, id_: str, wish: TestNetworkWish) -> None:
        """Raises Refusal where another test's network, or a real one, has the name, or where test VMs are on it.

        A real one that came later by the same name changes nothing for a network that is there already.
        """
        with self._lock:
            known = self._estate.documents.all(TestNetwork)
            before = known.get(id_)
            if before is None or before.name != wish.name:
                others = {item.name for key, item in known.items() if key != id_}
                if wish.name in others | {item.name for item in self._estate.centre.networks}:
                    raise Refusal(
                        Code.IN_USE, f"There is another network named {wish.name}", remedy="Choose another name."
                    )
                if before:
                    self._require_empty(before)
                self._estate.documents.put(id_, TestNetwork(id_, wish.name))
        self._reporter.test_networks()

    def remove_test_network(self, id_: str) -> None:
        """Raises Refusal while a test VM is on it."""
        with self._lock:
            network = self._estate.documents.get(TestNetwork, id_)
            if network is None:
                return
            self._require_empty(network)
            self._estate.documents.remove(TestNetwork, id_)
        self._reporter.sink.withdraw(facts.TestNetwork, id_)

    def _require_empty(self, network: TestNetwork) -> None:
        vms = inventory.test_network_vms(network.name, self._estate.halves.all())
        if vms:
            raise Refusal(
                Code.IN_USE,
                f"Test network {network.name} still has {len(vms)} test VMs on it",
                remedy="Stop their test failover first.",
            )

    def leave_tombstone(self, id_: str, wish: TombstoneWish) -> None:
        """Remember what a deletion still owes here."""
        document = Tombstone(id_, wish.vault, wish.vm_id, wish.epoch, wish.steps)
        self._estate.documents.put(id_, document)
        self._reporter.sink.publish(id_, facts.Tombstone(id_, wish.vault, wish.vm_id, wish.epoch, wish.steps))

    def remove_tombstone(self, id_: str) -> None:
        """Forget it; an unknown id is no error."""
        self._estate.documents.remove(Tombstone, id_)
        self._reporter.sink.withdraw(facts.Tombstone, id_)

    def network(self, name: str) -> Network:
        """A VM network of the site. Raises Refusal."""
        found = next((item for item in self._estate.centre.networks if item.name == name), None)
        if found is None:
            names = ", ".join(item.name for item in self._estate.centre.networks)
            raise Refusal(
                Code.NOT_FOUND,
                f"No VM network {name} at this site; it has {names}",
                remedy="Correct the NetworkMapping, or create the network in VMM and refresh the inventory.",
            )
        return found

    def test_network(self, name: str) -> str:
        """The network that a test VM can be connected to by this name or test identity; empty: none. Raises Refusal."""
        for key, item in self._estate.documents.all(TestNetwork).items():
            if name in (key, item.name):
                return item.name
        return self.network(name).name if name else ""

    def _taken(self, network: str, vm_id: str, adapter: str) -> dict[str, str]:
        """Addresses of a network that others hold, and who."""
        found = inventory.holders(self._estate.centre, network)
        for item in self._estate.documents.all(Reservation).values():
            if item.network == network and (item.vm_id, item.adapter) != (vm_id, adapter):
                found |= dict.fromkeys(item.addresses, f"adapter {item.adapter} of VM {item.vm_id}")
        return found


def _key(vm_id: str, adapter: str) -> str:
    return f"{vm_id}/{adapter}"
