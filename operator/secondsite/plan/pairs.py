"""How far one pair of clouds of a policy is prepared, and what is to be done next for it."""

from dataclasses import dataclass
from typing import Literal

from secondsite.api.condition import CommonReason
from secondsite.api.replicationpolicy_status import PolicyReason as R
from secondsite.plan.actions import Associate
from secondsite.plan.association import Policy, Sides, association_id, port_of
from secondsite.plan.conditions import first, named
from secondsite.plan.observed import PolicyWorld, SiteView


@dataclass(frozen=True, slots=True)
class PairVerdict:
    """Whether both sides are prepared, else why not, and the step that comes next."""

    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str = ""
    action: Associate | None = None


@dataclass(frozen=True)
class PairCase:
    """One pair in the world of its policy."""

    world: PolicyWorld
    sides: Sides

    @property
    def label(self) -> str:
        source, target = self.sides.pair.source, self.sides.pair.target
        return f"{source.site_ref.name}/{source.cloud} to {target.site_ref.name}/{target.cloud}"

    @property
    def views(self) -> tuple[tuple[SiteView, str], ...]:
        """(site, cloud) of both sides."""
        pair = self.sides.pair
        return (self.sides.source, pair.source.cloud), (self.sides.target, pair.target.cloud)


def cases(world: PolicyWorld) -> list[PairCase]:
    """The policy's pairs, with all policies that share them."""
    shared = [world.policy, *(other for other in world.others if not other.deleting)]
    return [
        PairCase(
            world,
            Sides(
                pair=pair,
                policies=tuple(each for each in shared if _has(each, association_id(pair))),
                identity=world.identity,
                source=_view(world, pair.source.site_ref.name),
                target=_view(world, pair.target.site_ref.name),
            ),
        )
        for pair in world.policy.spec.cloud_pairs
    ]


def verdict(case: PairCase) -> PairVerdict:
    """The first check that has something to say."""
    return first(_CHAIN, case) or PairVerdict("True", R.ASSOCIATED)


def _site_exists(case: PairCase) -> PairVerdict | None:
    missing = [view.name for view, _ in case.views if view.name not in case.world.site_objects]
    return (
        PairVerdict("False", R.SITE_NOT_FOUND, f"There is no VMMSite {named(missing)}: create it.") if missing else None
    )


def _transport_agrees(case: PairCase) -> PairVerdict | None:
    """One host has one listener: where policies differ, the oldest one's transport is served."""
    policy, target = case.world.policy, case.sides.pair.target.site_ref.name
    mine = _transport(policy)
    age = (policy.creation_timestamp, policy.uid)
    for other in case.world.others:
        older = (other.creation_timestamp, other.uid) < age and not other.deleting
        if older and _uses(other, target) and _transport(other) != mine:
            authentication, port = _transport(other)
            message = (
                f"ReplicationPolicy '{other.name}' is older and has transport {authentication} on port {port} at site "
                f"{target}: use the same, or other hosts."
            )
            return PairVerdict("False", R.TRANSPORT_CONFLICT, message)
    return None


def _sites_answer(case: PairCase) -> PairVerdict | None:
    for view, _ in case.views:
        if not view.known:
            what = view.contact.message or "it has not told everything yet"
            return PairVerdict("Unknown", CommonReason.SITE_UNREACHABLE, f"Site {view.name} cannot be asked: {what}.")
    return None


def _clouds_exist(case: PairCase) -> PairVerdict | None:
    for view, cloud in case.views:
        there = [each.name for each in view.site.clouds] if view.site else []
        if there and cloud not in there:
            message = f"Site {view.name} has no cloud '{cloud}'; it has: {named(there)}."
            return PairVerdict("False", R.CLOUD_NOT_FOUND, message)
        used = case.world.site_objects[view.name].spec.clouds
        if used and cloud not in used:
            message = f"VMMSite '{view.name}' does not use cloud '{cloud}': add it to its spec.clouds."
            return PairVerdict("False", R.CLOUD_NOT_FOUND, message)
    return None


def _vault_is_there(case: PairCase) -> PairVerdict | None:
    if case.world.identity.vault:
        return None
    return PairVerdict("False", R.SITE_NOT_READY, "The vault has no certificate authority yet.")


def _storage_exists(case: PairCase) -> PairVerdict | None:
    target = case.sides.target
    there = {each.classification for each in target.site.storage} if target.site else set()
    wanted = [each.target_classification for each in case.sides.pair.storage]
    missing = [each for each in wanted if there and each not in there]
    if not missing:
        return None
    message = f"Site {target.name} has no storage classification {named(missing)}; it has: {named(sorted(there))}."
    return PairVerdict("False", R.STORAGE_CLASSIFICATION_NOT_FOUND, message)


def _sites_obey(case: PairCase) -> PairVerdict | None:
    if case.sides.target_done and case.sides.source_done:
        return None
    for view, _ in case.views:
        if view.suspended:
            message = f"VMMSite '{view.name}' is suspended: no command is sent to it."
            return PairVerdict("False", R.SITE_NOT_READY, message)
    return None


def _target_prepared(case: PairCase) -> PairVerdict | None:
    sides = case.sides
    if sides.target_done:
        return None
    action = Associate(sides.target.name, sides.id, sides.target_wish)
    return PairVerdict("False", R.ASSOCIATING, f"Site {sides.target.name} is asked to prepare its side.", action)


def _source_prepared(case: PairCase) -> PairVerdict | None:
    sides = case.sides
    if sides.source_done:
        return None
    if sides.source_wish is None:
        message = f"Site {sides.target.name} has not said yet where it takes data."
        return PairVerdict("False", R.ASSOCIATING, message)
    action = Associate(sides.source.name, sides.id, sides.source_wish)
    return PairVerdict("False", R.ASSOCIATING, f"Site {sides.source.name} is asked to prepare its side.", action)


_CHAIN = (
    _site_exists,
    _transport_agrees,
    _sites_answer,
    _clouds_exist,
    _vault_is_there,
    _sites_obey,
    _target_prepared,  # first, because it says where it takes data
    _source_prepared,
    _storage_exists,  # stops only the VMs that need it
)


def _view(world: PolicyWorld, name: str) -> SiteView:
    return world.sites.get(name) or SiteView(name)


def _has(policy: Policy, id_: str) -> bool:
    return any(association_id(pair) == id_ for pair in policy.spec.cloud_pairs)


def _uses(policy: Policy, target: str) -> bool:
    return any(pair.target.site_ref.name == target for pair in policy.spec.cloud_pairs)


def _transport(policy: Policy) -> tuple[str, int]:
    return policy.spec.transport.authentication, port_of(policy.spec)
