"""The company's two sites in outline: their hosts, clusters, clouds, storage, and the networks between them."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any

Body = dict[str, Any]


@dataclass(frozen=True)
class SitePlan:
    """One site. `octet` is the second of its own IPv4 addresses; the next one is for VMs of the other site."""

    name: str
    short: str
    octet: int
    peer: str

    @property
    def domain(self) -> str:
        return f"{self.name}.example"


SITES = (SitePlan("hamburg", "ham", 40, "antwerp"), SitePlan("antwerp", "ant", 60, "hamburg"))


@dataclass(frozen=True)
class Group:
    """A host group: `hosts` of them, in clusters of at most `cluster` (0: each stands alone)."""

    name: str
    cloud: str
    hosts: int
    cluster: int
    storage: tuple[str, ...]
    networks: tuple[str, ...] = ("Corporate",)


GROUPS = (
    Group("Production", "Production", 16, 8, ("Gold", "Silver", "Bronze")),
    Group("Database", "Databases", 4, 4, ("Gold",)),
    Group("Desktop", "Desktops", 6, 6, ("Bronze",)),
    Group("Branch", "Branches", 6, 0, ("Bronze",), ("Corporate", "BranchWAN")),
    Group("Development", "Development", 4, 0, ("Bronze",), ("Corporate", "Tenants")),
    Group("Recovery", "Recovery", 8, 8, ("Gold", "Silver", "Bronze"), ("Corporate", "BranchWAN")),
)
SILENT_HOST, NEW_HOSTS = 5, (0, 1)
"""The branch's host that does not respond, and development's that run Windows Server 2025 (by number)."""
_NEW_VERSIONS = ["8.0", "8.1", "8.2", "8.3", "9.0", "9.1", "9.2", "9.3", "10.0", "11.0", "12.0"]


def hosts(site: SitePlan, group: Group) -> list[str]:
    """FQDNs of a group's hosts."""
    return [f"{site.short}-{group.name[:3].lower()}{number + 1:02}.{site.domain}" for number in range(group.hosts)]


def fabric(site: SitePlan) -> Body:
    """The part of a data-centre file that is above networks and VMs."""
    groups = [
        {"name": f"{site.name.title()}-{group.name}", "parent": f"Europe\\{site.name.title()}", "hosts": named}
        for group in GROUPS
        for named in [[_host(group, number, host) for number, host in enumerate(hosts(site, group))]]
    ]
    return {
        "vmm": {"name": f"vmm01.{site.domain}", "version": "10.22.1287.0"},
        "storage": [{"classification": name, "capacity": size} for name, size in _STORAGE],
        "hostGroups": groups,
        "clusters": [cluster for group in GROUPS for cluster in _clusters(site, group)],
        "clouds": [
            {
                "name": group.cloud,
                "hostGroups": [f"{site.name.title()}-{group.name}"],
                "storageClassifications": list(group.storage),
                "logicalNetworks": list(group.networks),
            }
            for group in GROUPS
        ],
    }


_STORAGE = (("Gold", "256GiB"), ("Silver", "256GiB"), ("Bronze", "512GiB"))


def _host(group: Group, number: int, name: str) -> Any:
    if group.name == "Branch" and number == SILENT_HOST:
        return {"name": name, "state": "NotResponding"}
    if group.name == "Development" and number in NEW_HOSTS:
        return {"name": name, "hyperVVersion": "10.0.26100.1742", "configurationVersions": _NEW_VERSIONS}
    return name


def _clusters(site: SitePlan, group: Group) -> list[Body]:
    names = hosts(site, group)
    size = group.cluster
    chunks = [names[at : at + size] for at in range(0, len(names), size)] if size else []
    return [
        {
            "name": f"{site.short.upper()}-{group.name[:3].upper()}-{letter}",
            "broker": f"{site.short}-{group.name[:3].lower()}-broker-{letter.lower()}.{site.domain}",
            "nodes": chunk,
        }
        for letter, chunk in zip("ABCD", chunks, strict=False)
    ]


@dataclass(frozen=True)
class Net:
    """A VM network: a /22 of IPv4 and, where `six`, a /64 of IPv6. `stretched`: the same addresses at both sites."""

    name: str
    number: int
    six: bool = False
    stretched: bool = False
    pool: bool = True
    isolation: str = "VLAN"
    logical: str = "Corporate"

    def four(self, site: SitePlan, *, recovery: bool = False) -> ipaddress.IPv4Network:
        """Its IPv4 subnet at a site; `recovery`: the one that stands for the other site's."""
        octet = 20 if self.stretched else site.octet + int(recovery)
        return ipaddress.IPv4Network(f"10.{octet}.{self.number * 4}.0/22")

    def six_at(self, site: SitePlan, *, recovery: bool = False) -> ipaddress.IPv6Network:
        """Its IPv6 subnet."""
        return ipaddress.IPv6Network(f"2001:db8:{site.octet + int(recovery)}:{self.number}::/64")


NETS = (
    Net("Frontend", 0, six=True),
    Net("Application", 1),
    Net("Database", 2),
    Net("Desktops", 3, pool=False),
    Net("Management", 4, stretched=True),
    Net("DMZ", 5, six=True),
    Net("Tenants", 6, isolation="NetworkVirtualization", logical="Tenants"),
)
BRANCHES = 6
BRANCH_NET, REHEARSAL = "Branches", "Rehearsal"


def networks(site: SitePlan) -> Body:
    """VM networks of a site, those for the other site's VMs, and the logical networks' sites."""
    own = [_network(site, net, recovery=False) for net in NETS]
    for_peer = [_network(site, net, recovery=True) for net in NETS if not net.stretched]
    branches = [_branch_subnet(site, number, recovery=True) for number in range(BRANCHES)]
    dr = {"name": f"{BRANCH_NET}-DR", "logicalNetwork": "Corporate", "subnets": branches}
    rehearsal = _subnet(REHEARSAL, ipaddress.IPv4Network(f"10.{site.octet}.248.0/22"), 700)
    flat = [
        {"name": BRANCH_NET, "logicalNetwork": "BranchWAN", "isolation": "None"},
        {"name": REHEARSAL, "logicalNetwork": "Corporate", "subnets": [rehearsal]},
    ]
    sites = [{"name": f"Branch-{number + 1}", "subnets": [_branch_subnet(site, number)]} for number in range(BRANCHES)]
    return {
        "networks": [*own, *for_peer, dr, *flat],
        "logicalNetworks": [{"name": "Corporate"}, {"name": "Tenants"}, {"name": "BranchWAN", "sites": sites}],
    }


def branch_cidr(site: SitePlan, number: int, *, recovery: bool = False) -> ipaddress.IPv4Network:
    """The subnet of a branch office; `recovery`: the one that stands for it, of the other site's branch."""
    return ipaddress.IPv4Network(f"10.{site.octet + int(recovery)}.{200 + number}.0/24")


def _branch_subnet(site: SitePlan, number: int, *, recovery: bool = False) -> Body:
    name = f"Branch-{number + 1}{'-DR' if recovery else ''}"
    return _subnet(name, branch_cidr(site, number, recovery=recovery), 800 + 10 * recovery + number)


def _network(site: SitePlan, net: Net, *, recovery: bool) -> Body:
    name = f"{net.name}-DR" if recovery else net.name
    four = _subnet(f"{name}-v4", net.four(site, recovery=recovery), 100 * (1 + recovery) + net.number, pool=net.pool)
    six = net.six_at(site, recovery=recovery)
    subnets = [four, _subnet(f"{name}-v6", six, 100 * (1 + recovery) + net.number)] if net.six else [four]
    isolation = {} if net.isolation == "VLAN" else {"isolation": net.isolation}
    return {"name": name, "logicalNetwork": net.logical, **isolation, "subnets": subnets}


def _subnet(name: str, cidr: ipaddress.IPv4Network | ipaddress.IPv6Network, vlan: int, *, pool: bool = True) -> Body:
    """The gateway is the first address, the pool the last quarter of an IPv4 subnet, or 4096 of an IPv6 one."""
    made: Body = {"name": name, "cidr": str(cidr), "vlan": vlan, "gateway": str(cidr[1])}
    start, end = (cidr[0x1000], cidr[0x1FFF]) if cidr.version == 6 else (cidr[-cidr.num_addresses // 4], cidr[-2])
    if pool:
        servers = [str(cidr[2])] if cidr.version == 6 else ["10.20.16.10", "10.20.16.11"]
        made["pool"] = {"start": str(start), "end": str(end), "dnsServers": servers}
    return made
