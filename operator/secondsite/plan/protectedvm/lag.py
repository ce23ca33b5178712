"""How far the replica is behind: the newest usable point in the operator's time, and the condition WithinRPO.

Lag counts from the moment at which the source held what the point contains. It is never made smaller than the truth.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from secondsite.api.condition import CommonReason
from secondsite.api.protectedvm_reasons import ProtectedVMReason as R
from secondsite.api.protectedvm_status import LastRecoveryPoint, ProtectedVMCondition, RecoveryPointSummary, RPOBudget
from secondsite.plan.actions import Finding
from secondsite.plan.conditions import finding
from secondsite.plan.protectedvm import desired
from secondsite.plan.protectedvm.view import View
from secondsite.wire.facts import Point

TYPE = ProtectedVMCondition.WITHIN_RPO
POINT_TYPES = {"CrashConsistent": "Regular", "AppConsistent": "ApplicationConsistent", "Synced": "Planned"}


@dataclass(frozen=True, slots=True)
class Lag:
    """The condition, the point that it speaks of, and when it turns by itself."""

    finding: Finding
    point: LastRecoveryPoint | None = None
    due: datetime | None = None


def lag(view: View) -> Lag:
    """Where the VM stands against its RPO target."""
    point, target = last_point(view), rpo_target(view)
    if point is None and view.target_unknown and view.silent:
        return Lag(finding(TYPE, None, CommonReason.SITE_UNREACHABLE, view.silence))
    if point is None:
        return Lag(finding(TYPE, None, R.NO_RECOVERY_POINT, "There is no recovery point yet, so nothing to measure."))
    if target is None:
        return Lag(finding(TYPE, None, R.POLICY_NOT_FOUND, "Without its policy the VM has no RPO target."), point)
    return _measured(view, point, timedelta(seconds=target))


def _measured(view: View, point: LastRecoveryPoint, target: timedelta) -> Lag:
    breach, seconds = point.source_time + target, int(target.total_seconds())
    if view.now < breach:
        message = f"The newest recovery point is not older than {seconds} s."
        return Lag(finding(TYPE, True, R.WITHIN_RPO, message), point, breach)
    since = f"{breach:%Y-%m-%d %H:%M:%S} UTC"
    if view.target_unknown and view.silent:
        message = f"By what was heard last the target of {seconds} s is missed since {since}. {view.silence}"
        return Lag(finding(TYPE, None, CommonReason.SITE_UNREACHABLE, message), point)
    return Lag(finding(TYPE, False, R.RPO_EXCEEDED, f"The RPO target of {seconds} s is missed since {since}."), point)


def rpo_target(view: View) -> int | None:
    """Seconds: the policy's, else what the sites were told last."""
    if view.picture.policy is not None:
        return desired.rpo_target(view.picture.policy)
    told = view.target.settings if view.target else None
    return told.rpo_target_seconds or None if told else None


def last_point(view: View) -> LastRecoveryPoint | None:
    """The newest point that the target can use; while it cannot be asked, the one that was last reported."""
    if view.target is not None:
        return _shown(view, view.target.newest_point) if view.target.newest_point else None
    return _remembered(view) if view.target_unknown else None


def _shown(view: View, point: Point) -> LastRecoveryPoint:
    return LastRecoveryPoint(
        source_time=min(point.source_time - _skew(view, point), view.now),
        basis=point.basis,
        type=POINT_TYPES[point.type],
    )


def _skew(view: View, point: Point) -> timedelta:
    """A freeze is stamped by the source's clock, an estimate by the target's."""
    clock = view.world.target if point.basis == "Estimated" else view.world.source
    return clock.skew if clock is not None else timedelta(0)


def _remembered(view: View) -> LastRecoveryPoint | None:
    said = view.world.status.get("lastRecoveryPoint")
    try:
        return None if said is None else LastRecoveryPoint.model_validate(said)
    except ValueError:
        return None


def points(view: View) -> RecoveryPointSummary | None:
    """The points at the target."""
    target, clock = view.target, view.world.source
    if target is None or not target.point_count:
        return None
    oldest, consistent = target.oldest_point_time, target.newest_app_consistent_time
    return RecoveryPointSummary(
        count=target.point_count,
        oldest_time=oldest - clock.skew if oldest else None,
        newest_app_consistent_time=consistent - clock.skew if consistent else None,
    )


def budget(view: View) -> RPOBudget | None:
    """Minutes outside the target in the policy's window, as the target's site counted them."""
    policy = view.picture.policy
    if policy is None or view.target is None or view.target.newest_point is None:
        return None
    days = view.target.seconds_outside_rpo
    if days is None:
        return None
    first_day = f"{view.now - timedelta(days=policy.rpo.window_days - 1):%Y-%m-%d}"
    used = ceil(sum(seconds for day, seconds in days if day >= first_day) / 60)
    return RPOBudget(used_minutes=used, left_minutes=max(policy.rpo.budget_minutes - used, 0))
