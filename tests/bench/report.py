"""The results as tables, for the terminal and for `docs/benchmarks.md`."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench.contest import Timing
from bench.explain import LIMITS, PROFILED
from bench.machine import Quiet
from bench.results import Results, Row

_HEAD = ("work", "against", "goal", "found", "")

_ABOUT = """# Benchmarks

Written by `make bench`, which measures all of it anew. Ratios are how many times as fast as the peer, by the best runs
and by the medians; they hold between machines far better than seconds do.

How it is measured: each program runs back to back, never in turn with the others; the source is read right before each
run; the output is synced within the timed span and compared with the source bit for bit after it. Each of the engine's
two sides is a process of its own, as in two agents that run already, and the recovery point is durable when the clock
stops. The peers' servers run already too; starting their client is part of their time, as it is for whoever uses them.
The peers have no TLS, so the ratios are those of the engine without it, a mode that the product does not have; the same
copy over the product's mutual TLS stands beside it.
"""

_TLS = """TLS costs the sender the encryption; the receiver also a call for each record of 16 KiB, where a plain socket
gives half a megabyte at a time.
"""

_QUIET = """Two lab drivers in a process each, all their relations over mutual TLS, one small disk per VM, and guests
that do not write; every relation cycles. Processor time is what a cycle took, times the cycles of the interval. The
feed is read in the same process, decoding included.
"""


def text(rows: Sequence[Row]) -> str:
    """For the terminal."""
    lines = [_HEAD, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def write(path: Path, rows: Sequence[Row], results: Results, facts: dict[str, str], quiet: Quiet, runs: int) -> None:
    """The whole report; `facts` are about machine and versions."""
    parts = [
        _ABOUT,
        f"Made on {datetime.now(UTC):%d %B %Y}, {runs} runs each, half of that over TLS. {_disturbance(quiet)}\n",
        _table(("on", ""), facts.items()),
        "## Goals\n",
        _table(_HEAD, map(_cells, rows)),
        *_limits(rows),
        "## Seconds\n",
        _table(("work", "best", "median", "worst"), map(_seconds, results.timings.values())),
        "## Processor time of one initial copy\n",
        _table(("", "sender, s", "receiver, s"), _processor_time(results)),
        _TLS,
        *_quiet(results),
    ]
    path.write_text("\n".join(parts), encoding="utf-8")


def _quiet(results: Results) -> list[str]:
    if not results.quiet:
        return []
    return ["## Quiet relations\n", _QUIET, *(f"- {line}" for line in results.quiet), ""]


def _limits(rows: Sequence[Row]) -> list[str]:
    """Why the goals that were missed were."""
    missed = dict.fromkeys(row.work for row in rows if row.missed and row.work in LIMITS)
    lines = [f"- **{work}**\n\n{LIMITS[work]}\n" for work in missed]
    return ["### What limits the rest\n", f"{PROFILED}\n", *lines] if lines else []


def _cells(row: Row) -> tuple[str, ...]:
    return (row.work, row.against, row.goal, row.found, row.verdict)


def _seconds(timing: Timing) -> tuple[str, ...]:
    return (timing.name, *(f"{value:.3f}" for value in (timing.best, timing.median, timing.worst)))


def _processor_time(results: Results) -> Iterable[tuple[str, ...]]:
    for name, (sender, receiver) in results.cpu.items():
        yield name, f"{sender:.2f}", f"{receiver:.2f}"


def _disturbance(quiet: Quiet) -> str:
    if quiet.disturbed == 0:
        return "Nothing else ran on the machine when a run began."
    return f"**Other programs were running when {quiet.disturbed} of {quiet.runs} runs began.**"


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    shown = [head, ["---"] * len(head), *lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in shown)
