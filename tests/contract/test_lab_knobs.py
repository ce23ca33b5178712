"""Durations of the hypervisor that a data-centre file sets, divided by the lab's hurry."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from secondsite.wire.arguments import StartTestFailover
from secondsite.wire.operations import Verb
from support.lab import running_pair, until
from support.lab_centres import WEB, target_centre


async def test_a_test_vm_takes_as_long_as_the_knob_says(tmp_path: Path) -> None:
    target = target_centre() | {"knobs": {"testVmSeconds": 60}}
    async with running_pair(tmp_path, target=target) as pair:
        await pair.protect()
        began = time.monotonic()
        starting = asyncio.create_task(pair.target.do(Verb.START_TEST_FAILOVER, WEB, StartTestFailover(owner="t")))
        await until(lambda: pair.target.relation().test_vm is not None)
        made = pair.target.relation().test_vm
        assert made is not None
        assert made.state == "Off"
        await starting
        assert time.monotonic() - began >= 1
        running = pair.target.relation().test_vm
        assert running is not None
        assert running.state == "Running"
