"""Virtual machines as Hyper-V and VMM show them, those that cannot be replicated among them."""

from __future__ import annotations

from typing import Literal

from pydantic import ByteSize, Field, model_validator

from secondsite.agent.lab.datacentre.parts import Address, ConfigurationVersion, Guid, HostName, Mac, Name, Part
from secondsite.agent.lab.layout import BLOCK, MINIMUM_BYTES

# Of VMM's virtual machine status those that are more than a power state.
Status = Literal[
    "MergingDrives",
    "UnderMigration",
    "CreatingCheckpoint",
    "Missing",
    "Unsupported",
    "IncompleteVMConfig",
    "UnsupportedSharedFiles",
    "UnsupportedCluster",
]


class SlotName(Part):
    """Where a disk hangs."""

    controller_type: Literal["IDE", "SCSI"] = "SCSI"
    controller_number: int = Field(default=0, ge=0, le=3)
    controller_location: int = Field(ge=0, le=63)


class Disk(Part):
    """A virtual disk: sparse, with `data` bytes of content made from `seed` when it is first used."""

    slot: SlotName
    size: ByteSize = Field(ge=MINIMUM_BYTES)
    seed: int = 0
    data: ByteSize = ByteSize(0)
    format: Literal["VHD", "VHDX", "VHDSet"] = "VHDX"
    chain: int = Field(default=0, ge=0, le=50)
    """Differencing files over the base: what checkpoints leave."""
    pass_through: bool = False
    """A disk of the host, handed through (HardDiskDrive.DiskNumber is set)."""
    shared: bool = False
    """A VHDX that several VMs have open (HardDiskDrive.SupportPersistentReservations)."""

    @model_validator(mode="after")
    def _fits(self) -> Disk:
        if self.data * 2 > self.size:
            raise ValueError("data may fill at most half of the disk, the guest needs the rest")
        if self.size % BLOCK:
            raise ValueError(f"size must be a multiple of {BLOCK} bytes")
        return self


class Adapter(Part):
    """A network adapter. Names repeat in Hyper-V; MAC addresses do not."""

    name: Name = "Network Adapter"
    mac: Mac
    mac_type: Literal["Static", "Dynamic"] = "Static"
    legacy: bool = False
    network: str = ""
    subnet: str = ""
    """Of its VM network; empty where that has no isolation."""
    addresses: tuple[Address, ...] = ()


class Service(Part):
    """What the guest answers over HTTP at a port and path."""

    port: int = Field(ge=1, le=65535)
    path: str = Field(default="/", pattern="^/")
    status: int = Field(default=200, ge=100, le=599)
    body: str = Field(default="", max_length=4096)


class Guest(Part):
    """What runs inside: write n is a function of `seed` and n."""

    seed: int = Field(default=0, ge=0, lt=2**63)
    writes_per_second: float = Field(default=0, ge=0, le=1000)
    services: tuple[Service, ...] = Field(default=(), max_length=8)


class Machine(Part):
    """A virtual machine."""

    id: Guid
    name: Name
    cloud: Name
    host: HostName
    storage: str = ""
    state: Literal["Running", "Off", "Saved", "Paused"] = "Running"
    status: Status | None = None
    """VMM's status, where it is more than the power state."""
    generation: Literal[1, 2] = 2
    configuration_version: ConfigurationVersion = "10.0"
    highly_available: bool | None = None
    """A role of its host's cluster; absent: as one expects of that host."""
    operating_system: str = ""
    disks: tuple[Disk, ...] = Field(min_length=1, max_length=64)
    """The first holds the operating system."""
    adapters: tuple[Adapter, ...] = ()
    checkpoints: int = Field(default=0, ge=0, le=50)
    dvd: str = Field(default="", max_length=255)
    """Image in its DVD drive; replication does not carry it."""
    virtual_tpm: bool = False
    shielded: bool = False
    guardian: bool = False
    """Its key protector names a guardian of the other site, too, so that a shielded VM can start there."""
    guest_cluster: str = ""
    """The cluster inside of VMs that it belongs to, where that shares storage."""
    protection_provider: Literal["None", "HVRAzure", "SANReplication"] = "None"
    """Who replicates it already (Set-SCVirtualMachine -ProtectionProvider)."""
    guest: Guest = Guest()

    @model_validator(mode="after")
    def _generation(self) -> Machine:
        old = [disk for disk in self.disks if disk.slot.controller_type == "IDE" or disk.format == "VHD"]
        if self.generation == 2 and (old or any(adapter.legacy for adapter in self.adapters)):
            raise ValueError("a VM of generation 2 has no IDE controller, no VHD and no legacy adapter")
        return self
