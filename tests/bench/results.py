"""What was measured, and what the goals make of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bench import clones, copies, deltas, guest, quiet
from bench.contest import Timing

MEMORY = "memory"
LONGEST_CLONE = "longest clone"
GUEST = "guest"
LIMIT = "limit"


@dataclass
class Results:
    """`figures` are single numbers by name; `missing` the packages without which a contest could not take place."""

    timings: dict[str, Timing] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    missing: dict[str, list[str]] = field(default_factory=dict)
    cpu: dict[str, tuple[float, float]] = field(default_factory=dict)
    quiet: list[str] = field(default_factory=list)
    """What was found beside the figures of very many relations."""


_REACHED, _MISSED, _UNKNOWN = "reached", "not reached", "-"


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    work: str
    against: str
    goal: str
    found: str
    verdict: str

    @property
    def missed(self) -> bool:
        """Not wholly reached, although it was measured."""
        return self.verdict not in (_REACHED, _UNKNOWN)


@dataclass(frozen=True)
class Ratio:
    """How many times as fast as the peer: by the best runs, and by the medians."""

    work: str
    ours: str
    peer: str
    best: float
    median: float | None = None

    def row(self, results: Results) -> Row:
        goal = f"≥ {self.best:g}" + ("" if self.median is None else f" / {self.median:g}")
        ours, peer = results.timings.get(self.ours), results.timings.get(self.peer)
        if ours is None or peer is None:
            return Row(self.work, self.peer, goal, _unmeasured(self.peer, results.missing), _UNKNOWN)
        best, median = peer.best / ours.best, peer.median / ours.median
        return Row(self.work, self.peer, goal, f"{best:.2f} / {median:.2f}", self._verdict(best, median))

    def _verdict(self, best: float, median: float) -> str:
        reached = best >= self.best, self.median is None or median >= self.median
        if all(reached):
            return _REACHED
        return next(
            (f"{what} reached" for what, good in zip(("best", "median"), reached, strict=True) if good), _MISSED
        )


@dataclass(frozen=True)
class Ceiling:
    """A number that must not be exceeded."""

    work: str
    against: str
    figure: str
    limit: float
    shown: str

    def row(self, results: Results) -> Row:
        found = results.figures.get(self.figure)
        goal = "≤ " + self.shown.format(self.limit)
        if found is None:
            return Row(self.work, self.against, goal, "not measured", _UNKNOWN)
        return Row(
            self.work, self.against, goal, self.shown.format(found), _REACHED if found <= self.limit else _MISSED
        )


COPY = "initial copy, 2 GiB half-sparse, hashes on"
DELTA = "tracked 1 % delta to a durable point"
SCAN = "map lost: scan and send 1 % to a durable point"
TWO_SIDED = "two-sided resync of running agents, 1 %"
QUIET = f"{quiet.RELATIONS} quiet relations"
GUEST_WRITE = "guest write of 4 KiB, tracked"

GOALS: tuple[Ratio | Ceiling, ...] = (
    Ratio(COPY, copies.ENGINE, copies.RSYNC, 4, 2.3),
    Ratio(COPY, copies.ENGINE, copies.QEMU, 2.5, 1.8),
    Ratio(COPY, copies.ENGINE, copies.NBDCOPY, 1.5, 1.1),
    Ratio(COPY, copies.ENGINE, copies.CP, 0.9, 0.68),
    Ratio(DELTA, deltas.TRACKED, deltas.RSYNC, 25, 15),
    Ratio(DELTA, deltas.TRACKED, deltas.QEMU, 1.8, 1.0),
    Ratio(SCAN, deltas.SCAN, deltas.RSYNC, 12, 7),
    Ratio(TWO_SIDED, deltas.TWO_SIDED, deltas.RSYNC, 5, 2.2),
    Ratio(f"thin clone of any of {clones.POINTS} points", clones.CLONE, clones.FULL, 50),
    Ceiling("the slowest of these clones, 2 GiB", "-", LONGEST_CLONE, 50, "{:.0f} ms"),
    Ceiling(GUEST_WRITE, "without tracking", GUEST, 1.25, "{:.2f} x the time"),
    Ceiling("bandwidth limit, largest error", "the set rate", LIMIT, 5, "{:.1f} %"),
    Ceiling("memory of an agent, at most", "-", MEMORY, 200, "{:.0f} MB"),
    Ceiling(f"{QUIET}: memory", "-", quiet.MEMORY, 300, "{:.0f} MB"),
    Ceiling(f"{QUIET}: processor time, 300 s interval", "one core", quiet.PROCESSOR, 5, "{:.1f} %"),
    Ceiling(f"{QUIET}: a full answer of the feed", "-", quiet.WHOLE, 1, "{:.2f} s"),
    Ceiling(f"{QUIET}: news at a waiting reader, median", "50 ms linger", quiet.NEWS, 60, "{:.0f} ms"),
)


def rows(results: Results) -> list[Row]:
    return [goal.row(results) for goal in GOALS]


def conclude(results: Results) -> None:
    """Single numbers that follow from timings."""
    if clone := results.timings.get(clones.CLONE):
        results.figures[LONGEST_CLONE] = clone.worst * 1000
    bare, tracked = results.timings.get(guest.BARE), results.timings.get(guest.TRACKED)
    if bare and tracked:
        results.figures[GUEST] = tracked.median / bare.median


def _unmeasured(peer: str, missing: Mapping[str, list[str]]) -> str:
    packages = missing.get(peer)
    return f"not measured: apt-get install {' '.join(packages)}" if packages else "not measured"
