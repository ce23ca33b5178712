"""What one needs to see when a stack did not do as expected."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import yaml

from support.stack_api import KINDS, Refused

if TYPE_CHECKING:
    from support.stack import Stack


def dump(stack: Stack) -> str:
    """All objects that are not in order, and the ends of all logs."""
    parts = []
    with suppress(OSError, Refused):
        for kind in KINDS:
            for item in stack.api.list(kind, stack.namespace):
                item["metadata"].pop("managedFields", None)
                parts.append(f"--- {kind.kind} {item['metadata']['name']}\n{yaml.safe_dump(item, sort_keys=False)}")
    for process in (stack.operator, *stack.agents.values()):
        state = "running" if process.running else "not running"
        parts.append(f"--- log of {process.name} ({state}, {process.kills} kills)\n{process.tail()}")
    return "\n".join(parts)
