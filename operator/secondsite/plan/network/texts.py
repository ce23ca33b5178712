"""Reads addresses and subnets as sites and specs write them. What cannot be read is None, never an exception."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Subnet = IPv4Network | IPv6Network


def to_address(text: str) -> Address | None:
    """The address that `text` writes."""
    try:
        return ip_address(text)
    except ValueError:
        return None


def to_subnet(text: str) -> Subnet | None:
    """The subnet that `text` writes as CIDR."""
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


def canonical(text: str) -> str:
    """The one spelling of an address by which two are compared."""
    address = to_address(text)
    return text if address is None else str(address)


def usable(addresses: tuple[str, ...]) -> list[Address]:
    """Addresses that mean something at another site: a guest also reports link-local ones, and sometimes rubbish."""
    return [address for text in addresses if (address := to_address(text)) and not address.is_link_local]
