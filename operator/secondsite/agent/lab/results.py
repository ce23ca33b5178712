"""What the verbs of a lab site are and return, and settings as relations report them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from secondsite.agent.driver import Command
from secondsite.wire import arguments
from secondsite.wire.facts import Point, Replication
from secondsite.wire.operations import Verb

Result = dict[str, str]
"""What an operation says at its end beside its state."""
Handler = Callable[[Command], Result]
Handlers = Mapping[Verb, Handler]


def replication(settings: arguments.Settings) -> Replication:
    """Settings as the relation reports them."""
    return Replication(**settings.model_dump())


def point_result(point: Point | None) -> Result:
    """Which recovery point was used: evidence that outlives what was made of it."""
    if point is None:
        return {}
    return {
        "recoveryPoint": point.id,
        "recoveryPointTime": point.source_time.isoformat(),
        "recoveryPointType": point.type,
    }
