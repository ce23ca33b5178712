"""The lab driver's states: suspended, disabled, removed, crashed and protected again, on both sides."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from secondsite.wire.operations import Verb
from support.lab import LabPair, running_pair
from support.lab_centres import DB, WEB, source_centre


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[LabPair]:
    async with running_pair(tmp_path) as found:
        yield found


async def test_protecting_again_never_overwrites_a_kept_replica(pair: LabPair) -> None:
    await pair.protect()
    await pair.disable()
    await pair.protect()
    kept = list((pair.target.data / "kept").iterdir())
    assert [(folder / "catalog.log").exists() for folder in kept] == [True]
    assert [verdict["identical"] for verdict in await pair.replay()] == [True]


async def test_a_crash_of_the_host_asks_for_a_resynchronization_also_after_a_restart(pair: LabPair) -> None:
    await pair.protect()
    await pair.source.ask(ask="crash", vmID=WEB)
    fact = pair.source.relation()
    assert fact.state == "WaitingForStartResynchronize"
    assert (fact.health, fact.health_reasons) == ("Critical", ("resync-required",))
    await pair.source.restart()
    assert pair.states() == ("WaitingForStartResynchronize", "Replicating")
    await pair.disable()
    await pair.protect()


async def test_a_vm_that_cannot_be_opened_fails_alone_and_can_be_given_up(pair: LabPair) -> None:
    await pair.protect(WEB)
    await pair.protect(DB, "db", disks=2)
    await pair.source.driver.stop()
    centre = source_centre()
    centre["vms"][0]["disks"][0]["size"] = "16MiB"
    del centre["vms"][1]
    pair.source.file.write_text(yaml.safe_dump(centre), encoding="utf-8")
    await pair.source.start()
    assert (pair.source.driver.state(WEB), pair.source.driver.state(DB)) == ("Error", "Error")
    assert "disks cannot change" in pair.source.relation(WEB).message
    assert "not in east.yaml any more" in pair.source.relation(DB).message
    await pair.source.do(Verb.DISABLE_REPLICATION, WEB)
    await pair.target.do(Verb.DISABLE_REPLICATION, WEB)
    await pair.protect(WEB)
    detail = await pair.target.driver.detail(WEB)
    assert detail.vm is not None
    assert detail.vm.disks[0].size_bytes == 16 * 2**20
