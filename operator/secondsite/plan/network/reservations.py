"""What is to be reserved or given back at the target, so that the plan's addresses belong to the VM."""

from secondsite.plan.actions import Release, Reserve
from secondsite.plan.network.adapters import PlannedAdapter, Wanted
from secondsite.plan.network.holdings import Holdings
from secondsite.plan.network.texts import canonical, to_address, to_subnet
from secondsite.plan.observed import SiteView
from secondsite.wire.agent import NO_FENCE
from secondsite.wire.resources import ReservationWish


def reserve(vm_id: str, target: SiteView, planned: tuple[PlannedAdapter, ...]) -> tuple[Reserve | Release, ...]:
    """The differences between what is planned and what is held. An adapter without a plan keeps what it has."""
    held = Holdings(vm_id, target).of_vm()
    steps = (_step(vm_id, target.name, each, held.get(each.adapter.mac_address, set())) for each in planned)
    return tuple(step for step in steps if step is not None)


def release(vm_id: str, target: SiteView) -> tuple[Release, ...]:
    """Give back everything that the VM holds."""
    return tuple(Release(target.name, vm_id, mac) for mac in sorted(Holdings(vm_id, target).of_vm()))


def _step(vm_id: str, site: str, planned: PlannedAdapter, held: set[tuple[str, str]]) -> Reserve | Release | None:
    if planned.reason is not None or not planned.network:
        return None
    mac, wanted = planned.adapter.mac_address, planned.wanted
    if any(not _belongs(network, address, wanted) for network, address in held):
        # A site gives an adapter the same addresses until they are released: so release, then ask anew.
        return Release(site, vm_id, mac)
    if wanted is None or _has_all(wanted, {address for _, address in held}):
        return None
    wish = ReservationWish(
        fence=NO_FENCE, network=wanted.network, subnets=list(wanted.subnets), addresses=wanted.addresses
    )
    return Reserve(site, vm_id, mac, wish)


def _belongs(network: str, address: str, wanted: Wanted | None) -> bool:
    if wanted is None or wanted.network != network:
        return False
    return canonical(address) in wanted.addresses or any(_inside(address, cidr) for cidr in wanted.subnets)


def _has_all(wanted: Wanted, held: set[str]) -> bool:
    spare = held - set(wanted.addresses)
    drawn = all(any(_inside(address, cidr) for address in spare) for cidr in wanted.subnets)
    return drawn and held >= set(wanted.addresses)


def _inside(address: str, cidr: str) -> bool:
    one, subnet = to_address(address), to_subnet(cidr)
    return one is not None and subnet is not None and one in subnet
