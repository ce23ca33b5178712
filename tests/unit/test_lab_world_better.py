"""Random schedules over two sites in memory that can do more than Hyper-V."""

from __future__ import annotations

from support.lab_world.schedules import tell
from support.lab_world.story import BetterStory


def test_random_schedules_of_better_sites_end_well() -> None:
    tell(BetterStory, 13)
