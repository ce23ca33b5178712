"""The errors that Secondsite raises on purpose. Everything else is a defect and is reported as one.

    SecondsiteError          what was tried, on what, what came back; and the remedy
    ├── SpecRefused          what a person declared cannot be done: wait for another spec
    ├── NotYet               it will come by itself: look again after `delay` seconds
    ├── SiteUnreachable      nobody answered: Unknown, which is not a no
    ├── SiteRefused          the site answered with a problem, by its stable `code`
    └── Superseded           somebody else acts now, or the wish has changed: drop this work

One table of the operator maps the five kinds to a condition, a delay and a log level.
"""

from __future__ import annotations


class SecondsiteError(Exception):
    """`what` says what was tried, on what and what came back; `remedy` says what a person can do, or is empty."""

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what, remedy)
        self.what = what
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.what.rstrip('.')}. {self.remedy}" if self.remedy else self.what


class SpecRefused(SecondsiteError):
    """What was declared cannot be done as it stands. `reason` becomes the condition's reason (PascalCase)."""

    def __init__(self, what: str, remedy: str = "", *, reason: str = "SpecRefused") -> None:
        super().__init__(what, remedy)
        self.reason = reason


class NotYet(SecondsiteError):
    """Nothing is wrong; look again after `delay` seconds."""

    def __init__(self, what: str, remedy: str = "", *, delay: float) -> None:
        super().__init__(what, remedy)
        self.delay = delay


class SiteUnreachable(SecondsiteError):
    """The site did not answer, so whatever was asked of it has an unknown outcome."""


class SiteRefused(SecondsiteError):
    """The site said no. `code` is the stable code of its problem body, `status` the HTTP status.

    `highest_term` comes with `Fenced`: the highest term that the site has seen.
    """

    def __init__(
        self, what: str, remedy: str = "", *, code: str, status: int = 0, highest_term: int | None = None
    ) -> None:
        super().__init__(what, remedy)
        self.code = code
        self.status = status
        self.highest_term = highest_term


class Superseded(SecondsiteError):
    """Another operator holds the Lease, or the wish has changed meanwhile: what was planned is void."""
