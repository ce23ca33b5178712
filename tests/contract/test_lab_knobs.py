"""Durations of the hypervisor that a data-centre file sets, divided by the lab's hurry."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
import yaml

from secondsite.wire.arguments import StartTestFailover
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Code, Refusal
from support.lab import running_pair
from support.lab_centres import WEB, source_centre, target_centre
from support.patience import until


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


async def test_relations_cannot_be_read_for_a_while_after_the_start_of_an_agent(tmp_path: Path) -> None:
    source = source_centre() | {"knobs": {"blackoutSeconds": 60}}
    async with running_pair(tmp_path) as pair:
        await pair.protect()
        pair.source.file.write_text(yaml.safe_dump(source), encoding="utf-8")
        await pair.source.restart()
        assert not pair.source.driver.settled()
        with pytest.raises(Refusal) as refused:
            await pair.source.driver.detail(WEB)
        assert refused.value.code is Code.SETTLING
        await until(pair.source.driver.settled)
        await pair.more_cycles(2)
        assert pair.states() == ("Replicating", "Replicating")
