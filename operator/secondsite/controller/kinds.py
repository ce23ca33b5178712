"""One row per kind: how its world is observed, what is planned from it, and what is reported of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from secondsite.api.kind import Kind, Object
from secondsite.controller.observe import Observer
from secondsite.plan.actions import Plan, Report, Trouble


@dataclass(frozen=True, slots=True)
class Row:
    """What a turn of one kind consists of. `plan` and `judge` are pure and total."""

    kind: Kind[Any, Any]
    observe: Callable[[Observer, Object[Any], datetime], Any]
    plan: Callable[[Any], Plan]
    judge: Callable[[Any, Plan, tuple[Trouble, ...]], Report]


Table = Mapping[str, Row]
"""By name of the kind."""
