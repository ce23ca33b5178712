"""What a check of a store has to say: where, what, what follows from it, what to do."""

from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be. `repaired`: it is now; `kept` says where what was removed lies."""

    where: Path
    what: str
    consequence: str
    remedy: str
    repaired: bool = False

    def done(self) -> "Finding":
        return replace(self, repaired=True)


@dataclass(frozen=True, slots=True)
class StoreReport:
    """A store that was checked: its points, how many bytes were compared with their digests, what was found."""

    store: Path
    points: int
    bytes: int
    findings: tuple[Finding, ...]

    @property
    def clean(self) -> bool:
        return not self.findings


def few(numbers: list[int]) -> str:
    """The first of many numbers."""
    shown = ", ".join(str(number) for number in numbers[:8])
    return f"{shown} and {len(numbers) - 8} more" if len(numbers) > 8 else shown
