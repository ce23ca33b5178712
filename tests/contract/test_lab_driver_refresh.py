"""VMs that leave the data-centre file, and come back."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from secondsite.wire.inventory import VM
from secondsite.wire.operations import Verb
from support.lab import LabPair, LabSite, running_pair
from support.lab_centres import DB, source_centre


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[LabPair]:
    async with running_pair(tmp_path) as found:
        yield found


async def refresh(site: LabSite, *left: str) -> None:
    """Read a file that lacks these VMs."""
    centre = source_centre()
    centre["vms"] = [vm for vm in centre["vms"] if vm["name"] not in left]
    site.file.write_text(yaml.safe_dump(centre), encoding="utf-8")
    await site.do(Verb.REFRESH_INVENTORY, "")


async def newest(site: LabSite, vm_id: str) -> int:
    return int((await site.ask(ask="truth", vmID=vm_id))["newest"]["sequence"])


def names(site: LabSite) -> set[str]:
    return {vm.name for vm in site.sink.all(VM)}


def writing() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("guest ")}


async def test_a_vm_that_left_is_stopped_and_withdrawn_and_may_come_back(pair: LabPair) -> None:
    before = await newest(pair.source, DB)
    await refresh(pair.source, "db")
    assert names(pair.source) == {"web", "legacy"}
    assert "guest db" not in writing()
    await refresh(pair.source)
    assert names(pair.source) == {"web", "db", "legacy"}
    assert await newest(pair.source, DB) >= before
    await pair.protect(DB, "db", disks=2)


async def test_a_vm_that_left_while_it_is_replicated_runs_on_until_it_is_not(pair: LabPair) -> None:
    await pair.protect()
    await refresh(pair.source, "web")
    assert names(pair.source) == {"web", "db", "legacy"}
    await pair.more_cycles(2)
    assert "guest web" in writing()
    await pair.disable()
    await refresh(pair.source, "web")
    assert names(pair.source) == {"db", "legacy"}
    assert "guest web" not in writing()
