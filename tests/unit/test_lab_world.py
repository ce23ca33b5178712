"""Random schedules over two sites in memory, as Hyper-V's own profile has it."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from support.lab_world.story import Story
from support.lab_world.world import quiet

SCHEDULES = settings(
    max_examples=150,
    stateful_step_count=30,
    deadline=None,
    database=None,
    print_blob=True,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)


def test_random_schedules_keep_every_rule_and_end_well() -> None:
    with quiet():
        run_state_machine_as_test(Story, settings=SCHEDULES)
