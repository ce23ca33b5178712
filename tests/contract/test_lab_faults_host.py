"""Faults of hosts, of VMM and of what runs there: what the site says, and how it heals."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from secondsite.agent.lab.faults import Fault
from secondsite.wire.facts import Relation
from secondsite.wire.inventory import VM
from secondsite.wire.inventory import Site as SiteFact
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Code, Refusal
from support.lab import SETTINGS, LabPair, LabSite, running_pair
from support.lab_centres import DB, WEB, large_source_centre
from support.patience import until


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[LabPair]:
    async with running_pair(tmp_path) as found:
        yield found


async def break_(site: LabSite, fault: Fault, **more: Any) -> None:
    await site.ask(ask="fault", fault=fault.value, **more)


async def mend(site: LabSite, fault: Fault, **more: Any) -> None:
    await site.ask(ask="fault", fault=fault.value, off=True, **more)


def listed(site: LabSite, name: str) -> list[VM]:
    return [vm for vm in site.sink.all(VM) if vm.name == name]


@pytest.mark.parametrize("fault", [Fault.HOST_CRASH, Fault.DISK_TOUCHED_OFFLINE])
async def test_fault_that_loses_the_tracking_asks_for_a_resynchronization(pair: LabPair, fault: Fault) -> None:
    await pair.protect()
    await break_(pair.source, fault, vmID="web")
    await until(lambda: pair.source.driver.state(WEB) == "WaitingForStartResynchronize")
    fact = pair.source.relation()
    assert (fact.health, fact.health_reasons) == ("Critical", ("resync-required",))
    assert (await pair.source.ask(ask="faults"))["faults"] == [], "it happened, and is over"
    await pair.source.do(Verb.RESYNCHRONIZE, WEB)
    await until(lambda: pair.states() == ("Replicating", "Replicating"))
    await pair.more_cycles(1)
    assert all(verdict["identical"] for verdict in await pair.replay())


async def test_fault_vmms_restart_hides_relations_for_its_time_and_changes_none(pair: LabPair) -> None:
    await pair.protect()
    await break_(pair.source, Fault.VMMS_RESTART, value=1.0)
    assert not pair.source.driver.settled()
    site = pair.source.sink.get(SiteFact, "site")
    assert site
    assert site.state == "Settling"
    with pytest.raises(Refusal) as refused:
        await pair.source.do(Verb.SUSPEND, WEB)
    assert refused.value.code is Code.SETTLING
    with pytest.raises(Refusal):
        await pair.source.driver.detail(WEB)
    cycles = pair.target.relation().cycles
    await until(pair.source.driver.settled)
    # One may have come between its end and our look; without the pause there would be two.
    assert pair.target.relation().cycles <= cycles + 1, "nothing was sent meanwhile"
    await pair.more_cycles(2)
    assert pair.states() == ("Replicating", "Replicating")
    await until(lambda: getattr(pair.source.sink.get(SiteFact, "site"), "state", "") == "Ready")


async def test_fault_vmms_restart_of_the_target_is_taken_for_a_fault_of_the_way(pair: LabPair) -> None:
    await pair.protect()
    await break_(pair.target, Fault.VMMS_RESTART, value=2.0)
    await until(lambda: "cannot-deliver" in pair.source.relation().health_reasons)
    await pair.more_cycles(2)
    assert "cannot-deliver" not in pair.source.relation().health_reasons


async def test_fault_clock_skew_moves_everything_that_the_site_dates(pair: LabPair) -> None:
    await pair.protect()
    await break_(pair.source, Fault.CLOCK_SKEW, value=120)
    ahead = timedelta(seconds=100)
    assert pair.source.driver.now() - datetime.now(UTC) > ahead
    await pair.more_cycles(2)
    assert pair.source.relation().time - datetime.now(UTC) > ahead
    points = await pair.target.driver.points(WEB)
    assert points[-1].source_time - datetime.now(UTC) > ahead, "the source dates the freeze"
    assert datetime.now(UTC) - pair.target.driver.now() < timedelta(seconds=1)
    await mend(pair.source, Fault.CLOCK_SKEW)
    assert abs(pair.source.driver.now() - datetime.now(UTC)) < timedelta(seconds=1)
    await pair.more_cycles(2)


async def test_fault_vm_moved_shows_another_host_and_replication_goes_on(pair: LabPair) -> None:
    await pair.protect()
    (before,) = listed(pair.target, "web")
    await break_(pair.target, Fault.VM_MOVED, vmID="web")
    (moved,) = listed(pair.target, "web")
    assert {before.host, moved.host} == {"hv1.west", "hv2.west"}
    assert (await pair.target.driver.detail(WEB)).vm == moved
    await pair.more_cycles(1)
    await mend(pair.target, Fault.VM_MOVED, vmID="web")
    assert listed(pair.target, "web") == [before]


async def test_fault_vss_failing_leaves_crash_consistent_points_and_a_warning(tmp_path: Path) -> None:
    # An hour of Hyper-V is two seconds here.
    async with running_pair(tmp_path, hurry=1800.0) as pair:
        settings = SETTINGS.model_copy(update={"app_consistent_interval_hours": 1})
        await break_(pair.source, Fault.VSS_FAILING, vmID=WEB)
        await pair.protect(settings=settings)
        await until(lambda: "app-consistent-failed" in pair.source.relation().health_reasons)
        assert "VSS writer" in pair.source.relation().message
        assert {point.type for point in await pair.target.driver.points(WEB)} == {"CrashConsistent"}
        await mend(pair.source, Fault.VSS_FAILING, vmID=WEB)
        await until(lambda: pair.target.relation().newest_app_consistent_time is not None)


async def test_fault_initial_replication_stuck_stays_at_one_percent(tmp_path: Path) -> None:
    async with running_pair(tmp_path, source=large_source_centre()) as pair:
        await break_(pair.source, Fault.INITIAL_REPLICATION_STUCK, vmID="web")
        await pair.enable()
        await until(lambda: pair.source.relation().initial_total_bytes is not None)
        # Another VM of the host is not held up by it.
        await pair.protect(DB, "db", disks=2)
        fact = pair.source.relation()
        assert fact.state == "InitialReplicationInProgress"
        assert (fact.initial_sent_bytes or 0) * 100 <= 2 * (fact.initial_total_bytes or 0)
        await mend(pair.source, Fault.INITIAL_REPLICATION_STUCK, vmID="web")
        await until(lambda: pair.states() == ("Replicating", "Replicating"))


@pytest.mark.parametrize(("value", "after"), [(0, "Replicating"), (1, "Suspended")])
async def test_fault_command_hangs_until_it_is_given_up_and_then_the_next_works(
    pair: LabPair, value: int, after: str
) -> None:
    await pair.protect()
    await break_(pair.source, Fault.COMMAND_HANGS, vmID="web", value=value)
    hanging = asyncio.create_task(pair.source.do(Verb.SUSPEND, WEB))
    await until(lambda: pair.source.driver.state(WEB) == after)
    assert not (await asyncio.wait({hanging}, timeout=0.3))[0]
    hanging.cancel()
    await asyncio.wait({hanging}, timeout=5)
    assert hanging.cancelled()
    assert pair.source.driver.state(WEB) == after
    await pair.source.do(Verb.SUSPEND, WEB, resumed=True)
    assert pair.source.driver.state(WEB) == "Suspended"


async def test_fault_command_hangs_goes_on_when_it_clears(pair: LabPair) -> None:
    await pair.protect()
    await break_(pair.source, Fault.COMMAND_HANGS, vmID="web", seconds=0.5)
    await pair.source.do(Verb.SUSPEND, WEB)
    assert pair.source.driver.state(WEB) == "Suspended"


async def test_fault_duplicate_names_and_orphaned_test_vm_are_listed_and_go_again(pair: LabPair) -> None:
    await break_(pair.source, Fault.DUPLICATE_NAMES, vmID=WEB)
    assert len({vm.id for vm in listed(pair.source, "web")}) == 2
    await mend(pair.source, Fault.DUPLICATE_NAMES, vmID=WEB)
    assert len(listed(pair.source, "web")) == 1
    await pair.protect()
    await break_(pair.target, Fault.ORPHANED_TEST_VM, vmID="web")
    (orphan,) = listed(pair.target, "web - Test")
    assert (orphan.role, orphan.state) == ("Test", "Running")
    relation = pair.target.sink.get(Relation, WEB)
    assert relation
    assert relation.test_vm is None, "no relation names it"
    await mend(pair.target, Fault.ORPHANED_TEST_VM, vmID="web")
    assert listed(pair.target, "web - Test") == []


async def test_fault_inventory_stale_shows_no_news_however_often_it_is_refreshed(pair: LabPair) -> None:
    await pair.protect()
    await break_(pair.source, Fault.INVENTORY_STALE)
    text = pair.source.file.read_text(encoding="utf-8")
    assert "name: legacy" in text
    pair.source.file.write_text(text.replace("name: legacy", "name: modern"), encoding="utf-8")
    await pair.source.do(Verb.REFRESH_INVENTORY, "")
    assert listed(pair.source, "legacy")
    assert not listed(pair.source, "modern")
    await pair.more_cycles(1)
    await mend(pair.source, Fault.INVENTORY_STALE)
    await pair.source.do(Verb.REFRESH_INVENTORY, "")
    assert listed(pair.source, "modern")
    assert not listed(pair.source, "legacy")


def test_every_fault_has_a_test_of_its_own() -> None:
    folder = Path(__file__).parent
    text = "".join(path.read_text(encoding="utf-8") for path in folder.glob("test_lab_faults_*.py"))
    assert [fault for fault in Fault if f"Fault.{fault.name}" not in text and f'"{fault.value}"' not in text] == []
