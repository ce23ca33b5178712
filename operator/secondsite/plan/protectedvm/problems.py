"""What stands in the way of protecting a VM, as people are told it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Problem:
    """One obstacle. `code` is a reason of the API; `unknown` where nobody can say whether it really is one."""

    code: str
    message: str
    action: str = ""
    site: str = ""
    causes: tuple[str, ...] = ()
    since: datetime | None = None
    waits: bool = False
    """It will pass without a person."""
    unknown: bool = False

    @property
    def sentence(self) -> str:
        """Message and action in one."""
        return f"{self.message.rstrip('.')}. {self.action}".strip()

    def entry(self) -> dict[str, Any]:
        """As an entry of `status.errors`."""
        return {
            "code": self.code,
            "message": self.message,
            "causes": self.causes,
            "recommended_action": self.action or None,
            "site": self.site or None,
            "since": self.since,
        }
