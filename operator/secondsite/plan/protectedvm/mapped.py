"""The condition NetworkMapped: whether every adapter knows where it goes after a failover."""

from secondsite.api.condition import CommonReason
from secondsite.api.protectedvm_reasons import ProtectedVMReason as R
from secondsite.api.protectedvm_status import ProtectedVMCondition
from secondsite.plan.actions import Finding
from secondsite.plan.conditions import finding, first, named
from secondsite.plan.network.adapters import PlannedAdapter
from secondsite.plan.protectedvm.view import View

TYPE = ProtectedVMCondition.NETWORK_MAPPED


def network_mapped(view: View) -> Finding:
    """The first check that has something to say."""
    return first(_CHAIN, view) or finding(
        TYPE, True, R.ALL_ADAPTERS_MAPPED, "Every adapter has a network, and an address where it needs one."
    )


def _overrides(view: View) -> Finding | None:
    problems = view.picture.override_problems
    return (
        finding(TYPE, False, problems[0].reason, f"{problems[0].message}. {problems[0].action}") if problems else None
    )


def _unknown(view: View) -> Finding | None:
    if view.picture.adapters is not None:
        return None
    if view.silent:
        return finding(TYPE, None, CommonReason.SITE_UNREACHABLE, view.silence)
    return finding(TYPE, False, R.VALIDATING, "The adapters are planned once VM and target site are known.")


def _none(view: View) -> Finding | None:
    if view.picture.adapters:
        return None
    return finding(TYPE, True, R.NO_ADAPTERS, "The VM has no network adapter.")


def _colliding(view: View) -> Finding | None:
    found = _with(view, "Collision")
    return finding(TYPE, False, R.ADDRESS_COLLISION, _say(found)) if found else None


def _faulty(view: View) -> Finding | None:
    found = [each for each in _with(view, "Disconnected") if each.fault]
    return finding(TYPE, False, R.ADAPTER_DISCONNECTED, _say(found)) if found else None


def _pending(view: View) -> Finding | None:
    found = _with(view, "Pending")
    return finding(TYPE, False, CommonReason.PENDING, _say(found)) if found else None


def _left_disconnected(view: View) -> Finding | None:
    """Reported, and no fault: the mapping's onUnmapped says Disconnect."""
    found = [each for each in _with(view, "Disconnected") if each.reason is not None]
    return finding(TYPE, True, R.ADAPTER_DISCONNECTED, _say(found)) if found else None


_CHAIN = (_overrides, _unknown, _none, _colliding, _faulty, _pending, _left_disconnected)


def _with(view: View, resolution: str) -> list[PlannedAdapter]:
    return [each for each in view.picture.adapters or () if each.resolution == resolution]


def _say(found: list[PlannedAdapter]) -> str:
    return named((f"{each.adapter.name} ({each.adapter.mac_address}): {each.message}" for each in found), 3)
