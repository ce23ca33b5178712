"""What one address becomes at the target: kept, shifted into another subnet, taken from a pool, or nothing at all.

An address that no rule resolves is never guessed: it comes back as a problem, and the adapter stays disconnected.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from secondsite.api.networkmapping import MappingReason
from secondsite.plan.conditions import first
from secondsite.plan.network.routes import Pair, Route
from secondsite.plan.network.texts import Address, Subnet, to_subnet
from secondsite.wire.inventory import Network, Pool


@dataclass(frozen=True, slots=True)
class Ground:
    """What the target's site says of the network to which an adapter shall go."""

    network: Network
    pools: Mapping[str, Pool]
    """All pools of the site, by `network/subnet`."""
    source_subnet: str = ""
    """Name of the adapter's subnet at the source."""

    def subnets(self) -> Iterator[tuple[str, Subnet]]:
        """(name, CIDR) of the network's subnets."""
        return ((subnet.name, cidr) for subnet in self.network.subnets if (cidr := to_subnet(subnet.cidr)))

    def pool(self, cidr: Subnet) -> Pool | None:
        """The pool of a subnet."""
        names = (name for name, subnet in self.subnets() if subnet == cidr)
        found = (self.pools.get(f"{self.network.name}/{name}") for name in names)
        return next((pool for pool in found if pool is not None), None)

    def holding(self, address: Address) -> Subnet | None:
        """The subnet in which an address lies."""
        return next((cidr for _, cidr in self.subnets() if address in cidr), None)


@dataclass(frozen=True, slots=True)
class Place:
    """Where an address goes. No `address`: the pool of `subnet` gives one."""

    subnet: Subnet
    address: Address | None = None
    gateway: str = ""


@dataclass(frozen=True, slots=True)
class Unresolved:
    """Why an address goes nowhere."""

    reason: MappingReason
    message: str


@dataclass(frozen=True, slots=True)
class Question:
    """One address at the source, and all that decides about it."""

    address: Address
    route: Route
    ground: Ground

    @property
    def pair(self) -> Pair | None:
        return next((pair for pair in self.route.pairs if self.address in pair.source), None)


def resolve(address: Address, route: Route, ground: Ground) -> Place | Unresolved:
    """What becomes of `address`."""
    question = Question(address, route, ground)
    return first(_CHAIN, question) or Unresolved(
        MappingReason.TARGET_SUBNET_NOT_FOUND,
        f"{address} is in no subnet of mapping {route.mapping or 'the override'}: add a pair to spec.subnets",
    )


def _explicitly(question: Question) -> Place | None:
    pair = question.pair
    address = pair.explicit.get(question.address) if pair else None
    return Place(pair.target, address, pair.gateway) if pair and address else None


def _kept(question: Question) -> Place | Unresolved | None:
    if question.route.mode != "Preserve":
        return None
    pair, address = question.pair, question.address
    if pair and address in pair.target:
        return Place(pair.target, address, pair.gateway)
    stretched = question.ground.holding(address)
    if stretched is not None and not question.route.pairs:
        return Place(stretched, address)
    return Unresolved(
        MappingReason.TARGET_SUBNET_NOT_FOUND,
        f"{address} cannot be kept: no mapped subnet of network {question.ground.network.name} contains it",
    )


def _shifted(question: Question) -> Place | None:
    pair = question.pair
    if question.route.mode != "Offset" or pair is None:
        return None
    host = int(question.address) - int(pair.source.network_address)
    if host >= pair.target.num_addresses:
        return None
    # By the integer alone a low IPv6 address would be taken for an IPv4 one.
    return Place(pair.target, type(question.address)(int(pair.target.network_address) + host), pair.gateway)


def _from_pool(question: Question) -> Place | Unresolved | None:
    if question.route.mode != "Pool":
        return None
    pair = question.pair
    cidr = pair.target if pair else _same_subnet(question)
    if cidr is None:
        return None
    if question.ground.pool(cidr) is None:
        name = question.ground.network.name
        return Unresolved(
            MappingReason.POOL_NOT_FOUND, f"Subnet {cidr} of network {name} has no static address pool: add one in VMM"
        )
    return Place(cidr, None, pair.gateway if pair else "")


def _same_subnet(question: Question) -> Subnet | None:
    """Without a pair: the target's subnet of the same name, or its only one of this family."""
    if question.route.pairs:
        return None
    family = [(name, cidr) for name, cidr in question.ground.subnets() if cidr.version == question.address.version]
    namesakes = [cidr for name, cidr in family if name == question.ground.source_subnet]
    candidates = namesakes or [cidr for _, cidr in family]
    return candidates[0] if len(candidates) == 1 else None


_CHAIN = (
    _explicitly,  # a person named the address
    _kept,
    _shifted,
    _from_pool,
)
