"""A lab's data centre: what a site has, as VMM and Hyper-V would show it, read from a YAML file."""

from secondsite.agent.lab.datacentre.centre import DataCentre
from secondsite.agent.lab.datacentre.fabric import VMM, Cloud, Cluster, Host, HostGroup, Storage
from secondsite.agent.lab.datacentre.files import load
from secondsite.agent.lab.datacentre.knobs import Knobs
from secondsite.agent.lab.datacentre.machines import Adapter, Disk, Guest, Machine, Service, SlotName
from secondsite.agent.lab.datacentre.networks import LogicalNetwork, Network, NetworkSite, PoolRange, Subnet
from secondsite.agent.lab.datacentre.parts import Part

__all__ = [
    "VMM",
    "Adapter",
    "Cloud",
    "Cluster",
    "DataCentre",
    "Disk",
    "Guest",
    "Host",
    "HostGroup",
    "Knobs",
    "LogicalNetwork",
    "Machine",
    "Network",
    "NetworkSite",
    "Part",
    "PoolRange",
    "Service",
    "SlotName",
    "Storage",
    "Subnet",
    "load",
]
