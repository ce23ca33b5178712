"""What an agent says of itself: `GET /v1/agent`, `GET /v1/checks`, `PUT /v1/settings`."""

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from secondsite.wire.base import Message


class Capability(StrEnum):
    """What a driver can do beyond the contract's common part. Absent means that Hyper-V itself cannot."""

    FREEZE_TIME = "FreezeTime"
    """Points carry the instant at which the source was frozen, not an estimate."""
    PROBE_ISOLATED = "ProbeIsolated"
    """Checks reach a test VM on an isolated network."""
    RESYNC_KEEPS_RECOVERY_POINTS = "ResyncKeepsRecoveryPoints"
    SCAN_AFTER_CRASH = "ScanAfterCrash"
    SYNCHRONIZE = "Synchronize"


class Fence(Message):
    """Who may command: one holder per term, terms only rise.

    Every call that changes something carries one: in its body, or as query parameters where there is no body (DELETE).
    """

    control_plane: str
    """UID of the kube-system namespace of the cluster that commands."""
    term: int = Field(ge=0)
    holder: str
    """Unique per operator process."""

    def query(self) -> dict[str, str]:
        """The parameters of a DELETE: `controlPlane`, `term`, `holder`."""
        return {"controlPlane": self.control_plane, "term": str(self.term), "holder": self.holder}


class AgentInfo(Message):
    """`GET /v1/agent`: the only answer that an unregistered agent gives beside those on identity."""

    id: str
    """Made once, kept with the agent's data; a replaced agent has another one."""
    site: str
    """Name of the VMMSite it was registered as; empty before."""
    version: str
    contract: tuple[int, ...] = (1,)
    """Versions of the contract that it serves."""
    driver: str
    capabilities: tuple[Capability, ...] = ()
    registered: bool
    key_fingerprint: str
    """SHA-256 of the public key that `agent run` prints."""
    time: datetime
    """Its clock, UTC; the operator derives the skew."""
    hurry: float = 1.0
    """Factor by which the lab shortens its intervals; 1 on real hosts."""
    fence: Fence | None = None
    """The highest that it has seen."""
    operations_begun: int = 0
    """How many operations it ever began; a repeated key does not count again."""


class Verdict(StrEnum):
    """Outcome of one preflight check."""

    PASSED = "Passed"
    FAILED = "Failed"
    UNKNOWN = "Unknown"


class Check(Message):
    """One preflight check, with what to do where it fails."""

    check: str
    verdict: Verdict
    message: str
    remedy: str = ""


class Checks(Message):
    """`GET /v1/checks`."""

    time: datetime
    checks: list[Check]


class Settings(Message):
    """`PUT /v1/settings`: what the site itself is told."""

    fence: Fence
    clouds: tuple[str, ...] = ()
    """Clouds to serve; empty means all."""
    bandwidth_limit_bytes_per_second: int | None = None
    """Limits what this site sends; None: no limit."""


NO_FENCE = Fence(control_plane="", term=0, holder="")
"""Stands in a wish until the operator that sends it puts its own in; refused by every site."""
