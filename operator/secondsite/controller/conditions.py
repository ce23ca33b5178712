"""From findings to conditions with their times, and the fingerprint by which two statuses are compared."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from secondsite.plan.actions import Finding

Body = Mapping[str, Any]
Fingerprint = Mapping[str, int]
"""One number per top-level field of a status; those of the conditions' words and of their messages apart."""

WORDS = "conditions"
MESSAGES = "conditions.message"

_NO_TIME = "1970-01-01T00:00:00"


def merge(before: Iterable[Body], findings: Iterable[Finding], generation: int, now: datetime) -> tuple[Body, ...]:
    """Conditions as the API wants them. A condition's time moves only when its status does."""
    known = {each.get("type"): each for each in before}
    return tuple(_condition(known.get(finding.type), finding, generation, now) for finding in findings)


def overlay(before: Iterable[Body], changed: Iterable[Body]) -> tuple[Body, ...]:
    """The conditions as they were, but for those that `changed` names."""
    named = {each["type"]: each for each in changed}
    kept = [named.pop(each.get("type"), each) for each in before]
    return (*kept, *named.values())


def fingerprint(status: Body) -> Fingerprint:
    """Of a status in JSON's form. Valid within this process only."""
    whole = {name: _number(value) for name, value in status.items() if name != WORDS}
    conditions = status.get(WORDS) or ()
    whole[WORDS] = _number(
        [[each.get(part) for part in ("type", "status", "reason", "observedGeneration")] for each in conditions]
    )
    whole[MESSAGES] = _number([[each.get(part) for part in ("message", "lastTransitionTime")] for each in conditions])
    return whole


def difference(one: Fingerprint, other: Fingerprint) -> frozenset[str]:
    """The fields in which two statuses differ."""
    return frozenset(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def _condition(before: Body | None, finding: Finding, generation: int, now: datetime) -> Body:
    known = str(before.get("lastTransitionTime") or "") if before and before.get("status") == finding.status else ""
    # The schema's default has to name a time and cannot know one.
    stays = known if not known.startswith(_NO_TIME) else ""
    return {
        "type": str(finding.type),
        "status": str(finding.status),
        "observedGeneration": generation,
        "lastTransitionTime": stays or now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "reason": str(finding.reason),
        "message": finding.message,
    }


def _number(value: object) -> int:
    return hash(json.dumps(value, sort_keys=True, separators=(",", ":"), default=str))
