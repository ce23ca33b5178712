"""A thin clone of any of 24 recovery points, against a full copy of one."""

from bench.agents import Agents
from bench.contest import Contest
from bench.world import equal_files

POINTS = 24
CLONE = "Secondsite, thin clone"
FULL = "full copy of the point"


def fill(pair: Agents) -> None:
    """As many points as there are hours in a day, each with its own 1 %."""
    while len(pair.receiver.call("points")) < POINTS:
        pair.change()
        pair.cycle()


def thin(pair: Agents) -> Contest:
    """One run for each point; what the cycle of that point brought must be in its clone."""
    points = pair.receiver.call("points")
    # The first point is the initial copy.
    expected = [None, *pair.numbers]
    run = iter(range(len(points)))
    current = 0

    def prepare() -> None:
        nonlocal current
        current = next(run)

    def same() -> bool:
        number = expected[current]
        held = number is None or pair.receiver.call("clone_holds", number, pair.world.source)
        pair.receiver.call("drop_clone")
        return bool(held)

    return Contest(CLONE, prepare, lambda: pair.receiver.call("clone", points[current]), same)


def full(pair: Agents) -> Contest:
    path = pair.world.folder / "full.raw"
    return Contest(
        FULL,
        prepare=lambda: path.unlink(missing_ok=True),
        run=lambda: pair.receiver.call("materialise", path),
        same=lambda: equal_files(pair.world.source, path),
        fills_memory=True,
    )
