"""What comes to a prepared primary at the moment in which its peer reverses replication."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from secondsite.wire.arguments import Failover, Removal
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Refusal
from support.lab_centres import WEB
from support.lab_failover import moving_pair
from support.patience import until


async def test_row_33_disabling_in_the_middle_of_a_reversal_makes_no_vm_disappear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with moving_pair(tmp_path) as moving:
        await moving.pair.protect()
        await moving.prepare(moving.east)
        await moving.west.do(Verb.FAILOVER, WEB, Failover(planned=True))
        site = moving.east.driver._site
        assert site is not None
        here, begun, go_on = site.estate, threading.Event(), threading.Event()
        set_aside = here.replicas.set_aside

        def hold(vm_id: str) -> None:
            begun.set()
            assert go_on.wait(20)
            set_aside(vm_id)

        monkeypatch.setattr(here.replicas, "set_aside", hold)
        arguments = moving.reverse_arguments(moving.west)
        reversing = asyncio.create_task(moving.west.do(Verb.REVERSE_REPLICATION, WEB, arguments))
        assert await asyncio.to_thread(begun.wait, 20)
        disabling = asyncio.create_task(moving.east.do(Verb.DISABLE_REPLICATION, WEB, Removal()))
        # It may be done at once, or wait for the reversal.
        await asyncio.wait([disabling], timeout=1)
        go_on.set()
        ends = await asyncio.gather(reversing, disabling, return_exceptions=True)
        assert all(isinstance(end, dict | Refusal) for end in ends)
        assert any(isinstance(end, dict) for end in ends)
        ended = moving.east.driver.state(WEB) == "Disabled"
        await moving.east.restart()
        await until(lambda: moving.shown(moving.east)[0] == ("Production" if ended else "Replica"))
        if ended:
            await moving.east.do(Verb.START_VM, WEB)
            await moving.writes_on(moving.east)
        else:
            await until(lambda: moving.states() == ("Replicating", "Replicating"))
