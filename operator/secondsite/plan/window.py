"""Daily windows of time: the ones that a policy means, and when one opens next."""

from datetime import datetime
from typing import Final

from secondsite.api.replicationpolicy import ReplicationPolicySpec
from secondsite.api.window import Window
from secondsite.daily import Hours

# The default of the service that this one replaces: resynchronization runs outside of office hours.
OUTSIDE_OFFICE_HOURS: Final = Window(start="18:30", end="06:00", time_zone="UTC")


def resynchronization_window(policy: ReplicationPolicySpec) -> Window | None:
    """When resynchronization may start; None where only a person starts it."""
    if policy.resynchronization.mode == "Manual":
        return None
    return policy.resynchronization.window or OUTSIDE_OFFICE_HOURS


def opening(window: Window | None, now: datetime) -> datetime | None:
    """When the window opens next; None while it is open, or where there is none."""
    if window is None:
        return None
    hours = Hours(window.start, window.end, window.time_zone)
    return None if hours.is_open(now) else hours.opening(now)
