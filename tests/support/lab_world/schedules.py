"""How many random schedules a test module tells, and how."""

from __future__ import annotations

import os
import secrets

from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from support.lab_world.story import Story
from support.lab_world.world import quiet

SCHEDULES = settings(
    max_examples=510,
    stateful_step_count=25,
    deadline=None,
    database=None,
    print_blob=True,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)


def tell(machine: type[Story], number: int) -> None:
    """The schedules of a seed, the same in each run: a change is not blamed for what another one left.

    With SECONDSITE_FRESH_SCHEDULES set the seed is another one each time; it is printed, and brings them again.
    """
    chosen = secrets.randbits(32) if os.environ.get("SECONDSITE_FRESH_SCHEDULES") else number
    print(f"schedules of seed {chosen}")
    with quiet():
        run_state_machine_as_test(seed(chosen)(machine), settings=SCHEDULES)
