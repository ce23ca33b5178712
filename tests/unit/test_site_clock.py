"""How the operator compares clocks: a lag that is computed with the result must never be smaller than the true one."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from secondsite.controller import feed
from secondsite.controller.clients import Dialled
from secondsite.trust.certificates import utc_now
from secondsite.wire.agent import AgentInfo

AHEAD = timedelta(seconds=7)


class Clock:
    """Our clock, moved on by the calls that are made."""

    def __init__(self) -> None:
        self.now = utc_now()

    def __call__(self) -> Any:
        return self.now


@pytest.mark.parametrize("there_seconds", [0.0, 0.004, 0.5])
@pytest.mark.parametrize("back_seconds", [0.0, 0.004, 0.5])
async def test_the_skew_is_never_too_small_and_hardly_too_large(
    monkeypatch: pytest.MonkeyPatch, there_seconds: float, back_seconds: float
) -> None:
    clock, delays = Clock(), [(there_seconds, back_seconds), (0.01, 0.01), (0.01, 0.01)]
    monkeypatch.setattr(feed, "utc_now", clock)

    async def info() -> AgentInfo:
        there, back = delays.pop(0)
        clock.now += timedelta(seconds=there)
        said = AgentInfo(
            id="a", site="s", version="1", driver="lab", registered=True, key_fingerprint="f", time=clock.now + AHEAD
        )
        clock.now += timedelta(seconds=back)
        return said

    dialled = cast("Dialled", SimpleNamespace(client=SimpleNamespace(info=info)))
    _, skew = await feed._ask(dialled)
    assert AHEAD <= skew <= AHEAD + timedelta(milliseconds=50)
