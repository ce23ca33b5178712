"""What Hyper-V Replica cannot protect: stable codes, with what each means to a person, and what he can do about it.

A site says them in `VM.unsupported` and `Disk.unsupported`, and in its refusals; `docs/limits.md` lists them all.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class Limit(StrEnum):
    """A code is API: it may be added, never renamed."""

    REPLICA_VM = "ReplicaVM"
    TEST_VM = "TestVM"
    SHIELDED = "Shielded"
    VIRTUAL_TPM = "VirtualTPM"
    GUEST_CLUSTER = "GuestCluster"
    NOT_HIGHLY_AVAILABLE = "NotHighlyAvailable"
    HOST_NOT_RESPONDING = "HostNotResponding"
    MERGING_DRIVES = "MergingDrives"
    UNDER_MIGRATION = "UnderMigration"
    CREATING_CHECKPOINT = "CreatingCheckpoint"
    VM_MISSING = "Missing"
    UNSUPPORTED_CONFIGURATION = "UnsupportedConfiguration"
    FOREIGN_REPLICATION = "ForeignReplication"
    CONFIGURATION_VERSION = "ConfigurationVersion"
    GENERATION_MISMATCH = "GenerationMismatch"
    PASS_THROUGH = "PassThrough"  # noqa: S105 - a disk, no password
    SHARED = "Shared"
    VHD_SET = "VHDSet"
    DISK_TOO_LARGE = "DiskTooLarge"
    SYSTEM_DISK_EXCLUDED = "SystemDiskExcluded"
    NAME_NOT_UNIQUE = "NameNotUnique"


@dataclass(frozen=True, slots=True)
class Explained:
    """`refuses`: the whole VM, one disk (the others can be replicated without it), or only the way it was named."""

    refuses: Literal["VM", "Disk", "Name"]
    message: str
    """What is the matter, to follow `... cannot be replicated:`."""
    remedy: str


_VM_MOVES = "Wait until VMM shows a plain power state; it is tried again then."

LIMITS: dict[Limit, Explained] = {
    Limit.REPLICA_VM: Explained(
        "VM",
        "it is itself a replica; extended replication is not orchestrated",
        "Protect the VM at the site that it is replicated from.",
    ),
    Limit.TEST_VM: Explained("VM", "it is the VM of a test failover", "Protect the VM that is being tested."),
    Limit.SHIELDED: Explained(
        "VM",
        "it is shielded, and its key protector names no guardian of the other site, where it could not start",
        "Add the other site's guardian to its key protector.",
    ),
    Limit.VIRTUAL_TPM: Explained(
        "VM",
        "it has a virtual TPM, and its key protector names no guardian of the other site, where it could not start",
        "Import the guardian's keys at the other site and add it to the key protector, or remove the virtual TPM.",
    ),
    Limit.GUEST_CLUSTER: Explained(
        "VM",
        "it belongs to a guest cluster with shared storage, whose members would not be of one instant",
        "Protect the application by its own replication, such as an availability group.",
    ),
    Limit.NOT_HIGHLY_AVAILABLE: Explained(
        "VM",
        "it stands on the node of a cluster and is not highly available (event 29410)",
        "Make it a role of the cluster, or move it to a host outside of the cluster.",
    ),
    Limit.HOST_NOT_RESPONDING: Explained(
        "VM", "VMM has no contact with its host", "Bring the host back, or move the VM to another one."
    ),
    Limit.MERGING_DRIVES: Explained("VM", "the disks of a deleted checkpoint are being merged", _VM_MOVES),
    Limit.UNDER_MIGRATION: Explained("VM", "it is moving to another host", _VM_MOVES),
    Limit.CREATING_CHECKPOINT: Explained("VM", "a checkpoint of it is being created", _VM_MOVES),
    Limit.VM_MISSING: Explained(
        "VM", "VMM misses its files", "Bring its storage back, or remove the VM from VMM; then refresh the inventory."
    ),
    Limit.UNSUPPORTED_CONFIGURATION: Explained(
        "VM",
        "VMM calls its configuration unsupported or incomplete",
        "Look at the VM's status in VMM, correct it, and refresh the inventory.",
    ),
    Limit.FOREIGN_REPLICATION: Explained(
        "VM",
        "another service replicates it already (its protection provider in VMM is not Hyper-V's own)",
        "End that protection first, for example in Azure Site Recovery.",
    ),
    Limit.CONFIGURATION_VERSION: Explained(
        "VM",
        "the hosts of the other site do not run VMs of its configuration version",
        "Update the hosts there, or create the VM anew with an older version (New-VM -Version).",
    ),
    Limit.GENERATION_MISMATCH: Explained(
        "VM",
        "a replica of another generation stands at the other site",
        "Remove that replica VM; the generation of a VM cannot be changed.",
    ),
    Limit.PASS_THROUGH: Explained(
        "Disk", "it is a disk of the host, handed through", "Exclude it, or move its content to a VHDX."
    ),
    Limit.SHARED: Explained(
        "Disk", "it is shared between VMs", "Exclude it, and protect its content by the application's own replication."
    ),
    Limit.VHD_SET: Explained(
        "Disk", "it is a VHD Set, made to be shared between VMs", "Exclude it, or convert it to a VHDX that is not."
    ),
    Limit.DISK_TOO_LARGE: Explained(
        "Disk",
        "it is larger than its format holds (2040 GiB in a VHD, 64 TiB in a VHDX)",
        "Convert it to a VHDX, or split it.",
    ),
    Limit.SYSTEM_DISK_EXCLUDED: Explained(
        "Disk",
        "it holds the operating system, and without it the replica could not start",
        "Take it out of the excluded disks.",
    ),
    Limit.NAME_NOT_UNIQUE: Explained(
        "Name", "several VMs of the cloud have that name", "Name the VM by its id, in spec.vm.id."
    ),
}
_UNKNOWN = "Look into the documentation of the site's agent, which is newer than this operator."


def explain(code: str) -> tuple[str, str]:
    """Message and remedy of a code; one that a newer site says and we do not know is shown as it is."""
    found = LIMITS.get(Limit(code)) if code in set(Limit) else None
    return (found.message, found.remedy) if found else (f"the site says {code}", _UNKNOWN)
