"""Which mapping decides about a network in one direction, and what it says in that direction."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from secondsite.api.kind import Object
from secondsite.api.networkmapping import AddressMode, NetworkMappingSpec, OnUnmapped, SubnetPair
from secondsite.plan.network.texts import Address, Subnet, to_address, to_subnet

Mapped = Object[NetworkMappingSpec]


@dataclass(frozen=True, slots=True)
class Pair:
    """A subnet, the one that stands for it, and single addresses that do not follow the mode."""

    source: Subnet
    target: Subnet
    gateway: str = ""
    explicit: Mapping[Address, Address] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Route:
    """What is to become of adapters on one network, in one direction."""

    network: str
    """At the target."""
    mapping: str = ""
    mode: AddressMode = "DHCP"
    pairs: tuple[Pair, ...] = ()
    dns_servers: tuple[str, ...] = ()
    test_network: str = ""
    on_unmapped: OnUnmapped = "Disconnect"


def find_route(mappings: Iterable[Mapped], source: str, target: str, network: str) -> Route | None:
    """The route of `network` at site `source` to site `target`; `mappings` are oldest first, and the oldest decides.

    A mapping of this direction comes before one of the other direction read backwards.
    """
    everything = tuple(mappings)
    onward = (each for each in everything if _joins(each, source, network, target))
    back = (each for each in everything if _joins_back(each, source, network, target))
    if (mapping := next(onward, None)) is not None:
        return forward(mapping)
    return backward(mapping) if (mapping := next(back, None)) is not None else None


def forward(mapping: Mapped) -> Route:
    """The mapping as it is written."""
    spec = mapping.spec
    return Route(
        network=spec.target.network,
        mapping=mapping.name,
        mode=spec.address_mode,
        pairs=_pairs(spec),
        dns_servers=spec.dns_servers,
        test_network=spec.test_network or "",
        on_unmapped=spec.on_unmapped,
    )


def backward(mapping: Mapped) -> Route:
    """The way back, address by address. Gateway, DNS servers and test network are of one side: none carries over."""
    spec = mapping.spec
    return Route(
        network=spec.source.network,
        mapping=mapping.name,
        mode=spec.address_mode,
        pairs=tuple(_reversed(pair) for pair in _pairs(spec)),
        on_unmapped=spec.on_unmapped,
    )


def served_instead(mapping: Mapped, others: Iterable[Mapped]) -> Mapped | None:
    """The older mapping of the same source network to the same site, which is served in place of this one."""
    age = (mapping.creation_timestamp, mapping.uid)
    ends = _ends(mapping)
    return next((o for o in others if _ends(o) == ends and (o.creation_timestamp, o.uid) < age), None)


def _ends(mapping: Mapped) -> tuple[str, str, str]:
    spec = mapping.spec
    return spec.source.site_ref.name, spec.source.network, spec.target.site_ref.name


def _joins(mapping: Mapped, source: str, network: str, target: str) -> bool:
    return _ends(mapping) == (source, network, target)


def _joins_back(mapping: Mapped, source: str, network: str, target: str) -> bool:
    spec = mapping.spec
    return (spec.target.site_ref.name, spec.target.network, spec.source.site_ref.name) == (source, network, target)


def _pairs(spec: NetworkMappingSpec) -> tuple[Pair, ...]:
    return tuple(read for pair in spec.subnets if (read := _read(pair)) is not None)


def _read(pair: SubnetPair) -> Pair | None:
    source, target = to_subnet(pair.source), to_subnet(pair.target)
    if source is None or target is None:
        return None
    read = ((to_address(each.source), to_address(each.target)) for each in pair.explicit)
    return Pair(source, target, pair.gateway or "", {one: other for one, other in read if one and other})


def _reversed(pair: Pair) -> Pair:
    return Pair(pair.target, pair.source, "", {target: source for source, target in pair.explicit.items()})
