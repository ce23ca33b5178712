"""What the lab's hypervisor refuses to replicate: codes from what a VM is, and where it stands. Pure functions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from secondsite.agent.lab.datacentre import DataCentre, Disk, Machine
from secondsite.agent.lab.slots import place, slot_fact
from secondsite.agent.lab.state import Half, Replica
from secondsite.wire.arguments import Slot
from secondsite.wire.facts import DiskSlot
from secondsite.wire.limits import Limit, explain
from secondsite.wire.problems import Code, Refusal

# "Hyper-V virtual hard disk format overview": what a file of each format can hold, in bytes.
LARGEST = {"VHD": 2040 << 30, "VHDX": 64 << 40, "VHDSet": 64 << 40}
_BUSY = {
    "MergingDrives": Limit.MERGING_DRIVES,
    "UnderMigration": Limit.UNDER_MIGRATION,
    "CreatingCheckpoint": Limit.CREATING_CHECKPOINT,
    "Missing": Limit.VM_MISSING,
}


def machine_limits(centre: DataCentre, machine: Machine) -> tuple[Limit, ...]:
    """What stops replication of the whole VM, seen from its own site."""
    return tuple(_machine(centre, machine))


def _machine(centre: DataCentre, machine: Machine) -> Iterator[Limit]:
    if machine.shielded and not machine.guardian:
        yield Limit.SHIELDED
    elif machine.virtual_tpm and not machine.guardian:
        yield Limit.VIRTUAL_TPM
    if machine.guest_cluster:
        yield Limit.GUEST_CLUSTER
    if centre.cluster_of(machine.host) and not centre.is_highly_available(machine):
        yield Limit.NOT_HIGHLY_AVAILABLE
    if centre.host(machine.host).state == "NotResponding":
        yield Limit.HOST_NOT_RESPONDING
    if machine.protection_provider != "None":
        yield Limit.FOREIGN_REPLICATION
    if machine.status:
        yield _BUSY.get(machine.status, Limit.UNSUPPORTED_CONFIGURATION)


def disk_limit(disk: Disk) -> Limit | None:
    """What stops replication of one disk."""
    if disk.pass_through:
        return Limit.PASS_THROUGH
    if disk.format == "VHDSet":
        return Limit.VHD_SET
    if disk.shared:
        return Limit.SHARED
    return Limit.DISK_TOO_LARGE if disk.size > LARGEST[disk.format] else None


def require_disks(centre: DataCentre, machine: Machine, wished: Iterable[Slot]) -> dict[DiskSlot, int]:
    """Slot and size in bytes of the disks to replicate. Raises Refusal for a VM or a disk that cannot be."""
    for limit in machine_limits(centre, machine):
        raise refusal(limit, f"VM {machine.name}")
    disks = {slot_fact(disk.slot): disk for disk in machine.disks}
    found = {}
    for slot in map(slot_fact, wished):
        disk = disks.get(slot)
        if disk is None:
            raise Refusal(
                Code.NOT_FOUND,
                f"VM {machine.name} has no disk at {place(slot)}",
                remedy="Refresh the inventory, and name a disk that it has.",
            )
        unfit = disk_limit(disk)
        if unfit:
            raise refusal(unfit, f"The disk of VM {machine.name} at {place(slot)}")
        found[slot] = int(disk.size)
    _require_system_disk(machine, found)
    return found


def _require_system_disk(machine: Machine, found: Collection[DiskSlot]) -> None:
    if not found:
        raise Refusal(
            Code.INVALID_REQUEST, f"VM {machine.name}: no disk to replicate", remedy="Name at least its system disk."
        )
    system = slot_fact(machine.disks[0].slot)
    if system not in found:
        raise refusal(Limit.SYSTEM_DISK_EXCLUDED, f"VM {machine.name} without its disk at {place(system)}")


def require_production(vm_id: str, replicas: Collection[str], halves: Iterable[Half]) -> None:
    """Raises Refusal where that VM is a replica here, or the VM of a test failover."""
    if vm_id in replicas:
        raise refusal(Limit.REPLICA_VM, f"VM {vm_id}")
    if any(half.test_vm and half.test_vm.id == vm_id for half in halves):
        raise refusal(Limit.TEST_VM, f"VM {vm_id}")


def require_runnable(centre: DataCentre, replica: Replica, version: str, generation: int) -> None:
    """What only the replica's side knows: whether the VM could run there. Raises Refusal."""
    host = centre.host(replica.host)
    if version and version not in host.configuration_versions:
        raise refusal(Limit.CONFIGURATION_VERSION, f"VM {replica.vm_name} of version {version} at host {host.name}")
    if replica.disks and replica.generation != generation:
        raise refusal(Limit.GENERATION_MISMATCH, f"VM {replica.vm_name} of generation {generation}")


def no_host(cloud: str) -> Refusal:
    """For a cloud that has nothing to run on at the moment."""
    return Refusal(
        Code.SETTLING,
        f"No host of cloud {cloud} responds to VMM",
        remedy="Bring a host of the cloud back; it is tried again by itself.",
    )


def refusal(limit: Limit, what: str) -> Refusal:
    """In the words of the table."""
    message, remedy = explain(limit)
    return Refusal(Code.UNSUPPORTED, f"{what} cannot be replicated: {message} ({limit.value})", remedy=remedy)
