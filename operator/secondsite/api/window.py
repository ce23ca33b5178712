"""A daily window of time, as policies have it."""

from secondsite.api.base import Model
from secondsite.api.markers import Rule
from secondsite.api.scalars import TimeOfDay, TimeZone, Word


class Window(
    Model,
    rules=(
        Rule("self.start != self.end", "must differ from `start`; leave `window` out for the whole day", path=".end"),
    ),
):
    """A span of every day; it may cross midnight."""

    start: TimeOfDay
    """Time of day at which the window opens, as HH:MM in quotes. Required. Mutable."""
    end: TimeOfDay
    """Time of day at which the window closes, as HH:MM in quotes; at or before `start` it is of the next day. Required.
    Mutable."""
    time_zone: TimeZone = "UTC"
    """Time zone of both, by its name in the time zone database. Default UTC. Mutable."""


class EffectiveWindow(Model):
    """A daily window as it is applied."""

    start: Word
    """Time of day at which it opens."""
    end: Word
    """Time of day at which it closes."""
    time_zone: Word
    """Time zone of both."""
