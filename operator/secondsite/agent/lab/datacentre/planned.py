"""Faults that a data-centre file plans."""

from __future__ import annotations

from pydantic import Field

from secondsite.agent.lab.datacentre.parts import Part


class PlannedFault(Part):
    """A step: `after` the site's first start with this list; durations are 30s, 5m, 1h, or seconds."""

    after: str | float = "0s"
    fault: str
    vm: str = ""
    value: float | None = None
    duration: str | float | None = Field(default=None, alias="for")
    off: bool = False
