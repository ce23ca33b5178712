"""What a data-centre file says twice, or of something that is not there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from secondsite.agent.lab.datacentre.machines import Machine

if TYPE_CHECKING:
    from secondsite.agent.lab.datacentre.centre import DataCentre


def mistakes(centre: DataCentre) -> list[str]:
    """Every mistake, each named by where it stands."""
    return [*_doubles(centre), *_clouds(centre), *_clusters(centre), *_networks(centre), *_machines(centre)]


def _doubles(centre: DataCentre) -> Iterator[str]:
    yield from _twice("storage.classification", (item.classification for item in centre.storage))
    yield from _twice("hostGroups.name", (item.name for item in centre.host_groups))
    yield from _twice("hostGroups.hosts", (host for item in centre.host_groups for host in item.hosts))
    yield from _twice("clusters.nodes", (node for item in centre.clusters for node in item.nodes))
    yield from _twice("clouds.name", (item.name for item in centre.clouds))
    yield from _twice("networks.name", (item.name for item in centre.networks))
    yield from _twice("logicalNetworks.name", (item.name for item in centre.logical_networks))
    yield from _twice("vms.id", (item.id for item in centre.vms))
    yield from _twice("vms.adapters.mac", (adapter.mac for item in centre.vms for adapter in item.adapters))
    for network in centre.networks:
        yield from _twice(f"networks[{network.name}].subnets.name", (item.name for item in network.subnets))
    for vm in centre.vms:
        yield from _twice(f"vms[{vm.name}].disks.slot", (str(disk.slot) for disk in vm.disks))


def _twice(field: str, listed: Iterable[str]) -> Iterator[str]:
    for name, count in sorted(Counter(listed).items()):
        if count > 1:
            yield f"{field}: {name} stands there twice"


def _clouds(centre: DataCentre) -> Iterator[str]:
    groups = {item.name for item in centre.host_groups}
    classes = {item.classification for item in centre.storage}
    for cloud in centre.clouds:
        yield from (f"clouds[{cloud.name}]: no host group {name}" for name in cloud.host_groups if name not in groups)
        yield from (
            f"clouds[{cloud.name}]: no storage {name}" for name in cloud.storage_classifications if name not in classes
        )


def _clusters(centre: DataCentre) -> Iterator[str]:
    for cluster in centre.clusters:
        yield from (f"clusters[{cluster.name}]: no host {node}" for node in cluster.nodes if node not in centre.hosts)


def _networks(centre: DataCentre) -> Iterator[str]:
    groups = {item.name for item in centre.host_groups}
    open_ones = [network for network in centre.vm_networks if network.isolation == "None"]
    yield from _twice("networks.logicalNetwork without isolation", (item.logical_network for item in open_ones))
    for network in open_ones:
        if network.subnets:
            yield (
                f"networks[{network.name}]: it has no isolation, so its subnets stand in "
                f"logicalNetworks[{network.logical_network}].sites"
            )
    for logical in centre.logical_networks:
        for site in logical.sites:
            where = f"logicalNetworks[{logical.name}].sites[{site.name}]"
            yield from (f"{where}: no host group {name}" for name in site.host_groups if name not in groups)


def _machines(centre: DataCentre) -> Iterator[str]:
    classes = {item.classification for item in centre.storage}
    # What is shown without subnets is connected to without one.
    networks = {item.name: {subnet.name for subnet in item.subnets} or {""} for item in centre.vm_networks}
    hosts = {item.name: set(centre.hosts_of(item.name)) for item in centre.clouds}
    for vm in centre.vms:
        if vm.host not in hosts.get(vm.cloud, ()):
            yield f"vms[{vm.name}]: cloud {vm.cloud} has no host {vm.host}"
        elif vm.configuration_version not in centre.hosts[vm.host].configuration_versions:
            yield f"vms[{vm.name}]: host {vm.host} runs no VM of configuration version {vm.configuration_version}"
        if vm.storage and vm.storage not in classes:
            yield f"vms[{vm.name}]: no storage {vm.storage}"
        if vm.highly_available and centre.cluster_of(vm.host) is None:
            yield f"vms[{vm.name}]: it is highly available, and host {vm.host} is in no cluster"
        yield from _adapters(vm, networks)


def _adapters(vm: Machine, networks: dict[str, set[str]]) -> Iterator[str]:
    for adapter in vm.adapters:
        if adapter.network and adapter.subnet not in networks.get(adapter.network, ()):
            yield f"vms[{vm.name}]: no subnet {adapter.network}/{adapter.subnet}"
