"""NetworkMapping: whether both networks are there, and what becomes of the adapters that it decides about."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from secondsite.api.condition import CommonReason
from secondsite.api.networkmapping import (
    MappingCondition,
    MappingReason,
    NetworkIssue,
    NetworkMappingStatus,
    NetworkPlan,
)
from secondsite.api.scalars import MAX_INTEGER
from secondsite.plan.actions import NOTHING, Finding, Plan, Report, Trouble
from secondsite.plan.conditions import finding, first, fold, named
from secondsite.plan.network.adapters import PlannedAdapter
from secondsite.plan.network.routes import served_instead
from secondsite.plan.network.texts import to_subnet
from secondsite.plan.observed import MappingWorld, SiteView, VMWorld
from secondsite.plan.protectedvm.picture import Picture

R = MappingReason
_LISTED = 64


def plan(world: MappingWorld) -> Plan:  # noqa: ARG001 - every kind has the same two functions
    """A mapping needs nothing done: the ProtectedVMs carry it out."""
    return NOTHING


def judge(world: MappingWorld, plan: Plan, troubles: tuple[Trouble, ...]) -> Report:  # noqa: ARG001 - as above
    """Whether the mapping can be carried out, and for how many adapters."""
    count = _count(world)
    available = _available(world)
    complete = _complete(count)
    ready = _conflict(world) or fold((available, complete), "The mapping is in force.", reason=R.RESOLVED)
    return Report(findings=(ready, available, complete), status=_status(world, count))


@dataclass(slots=True)
class _Count:
    """The adapters of protected VMs that this mapping decides about, either way."""

    adapters: list[tuple[VMWorld, PlannedAdapter]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    doubles: set[str] = field(default_factory=set)

    def faulty(self) -> list[tuple[VMWorld, PlannedAdapter]]:
        return [(vm, each) for vm, each in self.adapters if not each.resolved]

    def collisions(self) -> list[tuple[VMWorld, PlannedAdapter]]:
        return [(vm, each) for vm, each in self.adapters if each.resolution == "Collision" or self._double(each)]

    def _double(self, planned: PlannedAdapter) -> bool:
        return any(f"{planned.network} {address}" in self.doubles for address in planned.addresses)


def _count(world: MappingWorld) -> _Count:
    count, seen = _Count(), set[str]()
    for vm in world.vms:
        planned = Picture(vm).adapters
        if planned is None:
            count.unknown.append(vm.vm.name)
        for each in planned or ():
            if each.mapping != world.mapping.name:
                continue
            count.adapters.append((vm, each))
            for address in (f"{each.network} {address}" for address in each.addresses):
                count.doubles |= {address} & seen
                seen.add(address)
    return count


def _conflict(world: MappingWorld) -> Finding | None:
    older = served_instead(world.mapping, world.others)
    if older is None:
        return None
    message = f"NetworkMapping '{older.name}' is older and maps the same network to the same site: it is served."
    return finding("Ready", False, R.CONFLICT, message)


def _available(world: MappingWorld) -> Finding:
    return first(_TARGET_CHAIN, world) or finding(
        MappingCondition.TARGET_AVAILABLE, True, R.NETWORKS_FOUND, "Both networks and all subnets are there."
    )


def _no(reason: str, message: str) -> Finding:
    return finding(MappingCondition.TARGET_AVAILABLE, False, reason, message)


def _sites_exist(world: MappingWorld) -> Finding | None:
    missing = [view.name for view in (world.source, world.target) if view.name not in world.site_objects]
    return _no(R.SITE_NOT_FOUND, f"There is no VMMSite {named(missing)}: create it.") if missing else None


def _sites_answer(world: MappingWorld) -> Finding | None:
    for view in (world.source, world.target):
        if not view.known:
            what = view.contact.message or "it has not told everything yet"
            message = f"Site {view.name} cannot be asked: {what}."
            return finding(MappingCondition.TARGET_AVAILABLE, None, CommonReason.SITE_UNREACHABLE, message)
    return None


def _networks_exist(world: MappingWorld) -> Finding | None:
    spec = world.mapping.spec
    wanted = (
        (world.source, spec.source.network, R.SOURCE_NETWORK_NOT_FOUND),
        (world.target, spec.target.network, R.TARGET_NETWORK_NOT_FOUND),
        (world.target, spec.test_network, R.TEST_NETWORK_NOT_FOUND),
    )
    for view, name, reason in wanted:
        if name and name not in view.networks:
            return _no(reason, f"Site {view.name} has no VM network '{name}'; it has: {named(sorted(view.networks))}.")
    return None


def _subnets_exist(world: MappingWorld) -> Finding | None:
    spec = world.mapping.spec
    there = _subnets(world.target, spec.target.network)
    missing = [pair.target for pair in spec.subnets if to_subnet(pair.target) not in there]
    if not missing:
        return None
    message = f"Network '{spec.target.network}' of site {world.target.name} has no subnet {named(missing)}; it has: "
    return _no(R.TARGET_SUBNET_NOT_FOUND, f"{message}{named(map(str, there)) or 'none'}.")


def _pools_exist(world: MappingWorld) -> Finding | None:
    spec = world.mapping.spec
    if spec.address_mode != "Pool":
        return None
    network = world.target.networks[spec.target.network]
    pooled = {
        to_subnet(subnet.cidr) for subnet in network.subnets if f"{network.name}/{subnet.name}" in world.target.pools
    }
    missing = [pair.target for pair in spec.subnets if to_subnet(pair.target) not in pooled]
    if not missing and (pooled or spec.subnets):
        return None
    what = named(missing) or f"of network '{network.name}'"
    return _no(
        R.POOL_NOT_FOUND, f"Site {world.target.name} has no static address pool for subnet {what}: add one in VMM."
    )


_TARGET_CHAIN = (_sites_exist, _sites_answer, _networks_exist, _subnets_exist, _pools_exist)


def _complete(count: _Count) -> Finding:
    type_ = MappingCondition.PLAN_COMPLETE
    if count.unknown:
        message = f"The adapters of {named(count.unknown)} cannot be looked up at present."
        return finding(type_, None, CommonReason.SITE_UNREACHABLE, message)
    if collisions := count.collisions():
        message = f"{len(collisions)} adapters would have an address that another one has: {_say(collisions)}."
        return finding(type_, False, R.ADDRESSES_COLLIDE, message)
    if faulty := count.faulty():
        message = f"{len(faulty)} of {len(count.adapters)} adapters are not resolved: {_say(faulty)}."
        return finding(type_, False, R.ADAPTERS_UNRESOLVED, message)
    return finding(type_, True, R.RESOLVED, "Every adapter on the network is resolved.")


def _say(found: list[tuple[VMWorld, PlannedAdapter]]) -> str:
    return named((f"{vm.vm.name} {each.adapter.name} ({each.message or 'same address'})" for vm, each in found), 3)


def _status(world: MappingWorld, count: _Count) -> dict[str, Any]:
    collisions, faulty = count.collisions(), count.faulty()
    status = NetworkMappingStatus(
        plan=NetworkPlan(
            adapters=len(count.adapters),
            resolved=len(count.adapters) - len(faulty),
            unresolved=len(faulty),
            collisions=len(collisions),
            pool_free=_pool_free(world.target, world.mapping.spec.target.network),
        ),
        issues=tuple(_issues(count))[:_LISTED],
    )
    whole = status.manifest()
    return {name: value for name, value in whole.items() if name != "conditions" and value != []}


def _issues(count: _Count) -> Iterator[NetworkIssue]:
    told = {id(each): (vm, each) for vm, each in (*count.collisions(), *count.faulty())}
    for vm, each in told.values():
        yield NetworkIssue(
            code=str(each.reason or (R.ADDRESSES_COLLIDE if each.resolved else R.ADAPTERS_UNRESOLVED)),
            message=each.message or f"{', '.join(each.addresses)} is planned for another adapter too.",
            protected_vm=vm.vm.name,
            adapter=each.adapter.mac_address,
        )


def _pool_free(view: SiteView, network: str) -> int | None:
    free = [pool.free for pool in view.pools.values() if pool.network == network]
    # The pool of one IPv6 subnet may already hold as many as a status can say.
    return min(sum(free), MAX_INTEGER) if view.known and free else None


def _subnets(view: SiteView, network: str) -> list[object]:
    found = view.networks.get(network)
    return [to_subnet(subnet.cidr) for subnet in found.subnets] if found else []
