"""As many of them once more, so that two workers share them."""

from __future__ import annotations

from support.lab_world.schedules import tell
from support.lab_world.story import BetterStory


def test_as_many_schedules_of_better_sites_end_well() -> None:
    tell(BetterStory, 14)
