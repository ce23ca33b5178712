"""As many schedules once more, so that two workers share them."""

from __future__ import annotations

from support.lab_world.schedules import tell
from support.lab_world.story import Story


def test_as_many_schedules_again_end_well() -> None:
    tell(Story, 12)
