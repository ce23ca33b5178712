"""Which address an adapter gets from the static pools: a pure choice, the same one every time."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping, Sequence

from secondsite.agent.lab.datacentre import Network, PoolRange, Subnet
from secondsite.wire.problems import Code, Refusal

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# A pool of IPv6 may hold more than any number that JSON's readers agree on.
_MOST = 2**53 - 1


def choose(
    network: Network, subnets: Sequence[str], wished: Sequence[str], taken: Mapping[str, str], held: Collection[str]
) -> list[str]:
    """One address per wished subnet (CIDR), then the wished ones that lie in none of them.

    `taken` says who has which address (address to holder); `held` are the adapter's own from before, which it keeps.
    Raises Refusal: InvalidRequest, InUse, PoolExhausted, NotFound.
    """
    chosen = [_wish(network, address, taken) for address in wished]
    if len(set(chosen)) < len(chosen):
        raise _invalid(f"An address of network {network.name} is wished twice: {', '.join(chosen)}")
    for cidr in subnets:
        subnet = _subnet(network, cidr)
        if not any(within(address, subnet.cidr) for address in chosen):
            chosen.append(_kept(held, subnet.cidr) or _free(network, subnet, taken, chosen))
    return chosen


def free_count(pool: PoolRange, taken: Collection[str]) -> int:
    """How many addresses of a pool nobody holds."""
    start, end = ipaddress.ip_address(pool.start), ipaddress.ip_address(pool.end)
    parsed = (ipaddress.ip_address(address) for address in taken)
    inside = sum(1 for address in parsed if address.version == start.version and int(start) <= int(address) <= int(end))
    return min(int(end) - int(start) + 1 - inside, _MOST)


def _wish(network: Network, text: str, taken: Mapping[str, str]) -> str:
    try:
        address = str(ipaddress.ip_address(text))
    except ValueError as error:
        raise _invalid(f"{text!r} is no address: {error}") from error
    if address in taken:
        raise _in_use(network, address, taken[address])
    subnet = next((item for item in network.subnets if within(address, item.cidr)), None)
    if subnet is None:
        raise Refusal(
            Code.NOT_FOUND,
            f"Network {network.name} has no subnet with address {address}; it has {_names(network)}",
            remedy="Plan an address in one of its subnets, or add the subnet in VMM and refresh the inventory.",
        )
    if address == subnet.gateway:
        raise _in_use(network, address, "the gateway")
    if not _is_host(address, subnet):
        raise _invalid(f"{address} is the network or the broadcast address of {subnet.cidr}")
    return address


def _subnet(network: Network, text: str) -> Subnet:
    try:
        cidr = str(ipaddress.ip_network(text))
    except ValueError as error:
        raise _invalid(f"{text!r} is no subnet: {error}") from error
    found = next((subnet for subnet in network.subnets if subnet.cidr == cidr), None)
    if found is None:
        raise Refusal(
            Code.NOT_FOUND,
            f"Network {network.name} has no subnet {cidr}; it has {_names(network)}",
            remedy="Correct the NetworkMapping, or add the subnet in VMM and refresh the inventory.",
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
        if address not in taken and address not in chosen and address != subnet.gateway and _is_host(address, subnet):
            return address
    raise Refusal(
        Code.POOL_EXHAUSTED,
        f"No address is free in {start} to {end} of {network.name}/{subnet.name}",
        remedy="Extend the pool in VMM, or release addresses.",
    )


def _is_host(address: str, subnet: Subnet) -> bool:
    """Not the subnet's own address and not its broadcast; a subnet of two or less has neither (RFC 3021, RFC 6164)."""
    network = ipaddress.ip_network(subnet.cidr)
    ends = (network.network_address, network.broadcast_address) if network.version == 4 else ()
    return network.num_addresses <= 2 or ipaddress.ip_address(address) not in ends


def _address(number: int, like: Address) -> Address:
    # By the integer alone a low IPv6 address would be taken for an IPv4 one.
    return type(like)(number)


def _names(network: Network) -> str:
    return ", ".join(subnet.cidr for subnet in network.subnets) or "none"


def _invalid(detail: str) -> Refusal:
    return Refusal(Code.INVALID_REQUEST, detail, remedy="Correct the plan's addresses.")


def _in_use(network: Network, address: str, holder: str) -> Refusal:
    return Refusal(
        Code.IN_USE,
        f"Address {address} of network {network.name} is held by {holder}",
        remedy="Plan another address, or release that one.",
    )


def within(address: str, cidr: str) -> bool:
    """Whether an address lies in a subnet."""
    return ipaddress.ip_address(address) in ipaddress.ip_network(cidr)
