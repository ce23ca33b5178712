"""`kill -9` of source and target at random moments: every recovery point equals what the source held at its freeze."""

import random
from pathlib import Path

import pytest

from support.engine_soak import MIB, Soak


def test_every_point_survives_kills_of_both_sides(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    with Soak(tmp_path, seed=seed) as soak:
        soak.kill_some(8)
        soak.settle(1)
        soak.kill_some(24)
        soak.settle(2)
        verdict = soak.judge()
    context = f"seed {seed}: {verdict}"
    assert verdict.kills >= 30, context
    assert verdict.kills_in_initial >= 3, context
    assert verdict.points >= 3, context
    assert not verdict.wrong, context
    assert verdict.cycles[0]["kind"] == "Initial", context
    assert verdict.cycles[0]["resumed"], f"the initial copy must go on after kills; {context}"


@pytest.mark.parametrize("mutant", ["no-copy-before-write", "forgetful-saved", "clear-first"])
def test_the_harness_catches_a_broken_rule(tmp_path: Path, mutant: str) -> None:
    disks = {"data": 4 * MIB, "system": 12 * MIB}
    with Soak(tmp_path, mutant=mutant, seed=1, disks=disks, retention=600.0, keep_every=0.0) as soak:
        soak.settle(1)
        if mutant == "forgetful-saved":
            for _ in range(3):
                soak.kill_source_in_a_cycle()
        soak.settle(3)
        verdict = soak.judge()
    assert verdict.wrong, f"{mutant} went unnoticed: {verdict}"
