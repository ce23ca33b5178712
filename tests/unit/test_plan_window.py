"""When a daily window opens next, in its own time zone."""

from datetime import UTC, datetime

import pytest

from secondsite.api.window import Window
from secondsite.plan.window import opening

# Windows


@pytest.mark.parametrize(
    ("window", "now", "opens"),
    [
        (("18:30", "06:00", "UTC"), "2026-11-21T12:00", "2026-11-21T18:30"),
        (("18:30", "06:00", "UTC"), "2026-11-21T18:30", None),
        (("18:30", "06:00", "UTC"), "2026-11-21T05:59", None),
        (("18:30", "06:00", "UTC"), "2026-11-21T06:00", "2026-11-21T18:30"),
        (("09:00", "17:00", "UTC"), "2026-11-21T17:00", "2026-11-22T09:00"),
        (("09:00", "17:00", "UTC"), "2026-11-21T16:59", None),
        (("20:00", "22:00", "America/New_York"), "2026-11-21T12:00", "2026-11-22T01:00"),
        (("20:00", "22:00", "Nowhere/Land"), "2026-11-21T12:00", "2026-11-21T20:00"),
    ],
)
def test_a_window_opens_when_it_says(window: tuple[str, str, str], now: str, opens: str | None) -> None:
    start, end, zone = window
    meant = Window.model_construct(start=start, end=end, time_zone=zone)
    found = opening(meant, datetime.fromisoformat(now).replace(tzinfo=UTC))
    assert found == (datetime.fromisoformat(opens).replace(tzinfo=UTC) if opens else None)
