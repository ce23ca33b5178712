"""How verdicts become conditions: single findings, the conjunction `Ready`, and chains of checks.

A chain is a tuple of small pure functions, asked in order until the first has something to say. The tuple is the
documentation: what stands earlier decides earlier.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Final, TypeVar

from secondsite.api.condition import CommonReason
from secondsite.plan.actions import Finding

S = TypeVar("S")
V = TypeVar("V")

READY: Final = "Ready"

_STATUS = {True: "True", False: "False", None: "Unknown"}


def first(chain: Iterable[Callable[[S], V | None]], subject: S) -> V | None:
    """What the first check says that has something to say; None where all keep silent."""
    return next((verdict for check in chain if (verdict := check(subject)) is not None), None)


def finding(type_: str, holds: bool | None, reason: str, message: str = "") -> Finding:
    """One condition; `holds` None means that nobody can say at present."""
    return Finding(str(type_), _STATUS[holds], str(reason), message)


def not_implemented(type_: str, message: str) -> Finding:
    """The condition that a feature would set, where this version lacks the feature."""
    return finding(type_, holds=False, reason=CommonReason.NOT_IMPLEMENTED, message=message)


def fold(parts: Sequence[Finding], message: str = "", *, reason: str = READY) -> Finding:
    """`Ready`: True when all parts are; else what the first False says, else what the first Unknown says."""
    for status in ("False", "Unknown"):
        worst = next((part for part in parts if part.status == status), None)
        if worst is not None:
            return Finding(READY, status, worst.reason, worst.message)
    return Finding(READY, "True", str(reason), message)


def earliest(*moments: datetime | None) -> datetime | None:
    """The next time to look again; None where there is none."""
    return min((moment for moment in moments if moment is not None), default=None)


def named(items: Iterable[str], limit: int = 5) -> str:
    """A list for a sentence: the first few, and how many more."""
    everything = list(items)
    shown = ", ".join(everything[:limit])
    return shown if len(everything) <= limit else f"{shown} and {len(everything) - limit} more"
