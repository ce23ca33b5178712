"""Faults of VMM's view, as facts: pure functions."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator

import msgspec

from secondsite.agent.lab.faults import Fault
from secondsite.wire.inventory import VM

On = Callable[[Fault, str], object]
"""Whether a fault is on for a VM."""
Hosts = Callable[[str], tuple[str, ...]]
"""The hosts of a cloud."""


def disturbed(vms: Iterable[VM], on: On, hosts: Hosts) -> Iterator[VM]:
    """The VMs as they are listed, with those that should not be there."""
    for vm in vms:
        yield msgspec.structs.replace(vm, host=next_host(vm.host, hosts(vm.cloud))) if on(Fault.VM_MOVED, vm.id) else vm
        if on(Fault.DUPLICATE_NAMES, vm.id):
            yield VM(_id(vm, Fault.DUPLICATE_NAMES), vm.name, vm.cloud, vm.host, "Off", vm.generation)
        if on(Fault.ORPHANED_TEST_VM, vm.id):
            name = f"{vm.name} - Test"
            yield VM(_id(vm, Fault.ORPHANED_TEST_VM), name, vm.cloud, vm.host, "Running", vm.generation, "Test")


def next_host(host: str, hosts: tuple[str, ...]) -> str:
    """Where a VM goes that leaves its host; the host itself where there is no other."""
    return hosts[(hosts.index(host) + 1) % len(hosts)] if host in hosts else host


def _id(vm: VM, fault: Fault) -> str:
    return str(uuid.uuid5(uuid.UUID(vm.id), fault.value))
