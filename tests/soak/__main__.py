"""The long form of the crash tests: hundreds of kills, a thousand power cuts, and every broken engine found out.

`python -m soak [--kills N] [--cuts N] [--seed N]`; ends with 1 when anything is wrong. The same seed chooses the same
moments, as far as a machine does the same thing twice.
"""

import argparse
import logging
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from secondsite.agent.lab.engine import EngineError
from support.engine_forgotten_syncs import FORGOTTEN, Sabotage
from support.engine_mutants import MUTANTS
from support.engine_power_check import Broken, check_cuts
from support.engine_power_life import Life
from support.engine_soak import MIB, Soak, Verdict, Zygote

KILLS_PER_ROUND = 40
CUTS_PER_LIFE = 100
MUTANT_SECONDS = 90.0
# What the kills shall meet: an initial copy that takes long; one commit after the other; merges into large layers.
ROUNDS: list[dict[str, Any]] = [
    {"rate": 10 * MIB, "writes_per_second": 100},
    {"rate": None, "distrust": 0.1, "writes_per_second": 60, "pause": 0.0, "keep_every": 0.2, "retention": 3.0},
    {"rate": 40 * MIB, "disks": {"data": 8 * MIB, "system": 24 * MIB + 4096}, "writes_per_second": 80},
]

console = Console(highlight=False, width=150)


def soak(zygote: Zygote, folder: Path, kills: int, rng: random.Random) -> list[Verdict]:
    verdicts: list[Verdict] = []
    while sum(verdict.kills.total() for verdict in verdicts) < kills:
        number = len(verdicts)
        with Soak(zygote, folder / f"round-{number}", seed=rng.getrandbits(32), **ROUNDS[number % len(ROUNDS)]) as one:
            one.kill_some(KILLS_PER_ROUND // 2)
            one.settle(1)
            one.kill_some(KILLS_PER_ROUND // 2)
            one.settle(2)
            verdicts.append(one.judge())
    return verdicts


def kill_table(verdicts: list[Verdict], seconds: float) -> Table:
    kills: Counter[str] = sum((verdict.kills for verdict in verdicts), Counter())
    chores: Counter[str] = sum((verdict.chores for verdict in verdicts), Counter())
    cycles = [cycle for verdict in verdicts for cycle in verdict.cycles]
    table = Table("SIGKILL of the real engine", "", title=f"{len(verdicts)} rounds in {seconds:.0f} s")
    for name, value in (
        ("kills of the source / of the target", f"{kills['source']} / {kills['target']}"),
        ("of these during the initial copy", sum(verdict.kills_in_initial for verdict in verdicts)),
        ("cycles committed / of these resumed", f"{len(cycles)} / {sum(cycle['resumed'] for cycle in cycles)}"),
        ("points merged, clones made, scrubs", f"{chores['merged']}, {chores['cloned']}, {chores['scrubbed']}"),
        ("maps lost and found by comparing the disks", chores["disks-compared"]),
        ("points compared as they came / at the end", f"{chores['compared']} / {sum(v.points for v in verdicts)}"),
        ("clones compared", chores["clone-compared"] + sum(verdict.clones for verdict in verdicts)),
        ("bad blocks", sum(verdict.bad_blocks for verdict in verdicts)),
        ("promises broken", sum(len(verdict.broken) for verdict in verdicts)),
    ):
        table.add_row(name, str(value))
    return table


def find_out(zygote: Zygote, folder: Path, mutant: str, seed: int) -> tuple[float | None, Verdict]:
    with Soak(zygote, folder / mutant, mutant=mutant, seed=seed, rate=20 * MIB) as one:
        seconds = one.kill_until_caught(MUTANT_SECONDS)
        return seconds, one.judge()


def mutant_table(results: dict[str, tuple[float | None, Verdict]]) -> Table:
    table = Table("broken on purpose", "", "caught after", "kills", "cycles", "bad blocks", "also")
    for name, (seconds, verdict) in results.items():
        when = "NOT AT ALL" if verdict.clean else "at the end" if seconds is None else f"{seconds:.1f} s"
        numbers = [str(verdict.kills.total()), str(len(verdict.cycles)), str(verdict.bad_blocks)]
        table.add_row(name, MUTANTS[name], when, *numbers, verdict.broken[0][:60] if verdict.broken else "")
    return table


def cut_power(folder: Path, cuts: int, rng: random.Random, sabotage: Sabotage | None = None) -> tuple[int, str | None]:
    """Cut the power `cuts` times, or until something is wrong; how often, and what was wrong."""
    done = 0
    while done < cuts:
        with tempfile.TemporaryDirectory(dir=folder) as name:
            world = Path(name, "world")
            world.mkdir()
            life = Life(world, rng.getrandbits(32), sabotage=sabotage)
            try:
                check_cuts(life, Path(name), CUTS_PER_LIFE, rng)
            except (Broken, EngineError) as error:
                return done + life.cuts, f"{type(error).__name__}: {error}"
            done += life.cuts
    return done, None


def cut_power_of_all(folder: Path, cuts: int, rng: random.Random) -> bool:
    """The real engine, then each that forgets a sync; whether the first held and the others were caught."""
    began = time.monotonic()
    done, wrong = cut_power(folder, cuts, rng)
    console.print(f"{done} power cuts in {time.monotonic() - began:.0f} s: {wrong or 'nothing lost'}")
    table = Table("a sync left out", "", "caught after", "as")
    caught = True
    for name, forgotten in FORGOTTEN.items():
        done, found = cut_power(folder, cuts, rng, forgotten.sabotage)
        caught = caught and found is not None
        when = f"{done} cuts" if found else "NOT AT ALL"
        table.add_row(name, forgotten.words, when, (found or "")[:60])
    console.print(table)
    return wrong is None and caught


def main() -> int:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--cuts", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=time.time_ns() % (1 << 32))
    options = parser.parse_args()
    # The target dies within its requests, and says so.
    logging.disable(logging.ERROR)
    console.print(f"seed {options.seed}")
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="secondsite-soak-") as name:
        held = [kill_all(Path(name), options.kills, rng), cut_power_of_all(Path(name), options.cuts, rng)]
    console.print("verdict: " + ("PASS" if all(held) else "FAIL"))
    return 0 if all(held) else 1


def kill_all(folder: Path, kills: int, rng: random.Random) -> bool:
    """The real engine, then each mutant; whether the first held and the others were caught."""
    with Zygote() as zygote:
        began = time.monotonic()
        verdicts = soak(zygote, folder, kills, rng)
        console.print(kill_table(verdicts, time.monotonic() - began))
        for verdict in verdicts:
            for problem in [*verdict.broken, *(f"{place}: {count} bad" for place, count in verdict.wrong.items())]:
                console.print(f"[red]{problem}")
        results = {mutant: find_out(zygote, folder, mutant, rng.getrandbits(32)) for mutant in MUTANTS}
        console.print(mutant_table(results))
    caught = not any(verdict.clean for _, verdict in results.values())
    return caught and all(verdict.clean for verdict in verdicts)


if __name__ == "__main__":
    sys.exit(main())
