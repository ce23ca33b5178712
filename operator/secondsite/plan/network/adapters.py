"""The plan for every adapter of one VM: where it is connected after a failover, with which addresses, by whose word."""

from dataclasses import dataclass, replace
from typing import Literal

from secondsite.api.networkmapping import MappingReason
from secondsite.api.protectedvm import AdapterOverride
from secondsite.plan.network.addresses import Ground, Place, Unresolved, resolve
from secondsite.plan.network.holdings import Holdings
from secondsite.plan.network.overrides import match
from secondsite.plan.network.routes import Mapped, Route, find_route
from secondsite.plan.network.steering import steer
from secondsite.plan.network.texts import to_address, to_subnet, usable
from secondsite.plan.observed import SiteView
from secondsite.wire.inventory import VM, Adapter

Resolution = Literal["Override", "Mapping", "Disconnected", "Collision", "Pending"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be reserved at the target: one address of each pool subnet, and the fixed addresses."""

    network: str
    subnets: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PlannedAdapter:
    """What one adapter gets. Without a `network` it stays disconnected; `fault` says that this needs a person."""

    adapter: Adapter
    resolution: Resolution = "Disconnected"
    mapping: str = ""
    network: str = ""
    subnet: str = ""
    addresses: tuple[str, ...] = ()
    gateway: str = ""
    dns_servers: tuple[str, ...] = ()
    test_network: str = ""
    message: str = ""
    reason: MappingReason | None = None
    fault: bool = False
    wanted: Wanted | None = None

    @property
    def resolved(self) -> bool:
        """Whether nothing is owed to this adapter."""
        return self.resolution in ("Override", "Mapping") or (self.resolution == "Disconnected" and not self.reason)


@dataclass(frozen=True, slots=True)
class Subject:
    """One VM on its way from one site to the other."""

    vm: VM
    source: str
    """Name of the site from which it goes."""
    target: SiteView
    mappings: tuple[Mapped, ...] = ()
    overrides: tuple[AdapterOverride, ...] = ()

    @property
    def holdings(self) -> Holdings:
        return Holdings(self.vm.id, self.target)


def plan_adapters(subject: Subject) -> tuple[PlannedAdapter, ...]:
    """The plan, in the order of the VM's adapters."""
    overrides, _ = match(subject.vm.adapters, subject.overrides)
    return tuple(_plan_one(subject, adapter, overrides.get(adapter.mac_address)) for adapter in subject.vm.adapters)


def _plan_one(subject: Subject, adapter: Adapter, override: AdapterOverride | None) -> PlannedAdapter:
    blank = PlannedAdapter(adapter)
    if not adapter.network and not (override and override.target_network):
        return replace(blank, message="The adapter is not connected at the source.")
    mapped = find_route(subject.mappings, subject.source, subject.target.name, adapter.network)
    route = steer(mapped, override)
    if route is None:
        return _unmapped(subject, blank)
    blank = replace(blank, mapping=route.mapping, test_network=route.test_network)
    network = subject.target.networks.get(route.network)
    if network is None:
        reason = MappingReason.TARGET_NETWORK_NOT_FOUND
        message = f"Site {subject.target.name} has no VM network '{route.network}'"
        return _disconnected(blank, route, Unresolved(reason, message))
    fitted = replace(
        blank, network=route.network, dns_servers=route.dns_servers, resolution=_resolution(override, route)
    )
    if route.test_network and route.test_network not in subject.target.networks:
        # A test then gets an isolated network; what the site does not have must not keep the replica from its plan.
        fitted = replace(fitted, test_network="")
    return _address(subject, fitted, route, Ground(network, subject.target.pools, adapter.subnet), override)


def _resolution(override: AdapterOverride | None, route: Route) -> Resolution:
    decided = override and (override.target_network or override.target_subnet or override.addresses)
    return "Override" if decided or not route.mapping else "Mapping"


def _unmapped(subject: Subject, blank: PlannedAdapter) -> PlannedAdapter:
    network = blank.adapter.network
    message = (
        f"No NetworkMapping maps network '{network}' of site {subject.source} to site {subject.target.name}: "
        "create one, or name a targetNetwork in spec.networkAdapters"
    )
    return replace(blank, message=message, reason=MappingReason.ADAPTERS_UNRESOLVED, fault=True)


def _disconnected(planned: PlannedAdapter, route: Route, why: Unresolved) -> PlannedAdapter:
    """Disconnected and reported. It is a fault unless the mapping says that disconnecting is fine."""
    return PlannedAdapter(
        planned.adapter,
        mapping=planned.mapping,
        test_network=planned.test_network,
        message=why.message,
        reason=why.reason,
        fault=route.on_unmapped == "Block" or not route.mapping,
    )


def _address(
    subject: Subject, planned: PlannedAdapter, route: Route, ground: Ground, override: AdapterOverride | None
) -> PlannedAdapter:
    addresses = usable(planned.adapter.addresses)
    if override and override.addresses:
        places = [_fixed(text, override, ground) for text in override.addresses]
    elif route.mode == "DHCP":
        return replace(planned, subnet=_dhcp_subnet(planned, route))
    else:
        places = [resolve(address, route, ground) for address in addresses]
    for place in places:
        if isinstance(place, Unresolved):
            return _disconnected(planned, route, place)
    return _settle(subject, planned, route, ground, [place for place in places if isinstance(place, Place)])


def _fixed(text: str, override: AdapterOverride, ground: Ground) -> Place | Unresolved:
    address = to_address(text)
    subnet = to_subnet(override.target_subnet or "") or (ground.holding(address) if address else None)
    if address is None or subnet is None or address not in subnet:
        message = f"Address {text} of spec.networkAdapters is in no subnet of network {ground.network.name}"
        return Unresolved(MappingReason.TARGET_SUBNET_NOT_FOUND, message)
    return Place(subnet, address)


def _dhcp_subnet(planned: PlannedAdapter, route: Route) -> str:
    addresses = usable(planned.adapter.addresses)
    found = (pair.target for address in addresses for pair in route.pairs if address in pair.source)
    return str(next(found, ""))


def _settle(
    subject: Subject, planned: PlannedAdapter, route: Route, ground: Ground, places: list[Place]
) -> PlannedAdapter:
    """Fixed addresses are checked, those of pools looked up among what the site has reserved."""
    mac = planned.adapter.mac_address
    fixed = [str(place.address) for place in places if place.address is not None]
    for address in fixed:
        if holder := subject.holdings.other(route.network, address, mac):
            return _colliding(planned, address, holder)
    kept = [place.address for place in places if place.address is not None]
    # A site gives one address per subnet: where a fixed one lies, none is drawn.
    open_places = [p for p in places if p.address is None and not any(address in p.subnet for address in kept)]
    drawn = {place.subnet: ground.pool(place.subnet) for place in open_places}
    got = {cidr: subject.holdings.mine(pool, mac, fixed) for cidr, pool in drawn.items() if pool}
    empty = next((cidr for cidr, pool in drawn.items() if not got.get(cidr) and (pool is None or pool.free <= 0)), None)
    if empty is not None:
        why = f"The pool of subnet {empty} of network {route.network} has no free address: extend it in VMM"
        return _disconnected(planned, route, Unresolved(MappingReason.POOL_EXHAUSTED, why))
    wanted = _wanted(route, ground, fixed, places, tuple(str(cidr) for cidr in drawn))
    addresses = tuple(fixed) + tuple(address for address in got.values() if address)
    pending = any(not address for address in got.values())
    main = min(places, key=lambda place: place.subnet.version, default=None)
    return replace(
        planned,
        resolution="Pending" if pending else planned.resolution,
        message="Addresses are being reserved." if pending else "",
        addresses=addresses,
        subnet=str(main.subnet) if main else "",
        gateway=_gateway(main, ground) if main else "",
        dns_servers=planned.dns_servers or _dns_servers(main, ground),
        wanted=wanted,
    )


def _wanted(
    route: Route, ground: Ground, fixed: list[str], places: list[Place], subnets: tuple[str, ...]
) -> Wanted | None:
    # Only what lies in a pool can be handed out to somebody else.
    pooled = tuple(str(p.address) for p in places if p.address is not None and ground.pool(p.subnet) is not None)
    return Wanted(route.network, subnets, tuple(a for a in fixed if a in pooled)) if subnets or pooled else None


def _gateway(place: Place, ground: Ground) -> str:
    pool = ground.pool(place.subnet)
    return place.gateway or (pool.gateway if pool else "")


def _dns_servers(place: Place | None, ground: Ground) -> tuple[str, ...]:
    pool = ground.pool(place.subnet) if place else None
    return pool.dns_servers if pool else ()


def _colliding(planned: PlannedAdapter, address: str, holder: str) -> PlannedAdapter:
    message = f"Address {address} of network {planned.network} is held by {holder}: plan another one"
    return PlannedAdapter(
        planned.adapter,
        "Collision",
        mapping=planned.mapping,
        message=message,
        reason=MappingReason.ADDRESSES_COLLIDE,
        fault=True,
    )
