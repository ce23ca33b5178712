"""The VMs of a lab site as VMM lists them: its own and its replicas, as far as faults let one see them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping

from secondsite.agent.lab import inventory
from secondsite.agent.lab.estate import Estate
from secondsite.agent.lab.fault_inventory import disturbed
from secondsite.agent.lab.guests import Guest
from secondsite.agent.lab.slots import slot_fact, slot_id
from secondsite.agent.lab.state import Replica
from secondsite.wire.facts import DiskSlot
from secondsite.wire.inventory import VM


def listed_vms(estate: Estate, replicas: Iterable[Replica]) -> list[VM]:
    """Every VM that is served, and those replica VMs. Test VMs are told with their relations."""
    machines = inventory.machine_facts(estate.centre, estate.settings, _used_bytes(estate.guests))
    kept = [replica_vm(estate, found) for found in replicas if found.disks]
    return list(disturbed([*machines, *kept], estate.faults.on, estate.centre.hosts_of))


def replica_vm(estate: Estate, replica: Replica) -> VM:
    """A replica VM, running where it was failed over and started."""
    return inventory.replica_fact(estate.centre, replica, estate.recovered.machine(replica.vm_id))


def _used_bytes(guests: Mapping[str, Guest]) -> dict[str, dict[DiskSlot, int]]:
    """What the disks of the VMs take on the host, in bytes."""
    found: dict[str, dict[DiskSlot, int]] = {}
    for vm_id, guest in guests.items():
        for disk in guest.machine.disks:
            with contextlib.suppress(OSError):
                used = guest.disks[slot_id(disk.slot)].path.stat().st_blocks * 512
                found.setdefault(vm_id, {})[slot_fact(disk.slot)] = used
    return found
