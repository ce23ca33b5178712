"""The whole data centre, and what can be asked of it."""

from __future__ import annotations

import ipaddress
from functools import cached_property
from typing import Literal

from pydantic import Field, model_validator

from secondsite.agent.lab.datacentre.fabric import VMM, Cloud, Cluster, Host, HostGroup, Storage
from secondsite.agent.lab.datacentre.knobs import Knobs
from secondsite.agent.lab.datacentre.machines import Adapter, Machine
from secondsite.agent.lab.datacentre.mistakes import mistakes
from secondsite.agent.lab.datacentre.networks import LogicalNetwork, Network
from secondsite.agent.lab.datacentre.parts import Part
from secondsite.agent.lab.datacentre.planned import PlannedFault
from secondsite.wire.agent import Capability


class DataCentre(Part):
    """The whole file."""

    vmm: VMM
    storage: tuple[Storage, ...] = ()
    host_groups: tuple[HostGroup, ...] = Field(min_length=1)
    clusters: tuple[Cluster, ...] = ()
    clouds: tuple[Cloud, ...] = Field(min_length=1)
    logical_networks: tuple[LogicalNetwork, ...] = ()
    vm_networks: tuple[Network, ...] = Field(default=(), alias="networks")
    vms: tuple[Machine, ...] = ()
    knobs: Knobs = Knobs()
    capabilities: tuple[Literal["ResyncKeepsRecoveryPoints", "ScanAfterCrash", "Synchronize"], ...] = ()
    """What this site can do beyond Hyper-V."""
    faults: tuple[PlannedFault, ...] = ()
    """What will break, counted from the first start with this list."""

    @model_validator(mode="after")
    def _consistent(self) -> DataCentre:
        problems = mistakes(self)
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def offers(self) -> frozenset[Capability]:
        """What its driver can do: the lab always knows the freeze, and reaches isolated networks."""
        return frozenset({Capability.FREEZE_TIME, Capability.PROBE_ISOLATED, *map(Capability, self.capabilities)})

    # What is cached must not depend on `vms`: a refresh copies the data centre with others.
    @cached_property
    def networks(self) -> tuple[Network, ...]:
        """VM networks with the subnets that count: without isolation those of the logical network's sites."""
        sites = {item.name: [s for site in item.sites for s in site.subnets] for item in self.logical_networks}
        return tuple(
            network.model_copy(update={"subnets": tuple(sites.get(network.logical_network, ()))})
            if network.isolation == "None"
            else network
            for network in self.vm_networks
        )

    @cached_property
    def hosts(self) -> dict[str, Host]:
        """Every host, by name."""
        return {host.name: host for group in self.host_groups for host in group.members}

    def host(self, name: str) -> Host:
        """The host of that name; one that left the file does not respond."""
        return self.hosts.get(name) or Host(name=name, state="NotResponding")

    @cached_property
    def _clusters(self) -> dict[str, Cluster]:
        return {node: cluster for cluster in self.clusters for node in cluster.nodes}

    def cluster_of(self, host: str) -> Cluster | None:
        """The cluster that a host is a node of."""
        return self._clusters.get(host)

    def hosts_of(self, cloud: str) -> tuple[str, ...]:
        """Hosts of a cloud, in the file's order."""
        groups = next((item.host_groups for item in self.clouds if item.name == cloud), ())
        return tuple(host for group in self.host_groups if group.name in groups for host in group.hosts)

    def responding(self, cloud: str) -> tuple[str, ...]:
        """Hosts of a cloud that VMM can use now."""
        return tuple(name for name in self.hosts_of(cloud) if self.hosts[name].state == "Responding")

    def machine(self, vm_id: str) -> Machine | None:
        """The VM of that id."""
        return next((vm for vm in self.vms if vm.id == vm_id), None)

    def is_highly_available(self, machine: Machine) -> bool:
        """Whether a VM is a role of a cluster."""
        clustered = self.cluster_of(machine.host) is not None
        return clustered if machine.highly_available is None else machine.highly_available

    def subnet_of(self, adapter: Adapter) -> str:
        """Name of the subnet that an adapter is in. Without isolation only its address tells."""
        network = next((item for item in self.networks if item.name == adapter.network), None)
        if adapter.subnet or network is None or not adapter.addresses:
            return adapter.subnet
        address = ipaddress.ip_address(adapter.addresses[0])
        return next((item.name for item in network.subnets if address in ipaddress.ip_network(item.cidr)), "")
