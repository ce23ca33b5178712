"""What a site reports of itself: machines, networks, pools, storage, and the resources that were made there."""

from typing import Literal

from secondsite.wire.facts import DiskSlot, Fact


class Disk(Fact, frozen=True):
    """A virtual disk. `unsupported` is a code of `wire.limits`: why it cannot be replicated, else empty."""

    slot: DiskSlot
    size_bytes: int
    used_bytes: int | None = None
    format: Literal["VHD", "VHDX", "VHDSet", "Raw"] = "VHDX"
    unsupported: str = ""
    operating_system: bool = False
    chain: int = 0
    """Differencing files over its base."""


class Adapter(Fact, frozen=True):
    """A network adapter of a VM; names repeat in Hyper-V, MAC addresses tell them apart."""

    name: str
    mac_address: str
    network: str = ""
    """VM network it is connected to; empty: disconnected."""
    subnet: str = ""
    addresses: tuple[str, ...] = ()
    legacy: bool = False
    """An emulated adapter: what is inside cannot be given an address from outside."""
    dynamic_mac: bool = False


class VM(Fact, frozen=True):
    """A virtual machine of the inventory. The id of its entry is the VM's id (Hyper-V GUID, lower case)."""

    id: str
    name: str
    cloud: str
    host: str
    state: Literal["Running", "Off", "Saved", "Paused", "Unknown"]
    generation: int = 2
    role: Literal["Production", "Replica", "Test"] = "Production"
    disks: tuple[Disk, ...] = ()
    adapters: tuple[Adapter, ...] = ()
    storage: str = ""
    operating_system: str = ""
    unsupported: tuple[str, ...] = ()
    """Codes of what stops replication of the whole VM: see `wire.limits`."""
    status: str = ""
    """VMM's word for it, where that says more than `state`."""
    configuration_version: str = ""
    highly_available: bool = False
    checkpoints: int = 0
    virtual_tpm: bool = False
    dvd: str = ""
    """Image in its DVD drive; replication does not carry it."""


class Subnet(Fact, frozen=True):
    """A subnet of a VM network."""

    name: str
    cidr: str
    vlan: int | None = None
    gateway: str = ""


class Network(Fact, frozen=True):
    """A VM network. The id of its entry is its name."""

    name: str
    logical_network: str
    isolation: str = "None"
    subnets: tuple[Subnet, ...] = ()


class Pool(Fact, frozen=True):
    """A static address pool. The id of its entry is `network/subnet`. `reserved`: vmID, adapter, address."""

    network: str
    subnet: str
    cidr: str
    start: str
    end: str
    gateway: str = ""
    dns_servers: tuple[str, ...] = ()
    free: int = 0
    reserved: tuple[tuple[str, str, str], ...] = ()


class Association(Fact, frozen=True):
    """One prepared side of a pair of clouds. The id of its entry is the association's id."""

    id: str
    role: Literal["Source", "Target"]
    cloud: str
    peer_site: str
    peer_cloud: str
    authentication: Literal["Certificate", "Kerberos"] = "Certificate"
    port: int = 0
    digest: str = ""
    """Of the body that was last put, so that a changed wish is seen."""
    data_host: str = ""
    data_address: str = ""
    data_port: int = 0


class TestNetwork(Fact, frozen=True):
    """An isolated network made for a test. The id of its entry is the test's identity."""

    id: str
    name: str
    vms: tuple[str, ...] = ()


class Tombstone(Fact, frozen=True):
    """What a deletion left behind. The id of its entry is the tombstone's."""

    id: str
    vault: str
    vm_id: str
    epoch: int
    steps: tuple[str, ...] = ()


class Host(Fact, frozen=True):
    """A Hyper-V host. `group` is the path of its host group."""

    name: str
    group: str
    cluster: str = ""
    responding: bool = True
    version: str = ""
    """Of Hyper-V."""


class Cluster(Fact, frozen=True):
    """A failover cluster; `broker` is the FQDN of its Hyper-V Replica Broker, empty where it has none."""

    name: str
    nodes: tuple[str, ...]
    broker: str = ""


class Cloud(Fact, frozen=True):
    """A VMM cloud in numbers."""

    name: str
    hosts: int
    vms: int
    storage: tuple[str, ...] = ()
    logical_networks: tuple[str, ...] = ()
    configuration_versions: tuple[str, ...] = ()
    """Of VMs that every host there can run; empty: not known."""


class Storage(Fact, frozen=True):
    """A storage classification."""

    classification: str
    capacity_bytes: int
    free_bytes: int


class Site(Fact, frozen=True):
    """The site as a whole; its entry's id is `site`. While `Settling` it gives no whole answer."""

    state: Literal["Ready", "Settling"]
    vmm_name: str = ""
    vmm_version: str = ""
    clouds: tuple[Cloud, ...] = ()
    storage: tuple[Storage, ...] = ()
    hosts: tuple[Host, ...] = ()
    """Of the clouds that are served."""
    clusters: tuple[Cluster, ...] = ()
    settings_digest: str = ""
    """Of the settings that were last put."""
    served_requests: tuple[tuple[str, str], ...] = ()
