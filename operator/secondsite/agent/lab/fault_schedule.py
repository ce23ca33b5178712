"""Faults that are planned: read from YAML, kept until their time comes, whoever planned them is gone by then."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from secondsite.agent.lab.datacentre import DataCentre
from secondsite.agent.lab.fault_catalogue import check_duration, find
from secondsite.agent.lab.faults import Fault
from secondsite.agent.lab.state import Document, Documents
from secondsite.errors import SecondsiteError

_FIELDS = frozenset({"after", "fault", "vm", "value", "for", "off"})
_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|)")


class Step(Document, frozen=True):
    """One line of a schedule. `after` and `seconds` are of the wall; `seconds` None: until it is switched off."""

    after: float
    fault: Fault
    vm: str = ""
    value: float | None = None
    seconds: float | None = None
    off: bool = False


class PlannedFault(Document, frozen=True):
    """A step whose time is known."""

    id: str
    at: datetime
    step: Step


class FiledSchedule(Document, frozen=True):
    """Which schedule of the data-centre file was planned last."""

    digest: str


def seconds_of(text: object) -> float:
    """`30s`, `5m`, `1h`, `500ms`, or a number of seconds. Raises SecondsiteError."""
    found = _DURATION.fullmatch(str(text).strip())
    if found is None:
        raise SecondsiteError(f"{text!r} is no duration", "Write 30s, 5m or 1h.")
    return check_duration(float(found[1]) * _UNITS[found[2]])


def planned(centre: DataCentre) -> list[dict[str, Any]]:
    """What a data-centre file plans, for `read_steps`."""
    return [fault.model_dump(by_alias=True) for fault in centre.faults]


def read_steps(content: object) -> list[Step]:
    """The steps of a schedule, as YAML gives them: a list, or a mapping with the list under `faults`.

    Raises SecondsiteError, naming the step.
    """
    listed = content.get("faults") if isinstance(content, Mapping) else content
    if not isinstance(listed, list):
        raise SecondsiteError("A schedule of faults is a list", "Each item has after, fault, vm, value, for, off.")
    return [_step(number, item) for number, item in enumerate(listed, 1)]


def _step(number: int, item: Any) -> Step:
    try:
        _require_known(item)
        return Step(
            after=seconds_of(item.get("after", 0)),
            fault=find(str(item["fault"])),
            vm=str(item.get("vm") or ""),
            value=None if item.get("value") is None else float(item["value"]),
            seconds=None if item.get("for") is None else seconds_of(item["for"]),
            off=bool(item.get("off", False)),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise SecondsiteError(f"Step {number} of the schedule: {error!r}", "It needs at least a fault.") from error
    except SecondsiteError as error:
        raise SecondsiteError(f"Step {number} of the schedule: {error.what}", error.remedy) from error


def _require_known(item: Mapping[str, object]) -> None:
    unknown = sorted(set(item) - _FIELDS)
    if unknown:
        raise SecondsiteError(f"{', '.join(unknown)}: no such field", f"There are {', '.join(sorted(_FIELDS))}.")


class Schedule:
    """What is planned at one site, durably. `now` is the true clock."""

    def __init__(self, documents: Documents, now: Callable[[], datetime]) -> None:
        self._documents = documents
        self._now = now

    def plan(self, steps: Iterable[Step], mark: str = "") -> None:
        """Their times count from now. With a `mark`, the same ones again take the place of those that it named."""
        for number, step in enumerate(steps):
            name = f"{mark}-{number}" if mark else uuid.uuid4().hex
            item = PlannedFault(name, self._now() + timedelta(seconds=step.after), step)
            self._documents.put(item.id, item)

    def plan_once(self, content: list[dict[str, Any]]) -> None:
        """What a data-centre file says: again only when it says something else. Raises SecondsiteError."""
        steps = read_steps(content)
        said = FiledSchedule(hashlib.sha256(msgspec.json.encode(steps)).hexdigest() if steps else "")
        if said != (self._documents.get(FiledSchedule, "file") or FiledSchedule("")):
            # Last: killed in between, the next start plans the same steps again instead of none.
            self.plan(steps, said.digest)
            self._documents.put("file", said)

    def all(self) -> list[PlannedFault]:
        """What is still to come, the next first."""
        return sorted(self._documents.all(PlannedFault).values(), key=lambda item: item.at)

    def seconds_to_next(self) -> float | None:
        """None: nothing is planned."""
        planned = self.all()
        return max(0.0, (planned[0].at - self._now()).total_seconds()) if planned else None

    def take_due(self) -> list[Step]:
        """The steps whose time has come; they are forgotten."""
        due = [item for item in self.all() if item.at <= self._now()]
        for item in due:
            self._documents.remove(PlannedFault, item.id)
        return [item.step for item in due]
