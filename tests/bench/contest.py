"""One way to do a piece of work, timed: six runs back to back, each to durable and verified output."""

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from statistics import median

from bench.machine import Quiet

_REPORTING_SECONDS = 2.2


@dataclass(frozen=True)
class Contest:
    """`run` is timed; `prepare` before it and `same`, which compares the output with the source, are not.

    `fills_memory`: `prepare` ends with the removal of an output as large as the one to come.
    """

    name: str
    prepare: Callable[[], object]
    run: Callable[[], object]
    same: Callable[[], bool]
    fills_memory: bool = False


Opened = AbstractContextManager[Contest]


@dataclass(frozen=True)
class Timing:
    """Seconds of each run, in the order in which they ran."""

    name: str
    seconds: tuple[float, ...]

    @property
    def best(self) -> float:
        return min(self.seconds)

    @property
    def median(self) -> float:
        return median(self.seconds)

    @property
    def worst(self) -> float:
        return max(self.seconds)


class WrongOutput(Exception):
    """A copy that is not equal is no result, however fast."""


def measure(contest: Contest, runs: int, quiet: Quiet) -> Timing:
    """Back to back: memory that the run before gives up is the only memory of known speed.

    The host of a virtual machine takes back what has been free for 2 s (free page reporting), and the first touch of
    such a page costs a hundred times that of another. So it is left to take what it is about to, then the old output
    is removed, and the run has 2 s to use its memory. Otherwise the same copy takes 0.5 s or 3.5, by chance. For the
    same reason such a contest has one run before those that count.
    """
    seconds = []
    for number in range(-1 if contest.fills_memory else 0, runs):
        quiet.wait()
        if contest.fills_memory:
            # Nor is anything of earlier runs left to be written.
            os.sync()
            time.sleep(_REPORTING_SECONDS)
        contest.prepare()
        started = time.perf_counter()
        contest.run()
        seconds.append(time.perf_counter() - started)
        if not contest.same():
            raise WrongOutput(f"{contest.name}, run {number + 1}: the output differs from the source")
    return Timing(contest.name, tuple(seconds[-runs:]))
