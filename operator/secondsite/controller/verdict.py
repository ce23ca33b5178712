"""The few facts of an object's last report that others need: roll-ups, metrics. Small, since there are very many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from secondsite.plan.actions import Report
from secondsite.plan.observed import VMSummary

_WORST_FIRST = ("Critical", "Warning", "Normal")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was last said of an object. `conditions` maps type to status, `reason` is that of Ready."""

    conditions: Mapping[str, str]
    reason: str = ""
    state: str = ""
    health: str = ""
    rpo_target_seconds: int | None = None
    point_time: datetime | None = None
    """Source time of the newest usable recovery point, by the operator's clock."""
    last_test_time: datetime | None = None

    @property
    def ready(self) -> bool:
        return self.conditions.get("Ready") == "True"

    def summary(self, name: str) -> VMSummary:
        """As a policy or a vault sees a ProtectedVM."""
        return VMSummary(
            name=name,
            state=self.state,
            within_rpo={"True": True, "False": False}.get(self.conditions.get("WithinRPO", "")),
            settings_applied=self.conditions.get("SettingsApplied") == "True",
            health=self.health,
            last_test_time=self.last_test_time,
        )


def of_report(report: Report) -> Verdict:
    """The verdict of this process."""
    ready = next((finding.reason for finding in report.findings if finding.type == "Ready"), "")
    return _verdict({finding.type: finding.status for finding in report.findings}, ready, report.status)


def of_status(conditions: tuple[Mapping[str, Any], ...], status: Mapping[str, Any]) -> Verdict:
    """The verdict of an earlier process, as the cluster still shows it."""
    ready = next((str(each.get("reason", "")) for each in conditions if each.get("type") == "Ready"), "")
    return _verdict({str(each.get("type")): str(each.get("status")) for each in conditions}, ready, status)


def _verdict(conditions: dict[str, str], reason: str, status: Mapping[str, Any]) -> Verdict:
    target = status.get("rpoTargetSeconds")
    return Verdict(
        conditions=conditions,
        reason=reason,
        state=str(status.get("state") or ""),
        health=_worst(status),
        rpo_target_seconds=target if isinstance(target, int) else None,
        point_time=_moment(_part(status, "lastRecoveryPoint").get("sourceTime")),
        last_test_time=_moment(_part(status, "lastTestFailover").get("time")),
    )


def _worst(status: Mapping[str, Any]) -> str:
    said = {_part(status, half).get("health") for half in ("primary", "replica")}
    return next((health for health in _WORST_FIRST if health in said), "")


def _part(status: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = status.get(name)
    return part if isinstance(part, Mapping) else {}


def _moment(value: object) -> datetime | None:
    if isinstance(value, datetime):
        return value
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
