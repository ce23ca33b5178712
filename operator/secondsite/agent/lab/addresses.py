"""Which address an adapter gets from the static pools: a pure choice, the same one every time."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping, Sequence

from secondsite.agent.lab.datacentre import Network, PoolRange, Subnet
from secondsite.wire.problems import Code, Refusal

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def choose(
    network: Network, subnets: Sequence[str], wished: Sequence[str], taken: Mapping[str, str], held: Collection[str]
) -> list[str]:
    """One address per wished subnet (CIDR), then the wished ones that lie in none of them.

    `taken` says who has which address (address to holder); `held` are the adapter's own from before, which it keeps.
    Raises Refusal: InUse, PoolExhausted, NotFound.
    """
    chosen = [_wish(network, address, taken) for address in wished]
    for cidr in subnets:
        subnet = _subnet(network, cidr)
        if not any(within(address, cidr) for address in chosen):
            chosen.append(_kept(held, cidr) or _free(network, subnet, taken, chosen))
    return chosen


def free_count(pool: PoolRange, taken: Collection[str]) -> int:
    """How many addresses of a pool nobody holds."""
    start, end = ipaddress.ip_address(pool.start), ipaddress.ip_address(pool.end)
    inside = sum(1 for address in taken if int(start) <= int(ipaddress.ip_address(address)) <= int(end))
    return int(end) - int(start) + 1 - inside


def _wish(network: Network, address: str, taken: Mapping[str, str]) -> str:
    canonical = str(ipaddress.ip_address(address))
    if canonical in taken:
        raise Refusal(
            Code.IN_USE,
            f"Address {canonical} of network {network.name} is held by {taken[canonical]}",
            remedy="Plan another address, or release that one.",
        )
    if not any(within(canonical, subnet.cidr) for subnet in network.subnets):
        raise Refusal(Code.NOT_FOUND, f"Network {network.name} has no subnet with address {canonical}")
    return canonical


def _subnet(network: Network, cidr: str) -> Subnet:
    found = next((subnet for subnet in network.subnets if subnet.cidr == cidr), None)
    if found is None:
        raise Refusal(
            Code.NOT_FOUND,
            f"Network {network.name} has no subnet {cidr}; it has {', '.join(s.cidr for s in network.subnets)}",
        )
    return found


def _kept(held: Collection[str], cidr: str) -> str | None:
    return next((address for address in held if within(address, cidr)), None)


def _free(network: Network, subnet: Subnet, taken: Mapping[str, str], chosen: Sequence[str]) -> str:
    if subnet.pool is None:
        raise Refusal(
            Code.POOL_EXHAUSTED,
            f"Subnet {network.name}/{subnet.name} has no static address pool",
            remedy="Add a pool in VMM, or plan explicit addresses.",
        )
    start, end = ipaddress.ip_address(subnet.pool.start), ipaddress.ip_address(subnet.pool.end)
    for number in range(int(start), int(end) + 1):
        address = str(_address(number, start))
        if address not in taken and address not in chosen and address != subnet.gateway:
            return address
    raise Refusal(
        Code.POOL_EXHAUSTED,
        f"No address is free in {start} to {end} of {network.name}/{subnet.name}",
        remedy="Extend the pool in VMM, or release addresses.",
    )


def _address(number: int, like: Address) -> Address:
    # By the integer alone a low IPv6 address would be taken for an IPv4 one.
    return type(like)(number)


def within(address: str, cidr: str) -> bool:
    """Whether an address lies in a subnet."""
    return ipaddress.ip_address(address) in ipaddress.ip_network(cidr)
