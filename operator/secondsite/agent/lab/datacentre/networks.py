"""Networks: VM networks with and without isolation, the logical networks under them, static address pools."""

from __future__ import annotations

import ipaddress
from typing import Literal

from pydantic import Field, model_validator

from secondsite.agent.lab.datacentre.parts import Address, Cidr, Name, Part


class PoolRange(Part):
    """A static address pool, both ends included."""

    start: Address
    end: Address
    dns_servers: tuple[Address, ...] = ()


class Subnet(Part):
    """A subnet; without `pool` its addresses are not the site's to give."""

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


class NetworkSite(Part):
    """A network site (logical network definition): subnets that a logical network has for some host groups."""

    name: Name
    host_groups: tuple[Name, ...] = ()
    """Empty: for all."""
    subnets: tuple[Subnet, ...] = ()


class LogicalNetwork(Part):
    """A logical network. Its network sites give the subnets of its VM network without isolation."""

    name: Name
    sites: tuple[NetworkSite, ...] = ()


class Network(Part):
    """A VM network. Without isolation VMM shows no subnet of it: they stand at the logical network's network sites."""

    name: Name
    logical_network: Name
    isolation: Literal["None", "VLAN", "NetworkVirtualization"] = "VLAN"
    subnets: tuple[Subnet, ...] = ()
