"""Preflight of the agent itself: what every driver needs alike."""

from __future__ import annotations

import shutil
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

from secondsite.trust.certificates import Peer
from secondsite.wire.agent import Check, Verdict

_LEAST_FREE_BYTES = 256 * 1024 * 1024
# The operator renews at two thirds of the life; what is this late does not come by itself.
_RENEWAL_LATE = timedelta(days=1)


def of_agent(data: Path, peer: Peer, newest_end: datetime | None, now: datetime) -> list[Check]:
    """All of them. `newest_end` is when the last operation ended by this clock."""
    return [_data_folder(data), _free_space(data), _clock(peer, newest_end, now), _certificate(peer, now)]


def _data_folder(data: Path) -> Check:
    try:
        with tempfile.TemporaryFile(dir=data) as file:
            file.write(b"check")
            file.flush()
    except OSError as error:
        return Check(
            check="DataFolder",
            verdict=Verdict.FAILED,
            message=f"{data} cannot be written: {error.strerror or error}",
            remedy="Give the agent's account the right to write there, and make room on the disk.",
        )
    return Check(check="DataFolder", verdict=Verdict.PASSED, message=f"{data} can be written")


def _free_space(data: Path) -> Check:
    free = shutil.disk_usage(data).free
    return Check(
        check="DataFolderSpace",
        verdict=Verdict.PASSED if free >= _LEAST_FREE_BYTES else Verdict.FAILED,
        message=f"{free // (1024 * 1024)} MiB free in {data}",
        remedy="" if free >= _LEAST_FREE_BYTES else "Make room: the agent keeps 400 days of operations there.",
    )


def _clock(peer: Peer, newest_end: datetime | None, now: datetime) -> Check:
    known, here = max(filter(None, (peer.not_before, newest_end))), f"It is {now:%Y-%m-%dT%H:%M:%SZ} here"
    if now >= known:
        return Check(check="Clock", verdict=Verdict.PASSED, message=here)
    return Check(
        check="Clock",
        verdict=Verdict.FAILED,
        message=f"{here}, but it was {known:%Y-%m-%dT%H:%M:%SZ} before",
        remedy="Set the clock of this machine and keep it in time with NTP.",
    )


def _certificate(peer: Peer, now: datetime) -> Check:
    if now > peer.not_after:
        verdict, remedy = Verdict.FAILED, "Set spec.requests.issueRegistration and start the agent with the new bundle."
    elif now > peer.renewal_time + _RENEWAL_LATE:
        verdict, remedy = Verdict.FAILED, "The operator should have renewed it: look at the VMMSite's conditions."
    else:
        verdict, remedy = Verdict.PASSED, ""
    message = f"The agent's certificate is valid until {peer.not_after:%Y-%m-%dT%H:%M:%SZ}"
    return Check(check="Certificate", verdict=verdict, message=message, remedy=remedy)
