"""A lab's data centre: what a site has, read from a YAML file. `examples/sites` holds two."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ByteSize, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from secondsite.agent.lab.layout import BLOCK, MINIMUM_BYTES
from secondsite.errors import SecondsiteError
from secondsite.wire.agent import Capability

Name = Annotated[str, Field(min_length=1, max_length=63)]
Guid = Annotated[str, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
Mac = Annotated[str, Field(pattern=r"^([0-9A-F]{2}:){5}[0-9A-F]{2}$")]
Address = Annotated[str, BeforeValidator(lambda value: str(ipaddress.ip_address(value)))]
Cidr = Annotated[str, BeforeValidator(lambda value: str(ipaddress.ip_network(value)))]


class Part(BaseModel):
    """Strict on names, so that a misspelt field is found and not ignored."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid")


class VMM(Part):
    """The VMM server."""

    name: Name
    version: str = "10.22.1287.0"


class Storage(Part):
    """A storage classification of the site."""

    classification: Name
    capacity: ByteSize


class HostGroup(Part):
    """A VMM host group and its Hyper-V hosts."""

    name: Name
    hosts: tuple[Name, ...] = Field(min_length=1)


class Cloud(Part):
    """A VMM cloud: host groups, and what it offers."""

    name: Name
    host_groups: tuple[Name, ...] = Field(min_length=1)
    storage_classifications: tuple[Name, ...] = ()
    logical_networks: tuple[Name, ...] = ()


class PoolRange(Part):
    """A static address pool, both ends included."""

    start: Address
    end: Address
    dns_servers: tuple[Address, ...] = ()


class Subnet(Part):
    """A subnet of a VM network; without `pool` its addresses are not the site's to give."""

    name: Name
    cidr: Cidr
    vlan: int | None = Field(default=None, ge=1, le=4094)
    gateway: Address | None = None
    pool: PoolRange | None = None

    @model_validator(mode="after")
    def _inside(self) -> Subnet:
        network = ipaddress.ip_network(self.cidr)
        ends = [self.pool.start, self.pool.end] if self.pool else []
        for address in [*ends, *([self.gateway] if self.gateway else [])]:
            if ipaddress.ip_address(address) not in network:
                raise ValueError(f"{address} is not in {self.cidr}")
        if self.pool and int(ipaddress.ip_address(ends[0])) > int(ipaddress.ip_address(ends[1])):
            raise ValueError(f"the pool starts at {ends[0]}, after its end {ends[1]}")
        return self


class Network(Part):
    """A VM network."""

    name: Name
    logical_network: Name
    isolation: Literal["None", "VLAN", "NetworkVirtualization"] = "VLAN"
    subnets: tuple[Subnet, ...] = ()


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
    format: Literal["VHD", "VHDX"] = "VHDX"
    unsupported: Literal["", "PassThrough", "Shared"] = ""

    @model_validator(mode="after")
    def _fits(self) -> Disk:
        if self.data * 2 > self.size:
            raise ValueError("data may fill at most half of the disk, the guest needs the rest")
        if self.size % BLOCK:
            raise ValueError(f"size must be a multiple of {BLOCK} bytes")
        return self


class Adapter(Part):
    """A network adapter."""

    name: Name = "Network Adapter"
    mac: Mac
    network: str = ""
    subnet: str = ""
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
    host: Name
    storage: str = ""
    state: Literal["Running", "Off"] = "Running"
    generation: Literal[1, 2] = 2
    operating_system: str = ""
    disks: tuple[Disk, ...] = Field(min_length=1, max_length=64)
    adapters: tuple[Adapter, ...] = ()
    guest: Guest = Guest()
    unsupported: tuple[Literal["Shielded", "SharedNothingCluster"], ...] = ()


class Knobs(Part):
    """Timings of the hypervisor. Defaults are Hyper-V's; seconds before the lab's hurry divides them."""

    retry_seconds: float = Field(default=300, gt=0)
    initial_retries: int = Field(default=12, ge=0)
    stale_seconds: float = Field(default=3600, gt=0)
    missed_percent: float = Field(default=20, ge=0, le=100)
    latency_seconds: float = Field(default=300, gt=0)
    monitoring_seconds: float = Field(default=12 * 3600, gt=0)
    point_spacing_seconds: float = Field(default=3600, gt=0)
    log_limit_percent: float = Field(default=50, gt=0, le=100)
    """How much of the VM's disks may be unsent before a resynchronization is needed."""
    maximum_active_transfers: int = Field(default=3, ge=1, le=1024)
    """Cycles that one host sends at the same time; the others wait."""
    blackout_seconds: float = Field(default=0, ge=0)
    """How long relations cannot be read after a restart of the VMMS; Hyper-V needs up to a minute."""
    refresh_seconds: float = Field(default=120, gt=0)
    """How old VMM's picture of a VM may be."""
    test_vm_seconds: float = Field(default=0, ge=0)
    failover_seconds: float = Field(default=0, ge=0)
    """How long a test VM takes to be made, and a failover or a reversal to be carried out: Hyper-V needs 5 to 30."""


class DataCentre(Part):
    """The whole file."""

    vmm: VMM
    storage: tuple[Storage, ...] = ()
    host_groups: tuple[HostGroup, ...] = Field(min_length=1)
    clouds: tuple[Cloud, ...] = Field(min_length=1)
    networks: tuple[Network, ...] = ()
    vms: tuple[Machine, ...] = ()
    knobs: Knobs = Knobs()
    capabilities: tuple[Literal["ResyncKeepsRecoveryPoints", "ScanAfterCrash", "Synchronize"], ...] = ()
    """What this site can do beyond Hyper-V."""

    @model_validator(mode="after")
    def _consistent(self) -> DataCentre:
        problems = [*_doubles(self), *_dangling(self)]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def offers(self) -> frozenset[Capability]:
        """What its driver can do: the lab always knows the freeze, and reaches isolated networks."""
        return frozenset({Capability.FREEZE_TIME, Capability.PROBE_ISOLATED, *map(Capability, self.capabilities)})

    def hosts_of(self, cloud: str) -> tuple[str, ...]:
        """Hosts of a cloud, in the file's order."""
        groups = next((item.host_groups for item in self.clouds if item.name == cloud), ())
        return tuple(host for group in self.host_groups if group.name in groups for host in group.hosts)

    def machine(self, vm_id: str) -> Machine | None:
        """The VM of that id."""
        return next((vm for vm in self.vms if vm.id == vm_id), None)


def load(path: Path) -> DataCentre:
    """Read a data-centre file. Raises SecondsiteError, naming each wrong field by its path."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SecondsiteError(f"Reading the data-centre file {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise SecondsiteError(f"The data-centre file {path} is not YAML: {error}") from error
    try:
        return DataCentre.model_validate(content)
    except ValidationError as error:
        found = "; ".join(f"{_where(item['loc'])}: {item['msg']}" for item in error.errors())
        raise SecondsiteError(f"The data-centre file {path.name} is wrong: {found}") from error


def _where(location: tuple[int | str, ...]) -> str:
    parts = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return parts.removeprefix(".") or "file"


def _doubles(centre: DataCentre) -> list[str]:
    names = {
        "storage.classification": [item.classification for item in centre.storage],
        "hostGroups.name": [item.name for item in centre.host_groups],
        "hostGroups.hosts": [host for item in centre.host_groups for host in item.hosts],
        "clouds.name": [item.name for item in centre.clouds],
        "networks.name": [item.name for item in centre.networks],
        "vms.id": [item.id for item in centre.vms],
        "vms.adapters.mac": [adapter.mac for item in centre.vms for adapter in item.adapters],
    }
    names |= {f"vms[{vm.name}].disks.slot": [str(disk.slot) for disk in vm.disks] for vm in centre.vms}
    return [
        f"{field}: {name} stands there twice"
        for field, listed in names.items()
        for name in sorted({name for name in listed if listed.count(name) > 1})
    ]


def _dangling(centre: DataCentre) -> list[str]:
    groups = {item.name for item in centre.host_groups}
    classes = {item.classification for item in centre.storage}
    networks = {item.name: {subnet.name for subnet in item.subnets} for item in centre.networks}
    found = []
    for cloud in centre.clouds:
        found += [f"clouds[{cloud.name}]: no host group {name}" for name in cloud.host_groups if name not in groups]
        found += [f"clouds[{cloud.name}]: no storage {x}" for x in cloud.storage_classifications if x not in classes]
    for vm in centre.vms:
        if vm.host not in centre.hosts_of(vm.cloud):
            found.append(f"vms[{vm.name}]: cloud {vm.cloud} has no host {vm.host}")
        if vm.storage and vm.storage not in classes:
            found.append(f"vms[{vm.name}]: no storage {vm.storage}")
        for adapter in vm.adapters:
            if adapter.network and adapter.subnet not in networks.get(adapter.network, ()):
                found.append(f"vms[{vm.name}]: no subnet {adapter.network}/{adapter.subnet}")
    return found
