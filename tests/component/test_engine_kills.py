"""`kill -9` of source and target at random moments: every recovery point equals what the source held at its freeze.

`make soak` is the long form.
"""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.engine_mutants import MUTANTS
from support.engine_soak import MIB, Soak, Zygote


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    with Zygote() as zygote:
        yield zygote


def test_every_point_survives_kills_of_both_sides(tmp_path: Path, zygote: Zygote) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    with Soak(zygote, tmp_path, seed=seed, writes_per_second=80, distrust=0.1) as soak:
        soak.kill_some(8)
        soak.settle(1)
        soak.kill_some(24)
        soak.settle(2)
        verdict = soak.judge()
    context = f"seed {seed}: {verdict}"
    assert verdict.clean, context
    assert verdict.kills.total() == 32, context
    assert verdict.kills_in_initial >= 3, context
    assert verdict.points >= 2, context
    assert verdict.chores["cloned"], context
    assert verdict.chores["scrubbed"], context
    fresh = [cycle for cycle in verdict.cycles if not cycle["resumed"]]
    assert sum(cycle["wire"] for cycle in fresh) < 0.95 * sum(cycle["bytes"] for cycle in fresh), f"no zstd; {context}"
    assert verdict.cycles[0]["kind"] == "Initial", context
    assert verdict.cycles[0]["resumed"], f"the initial copy must go on after kills; {context}"


@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_harness_catches_a_broken_rule(tmp_path: Path, zygote: Zygote, mutant: str) -> None:
    with Soak(zygote, tmp_path, mutant=mutant, seed=1, rate=20 * MIB) as soak:
        soak.kill_until_caught(60)
        verdict = soak.judge()
    assert not verdict.clean, f"{mutant} went unnoticed: {verdict}"
