"""The one table from what an action came to, to what is shown, when it is tried again, and how loud the log is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from secondsite.api.condition import CommonReason
from secondsite.controller.kube import ApiError, ApiUnreachable
from secondsite.controller.limits import Queued
from secondsite.errors import NotYet, SecondsiteError, SiteRefused, SiteUnreachable, SpecRefused, Superseded
from secondsite.plan.actions import Action, Trouble
from secondsite.wire.problems import CURE, Code, Cure

Level = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one kind of failure is treated. Delays in seconds: the first one doubles with each failure up to `longest`.

    News wakes the object earlier in any case; the delay only holds back the same action.
    """

    kind: str
    first: float
    longest: float
    level: Level

    def delay(self, failures: int) -> float:
        """How long to wait after so many failures in a row."""
        return min(self.first * 2.0 ** min(failures - 1, 30), self.longest)


REFUSED = Outcome("Refused", 60, 600, "warning")
NOT_YET = Outcome("NotYet", 1, 30, "debug")
QUEUED = Outcome("Queued", 30, 30, "debug")
UNREACHABLE = Outcome("SiteUnreachable", 1, 30, "info")
SUPERSEDED = Outcome("NotYet", 1, 5, "info")
API = Outcome("NotYet", 1, 30, "warning")
BUG = Outcome("Bug", 2, 300, "error")
REFUSED_BY_SITE = {
    Cure.RETRY: Outcome("SiteRefused", 1, 60, "info"),
    Cure.LOOK: Outcome("SiteRefused", 0.5, 30, "info"),
    Cure.PERSON: Outcome("SiteRefused", 15, 300, "warning"),
    Cure.STOP: SUPERSEDED,
}


def judge(error: BaseException) -> Outcome:
    """Which kind of failure this is. What nobody raised on purpose is a defect."""
    match error:
        case SiteRefused(code=code):
            return REFUSED_BY_SITE[CURE[Code(code)] if code in Code.__members__.values() else Cure.RETRY]
        case SpecRefused():
            return REFUSED
        case Queued():
            return QUEUED
        case NotYet(delay=delay):
            return Outcome(NOT_YET.kind, delay, delay, NOT_YET.level)
        case SiteUnreachable():
            return UNREACHABLE
        case Superseded():
            return SUPERSEDED
        case ApiError() | ApiUnreachable() | SecondsiteError():
            return API
        case _:
            return BUG


def trouble(action: Action | None, error: BaseException, now: datetime) -> Trouble:
    """The failure as judging sees it."""
    known = isinstance(error, SecondsiteError)
    return Trouble(
        action=action,
        kind=judge(error).kind,
        code=_code(error),
        message=error.what if isinstance(error, SecondsiteError) else f"{type(error).__name__}: {error}",
        remedy=error.remedy if isinstance(error, SecondsiteError) else "See the operator's log; this is a defect.",
        site=str(getattr(action, "site", "")) if known else "",
        since=now,
    )


def _code(error: BaseException) -> str:
    match error:
        case SiteRefused(code=code):
            return code
        case SpecRefused(reason=reason):
            return reason
        case SiteUnreachable():
            return CommonReason.SITE_UNREACHABLE.value
        case Superseded():
            return CommonReason.NOT_LEADING.value
        case ApiError(reason=reason):
            return reason
        case SecondsiteError():
            return type(error).__name__
        case _:
            return CommonReason.INTERNAL_ERROR.value
