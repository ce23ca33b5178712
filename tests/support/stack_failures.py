"""What one needs to see when a stack did not do as expected."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import yaml

from support.stack_api import KINDS, Body, Refused

if TYPE_CHECKING:
    from support.stack import Stack


def dump(stack: Stack) -> str:
    """Every object in short, and the ends of all logs."""
    parts = []
    with suppress(OSError, Refused):
        for kind in KINDS:
            for item in stack.api.list(kind, stack.namespace):
                parts += [f"--- {kind.kind} {item['metadata']['name']}", *_short(item)]
    for process in (stack.operator, *stack.agents.values()):
        state = "running" if process.running else "not running"
        parts.append(f"--- log of {process.name} ({state}, {process.kills} kills)\n{process.tail()}")
    return "\n".join(parts)


def _short(item: Body) -> Iterator[str]:
    status = dict(item.get("status", {}))
    yield f"finalizers {item['metadata'].get('finalizers', [])} deleted {item['metadata'].get('deletionTimestamp')}"
    for each in status.pop("conditions", []):
        yield f"  {each['type']}={each['status']} {each['reason']}: {each['message']}"
    shown = ("state", "errors", "operation", "deletion", "primary", "replica", "lastRecoveryPoint", "lastContactTime")
    yield yaml.safe_dump({name: status[name] for name in shown if name in status}, default_flow_style=True, width=200)
