"""The stories of two lab sites find deliberate mistakes: a machine that finds none of them would prove nothing."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from support.lab_world.mutants import MUTANTS, mistake
from support.lab_world.story import Story
from support.lab_world.world import quiet

# Bounded and the same each time, so that a mistake is found in every run or in none.
BOUNDED = settings(
    max_examples=100,
    stateful_step_count=25,
    deadline=None,
    database=None,
    report_multiple_bugs=False,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mistake_is_found(name: str) -> None:
    put, first = MUTANTS[name]

    class Begun(Story):
        pass

    Begun.first = first
    with quiet(), mistake(put), pytest.raises(AssertionError) as found:
        run_state_machine_as_test(seed(1)(Begun), settings=BOUNDED)
    assert "the mistake changes nothing" not in str(found.value)


def test_without_a_mistake_the_same_stories_end_well() -> None:
    for first in sorted({first for _, first in MUTANTS.values() if first}):

        class Begun(Story):
            pass

        Begun.first = first
        with quiet():
            run_state_machine_as_test(seed(1)(Begun), settings=settings(BOUNDED, max_examples=15))
