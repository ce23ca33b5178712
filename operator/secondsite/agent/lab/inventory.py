"""The inventory as facts, as VMM would list it: pure functions of the data centre and what was made here."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping

from secondsite.agent.lab.addresses import free_count, within
from secondsite.agent.lab.coverage import disk_limit, machine_limits
from secondsite.agent.lab.datacentre import Cloud, DataCentre, Disk, Host, HostGroup, Machine
from secondsite.agent.lab.slots import slot_fact
from secondsite.agent.lab.state import Half, Replica, Reservation, SiteSettings
from secondsite.wire import inventory as facts
from secondsite.wire.arguments import AdapterPlan
from secondsite.wire.facts import DiskSlot, TestVM


def machine_facts(
    centre: DataCentre, settings: SiteSettings, used: Mapping[str, Mapping[DiskSlot, int]]
) -> list[facts.VM]:
    """Every VM of the clouds that are served. `used`: bytes that disks take, where known."""
    served = [vm for vm in centre.vms if not settings.clouds or vm.cloud in settings.clouds]
    return [_machine(centre, vm, used.get(vm.id, {})) for vm in served]


def adapters_of(centre: DataCentre, machine: Machine) -> tuple[facts.Adapter, ...]:
    """The adapters of a VM as they are connected."""
    return tuple(
        facts.Adapter(
            item.name,
            item.mac,
            item.network,
            centre.subnet_of(item),
            item.addresses,
            legacy=item.legacy,
            dynamic_mac=item.mac_type == "Dynamic",
        )
        for item in machine.adapters
    )


def replica_fact(centre: DataCentre, replica: Replica, running: Machine | None = None) -> facts.VM:
    """A replica VM: off and its adapters disconnected, or, where it was failed over and started, as `running`."""
    disconnected = tuple(facts.Adapter(item.name, item.mac_address) for item in replica.adapters)
    return facts.VM(
        id=replica.vm_id,
        name=replica.vm_name,
        cloud=replica.cloud,
        host=replica.host,
        state=running.state if running else "Off",
        generation=replica.generation,
        role="Replica",
        disks=tuple(facts.Disk(slot, size, format="Raw") for slot, size in replica.disks),
        adapters=adapters_of(centre, running) if running else disconnected,
        storage=replica.storage,
        operating_system=replica.operating_system,
    )


def make_test_vm_id(vm_id: str, owner: str) -> str:
    """The same for the same test, so that a repeated start finds its own."""
    return str(uuid.uuid5(uuid.UUID(vm_id), owner))


def test_vm_fact(replica: Replica, test: TestVM, adapters: tuple[facts.Adapter, ...]) -> facts.VM:
    """A test VM: connected to the test's network only."""
    return facts.VM(
        id=test.id,
        name=test.name,
        cloud=replica.cloud,
        host=test.host,
        state=test.state,
        generation=replica.generation,
        role="Test",
        disks=tuple(facts.Disk(slot, size, format="Raw") for slot, size in replica.disks),
        adapters=adapters,
        storage=replica.storage,
        operating_system=replica.operating_system,
    )


def test_adapters(
    replica: Replica, network: str, networks: Mapping[str, str], plan: Iterable[AdapterPlan]
) -> tuple[facts.Adapter, ...]:
    """The replica's adapters with their planned addresses, connected to `network` unless `networks` (by MAC) says else.

    An adapter without a network is disconnected and has no address.
    """
    addresses = {item.adapter: item.addresses for item in plan}
    places = {item.mac_address: networks.get(item.mac_address) or network for item in replica.adapters}
    return tuple(
        facts.Adapter(item.name, item.mac_address, place, "", addresses.get(item.mac_address, ()) if place else ())
        for item in replica.adapters
        for place in [places[item.mac_address]]
    )


def network_facts(centre: DataCentre) -> list[facts.Network]:
    """VM networks with their subnets."""
    return [
        facts.Network(
            network.name,
            network.logical_network,
            network.isolation,
            tuple(facts.Subnet(item.name, item.cidr, item.vlan, item.gateway or "") for item in network.subnets),
        )
        for network in centre.networks
    ]


def pool_facts(centre: DataCentre, reservations: Collection[Reservation]) -> list[facts.Pool]:
    """Static address pools: what is free, and who holds what."""
    found = []
    for network in centre.networks:
        held = [(item, address) for item in reservations if item.network == network.name for address in item.addresses]
        taken = {*holders(centre, network.name), *(address for _, address in held)}
        for subnet in network.subnets:
            if subnet.pool is None:
                continue
            pool = subnet.pool
            found.append(
                facts.Pool(
                    network=network.name,
                    subnet=subnet.name,
                    cidr=subnet.cidr,
                    start=pool.start,
                    end=pool.end,
                    gateway=subnet.gateway or "",
                    dns_servers=pool.dns_servers,
                    free=free_count(pool, taken),
                    reserved=tuple(sorted((item.vm_id, item.adapter, a) for item, a in held if within(a, subnet.cidr))),
                )
            )
    return found


def holders(centre: DataCentre, network: str) -> dict[str, str]:
    """Addresses that the site's own VMs use in a network, and the VM's name."""
    return {
        address: f"VM {vm.name}"
        for vm in centre.vms
        for adapter in vm.adapters
        if adapter.network == network
        for address in adapter.addresses
    }


def site_fact(centre: DataCentre, settings: SiteSettings, replicas: Collection[Replica]) -> facts.Site:
    """The site as a whole; what the core keeps (digest of settings, served requests) it adds itself."""
    served = [cloud for cloud in centre.clouds if not settings.clouds or cloud.name in settings.clouds]
    groups = {group for cloud in served for group in cloud.host_groups}
    hosts = tuple(
        _host(centre, group, host) for group in centre.host_groups if group.name in groups for host in group.members
    )
    named = {host.cluster for host in hosts}
    return facts.Site(
        state="Ready",
        vmm_name=centre.vmm.name,
        vmm_version=centre.vmm.version,
        clouds=tuple(_cloud(centre, cloud) for cloud in served),
        storage=tuple(
            facts.Storage(item.classification, int(item.capacity), free_bytes(centre, replicas, item.classification))
            for item in centre.storage
        ),
        hosts=hosts,
        clusters=tuple(facts.Cluster(c.name, c.nodes, c.broker) for c in centre.clusters if c.name in named),
    )


def _cloud(centre: DataCentre, cloud: Cloud) -> facts.Cloud:
    hosts = centre.hosts_of(cloud.name)
    everywhere = [set(centre.hosts[host].configuration_versions) for host in centre.responding(cloud.name)]
    return facts.Cloud(
        cloud.name,
        hosts=len(hosts),
        vms=sum(vm.cloud == cloud.name for vm in centre.vms),
        storage=cloud.storage_classifications,
        logical_networks=cloud.logical_networks,
        configuration_versions=tuple(sorted(set.intersection(*everywhere), key=float)) if everywhere else (),
    )


def _host(centre: DataCentre, group: HostGroup, host: Host) -> facts.Host:
    cluster = centre.cluster_of(host.name)
    return facts.Host(
        name=host.name,
        group=group.path,
        cluster=cluster.name if cluster else "",
        responding=host.state == "Responding",
        version=host.hyper_v_version,
    )


def free_bytes(centre: DataCentre, replicas: Collection[Replica], classification: str) -> int:
    """What a storage classification has left: its capacity less every virtual disk promised on it."""
    capacity = next((int(item.capacity) for item in centre.storage if item.classification == classification), 0)
    own = sum(int(disk.size) for vm in centre.vms if vm.storage == classification for disk in vm.disks)
    theirs = sum(size for item in replicas if item.storage == classification for _, size in item.disks)
    return max(0, capacity - own - theirs)


def test_network_vms(network: str, halves: Iterable[Half]) -> tuple[str, ...]:
    """Ids of the test VMs on a network."""
    return tuple(half.test_vm.id for half in halves if half.test_vm and half.test_vm.network == network)


def _machine(centre: DataCentre, machine: Machine, used: Mapping[DiskSlot, int]) -> facts.VM:
    seen = centre.host(machine.host).state == "Responding"
    return facts.VM(
        id=machine.id,
        name=machine.name,
        cloud=machine.cloud,
        host=machine.host,
        state=machine.state if seen else "Unknown",
        generation=machine.generation,
        disks=tuple(_disk(disk, used.get(slot_fact(disk.slot)), index) for index, disk in enumerate(machine.disks)),
        adapters=adapters_of(centre, machine),
        storage=machine.storage,
        operating_system=machine.operating_system,
        unsupported=tuple(limit.value for limit in machine_limits(centre, machine)),
        status=machine.status or ("" if seen else "HostNotResponding"),
        configuration_version=machine.configuration_version,
        highly_available=centre.is_highly_available(machine),
        checkpoints=machine.checkpoints,
        virtual_tpm=machine.virtual_tpm or machine.shielded,
        dvd=machine.dvd,
    )


def _disk(disk: Disk, used: int | None, index: int) -> facts.Disk:
    limit = disk_limit(disk)
    return facts.Disk(
        slot=slot_fact(disk.slot),
        size_bytes=int(disk.size),
        used_bytes=used,
        format=disk.format,
        unsupported=limit.value if limit else "",
        operating_system=index == 0,
        chain=disk.chain,
    )
