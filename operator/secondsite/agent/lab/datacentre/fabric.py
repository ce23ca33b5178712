"""VMM's fabric: its server, storage, host groups with their hosts, clusters, clouds."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ByteSize, Field

from secondsite.agent.lab.datacentre.parts import ConfigurationVersion, HostName, Name, Part

# "Upgrade virtual machine version in Hyper-V": what a host of Windows Server 2022 runs (Get-VMHostSupportedVersion).
_WINDOWS_SERVER_2022 = ("8.0", "8.1", "8.2", "8.3", "9.0", "9.1", "9.2", "9.3", "10.0")


class VMM(Part):
    """The VMM server."""

    name: HostName
    version: str = "10.22.1287.0"


class Storage(Part):
    """A storage classification of the site."""

    classification: Name
    capacity: ByteSize


class Host(Part):
    """A Hyper-V host. A bare name in the file is one with these defaults."""

    name: HostName
    state: Literal["Responding", "NotResponding"] = "Responding"
    """VMM's OverallState of it."""
    hyper_v_version: str = "10.0.20348.2527"
    configuration_versions: tuple[ConfigurationVersion, ...] = _WINDOWS_SERVER_2022
    """Of VMs that it can run."""


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class HostGroup(Part):
    """A VMM host group and its Hyper-V hosts."""

    name: Name
    parent: str = ""
    """Path of the group above it, such as `Europe\\London`; empty: it stands at the root."""
    members: tuple[Annotated[Host, BeforeValidator(_named)], ...] = Field(alias="hosts", min_length=1)

    @property
    def hosts(self) -> tuple[str, ...]:
        """Names of its hosts."""
        return tuple(host.name for host in self.members)

    @property
    def path(self) -> str:
        """As VMM shows it (VMHostGroup.Path)."""
        return "\\".join(part for part in ("All Hosts", self.parent, self.name) if part)


class Cluster(Part):
    """A failover cluster of hosts. Without a broker nothing can be replicated to it."""

    name: Name
    nodes: tuple[HostName, ...] = Field(min_length=1)
    broker: str = Field(default="", max_length=253)
    """FQDN of its Hyper-V Replica Broker."""


class Cloud(Part):
    """A VMM cloud: host groups, and what it offers."""

    name: Name
    host_groups: tuple[Name, ...] = Field(min_length=1)
    storage_classifications: tuple[Name, ...] = ()
    logical_networks: tuple[Name, ...] = ()
