"""Random schedules over two sites in memory, as Hyper-V's own profile has it."""

from __future__ import annotations

from support.lab_world.schedules import tell
from support.lab_world.story import Story


def test_random_schedules_keep_every_rule_and_end_well() -> None:
    tell(Story, 11)
