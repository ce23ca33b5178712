"""ReplicationPolicy: prepares both sides of its pairs of clouds, and counts how far it has been rolled out."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from secondsite.api.condition import CommonReason
from secondsite.api.replicationpolicy_status import (
    CloudName,
    CloudPairStatus,
    PolicyCondition,
    PolicyReason,
    ReplicationPolicyStatus,
)
from secondsite.api.window import EffectiveWindow
from secondsite.plan.actions import (
    NOTHING,
    Action,
    AddFinalizer,
    Associate,
    Dissociate,
    Finding,
    Plan,
    RemoveFinalizer,
    Report,
    Trouble,
)
from secondsite.plan.association import older_first, port_of
from secondsite.plan.conditions import finding, fold, named, not_implemented
from secondsite.plan.finalizers import IN_USE
from secondsite.plan.observed import PolicyWorld
from secondsite.plan.pairs import PairCase, PairVerdict, cases, verdict
from secondsite.plan.protectedvm.desired import rpo_target
from secondsite.plan.window import resynchronization_window

_DEFAULT_DEADLINE_MINUTES = 60


def plan(world: PolicyWorld) -> Plan:
    """Prepare what is not prepared; when the last user is gone, undo it."""
    if world.policy.deleting:
        return _give_up(world)
    found = [verdict(case) for case in cases(world)]
    actions: tuple[Action, ...] = tuple(each.action for each in found if each.action is not None)
    if IN_USE not in world.policy.finalizers:
        # Before anything is done for it the object must be sure to be asked when it goes.
        return Plan((AddFinalizer(IN_USE),)) if actions or world.users else NOTHING
    return Plan(actions)


def _give_up(world: PolicyWorld) -> Plan:
    if IN_USE not in world.policy.finalizers:
        return NOTHING
    if world.users:
        return Plan(waiting=(PolicyReason.IN_USE, _users(world)))
    due = _deadline(world)
    left = _left(world)
    if not left or (due is not None and due <= world.now):
        # One prepared side is harmless: it admits a site of the same vault.
        return Plan((RemoveFinalizer(IN_USE),))
    actions = tuple(Dissociate(site, id_) for site, id_, known in left if known)
    return Plan(actions, due=due, waiting=(CommonReason.DELETING, f"Waits for {named(site for site, _, _ in left)}."))


def _left(world: PolicyWorld) -> list[tuple[str, str, bool]]:
    """(site, association, whether the site can be asked) of what this policy alone had prepared."""
    left = []
    for case in cases(world):
        if len(case.sides.policies) > 1:
            continue
        for view in (case.sides.source, case.sides.target):
            able = view.known and not view.suspended
            if view.name in world.site_objects and (not view.known or case.sides.id in view.associations):
                left.append((view.name, case.sides.id, able))
    return left


def _deadline(world: PolicyWorld) -> datetime | None:
    minutes = world.vault.spec.deletion_deadline_minutes if world.vault else _DEFAULT_DEADLINE_MINUTES
    start = world.policy.deletion_timestamp
    return start + timedelta(minutes=minutes) if start else None


def _users(world: PolicyWorld) -> str:
    return f"Still used by {named(user.name for user in world.users)}: delete them or give them another policy."


def judge(world: PolicyWorld, plan: Plan, troubles: tuple[Trouble, ...]) -> Report:
    """How far the pairs are prepared and the users have the settings."""
    pairs = [(case, _troubled(case, verdict(case), troubles)) for case in cases(world)]
    associated, rolled_out = _associated(pairs), _rolled_out(world)
    return Report(
        findings=(_ready(world, plan, associated, rolled_out), associated, rolled_out),
        status=_status(world, pairs),
        due=plan.due,
    )


def _troubled(case: PairCase, found: PairVerdict, troubles: Iterable[Trouble]) -> PairVerdict:
    """What a site answered when it was asked to prepare its side says more than that it was asked."""
    for trouble in troubles:
        mine = isinstance(trouble.action, Associate) and trouble.action.id == case.sides.id
        if mine and found.status != "True" and trouble.kind in ("Refused", "SiteRefused"):
            message = f"{trouble.message} {trouble.remedy}".strip()
            return PairVerdict("False", PolicyReason.ASSOCIATION_FAILED, message)
    return found


def _associated(pairs: list[tuple[PairCase, PairVerdict]]) -> Finding:
    type_ = PolicyCondition.ASSOCIATED
    for status in ("False", "Unknown"):
        for case, found in pairs:
            if found.status == status:
                return Finding(type_, status, found.reason, f"{case.label}: {found.message}")
    return finding(type_, True, PolicyReason.ASSOCIATED, "Both sites of every pair of clouds are prepared.")


def _rolled_out(world: PolicyWorld) -> Finding:
    behind = [user.name for user in world.users if not user.settings_applied]
    if not behind:
        return finding(PolicyCondition.ROLLED_OUT, True, PolicyReason.ROLLED_OUT, "Every VM has these settings.")
    message = f"{len(behind)} of {len(world.users)} VMs do not have these settings yet: {named(behind)}."
    return finding(PolicyCondition.ROLLED_OUT, False, PolicyReason.ROLLING_OUT, message)


def _ready(world: PolicyWorld, plan: Plan, *parts: Finding) -> Finding:
    if world.policy.deleting:
        reason, message = plan.waiting or (CommonReason.DELETING, "The policy is being deleted.")
        return finding("Ready", False, reason, message)
    method = world.policy.spec.initial_replication.method
    if method != "Online":
        return not_implemented("Ready", f"This version cannot do initial replication by method '{method}'.")
    return fold(parts, "The policy is in force at all its sites.", reason=PolicyReason.READY)


def _status(world: PolicyWorld, pairs: list[tuple[PairCase, PairVerdict]]) -> dict[str, Any]:
    spec = world.policy.spec
    window = resynchronization_window(spec)
    tests = [user.last_test_time for user in world.users if user.last_test_time is not None]
    status = ReplicationPolicyStatus(
        cloud_pairs=tuple(_pair_status(case, found) for case, found in pairs),
        rpo_target_seconds=rpo_target(spec),
        resynchronization_window=EffectiveWindow(start=window.start, end=window.end, time_zone=window.time_zone)
        if window
        else None,
        protected_vms=len(world.users),
        within_rpo=sum(1 for user in world.users if user.within_rpo),
        rolled_out=sum(1 for user in world.users if user.settings_applied),
        last_test_failover_time=max(tests, default=None),
    )
    return {name: value for name, value in status.manifest().items() if name != "conditions"}


def _pair_status(case: PairCase, found: PairVerdict) -> CloudPairStatus:
    pair, leader = case.sides.pair, older_first(case.sides.policies)[0]
    return CloudPairStatus(
        source=CloudName(site=pair.source.site_ref.name, cloud=pair.source.cloud),
        target=CloudName(site=pair.target.site_ref.name, cloud=pair.target.cloud),
        associated=found.status,
        reason=found.reason,
        message=found.message or None,
        port=port_of(leader.spec),
    )
