"""Disks that are replicated from now on, or no more (table row 36), and a disk that was resized (row 37)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from secondsite.wire.arguments import Slot, StartTestFailover, StopTestFailover, UpdateSettings
from secondsite.wire.facts import Relation
from secondsite.wire.inventory import VM
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Code, Refusal
from support.lab import SETTINGS, LabPair, running_pair
from support.lab_centres import DB, source_centre, target_centre
from support.patience import until

HEALTHY = ("Replicating", "Replicating")


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[LabPair]:
    async with running_pair(tmp_path, keep_every_cycle=True) as found:
        yield found


def disks(*locations: int) -> UpdateSettings:
    slots = [Slot(controller_type="SCSI", controller_number=0, controller_location=number) for number in locations]
    return UpdateSettings(settings=SETTINGS, disks=slots)


async def choose(pair: LabPair, *locations: int) -> None:
    await pair.source.do(Verb.UPDATE_SETTINGS, DB, disks(*locations))


async def changed(pair: LabPair, *locations: int) -> None:
    await choose(pair, *locations)
    await until(lambda: pair.states(DB) == HEALTHY)
    assert {slot.controller_location for slot in pair.source.relation(DB).disks} == set(locations)
    assert {slot.controller_location for slot in pair.target.relation(DB).disks} == set(locations)


async def disks_of_points(pair: LabPair) -> list[int]:
    site = pair.target.driver._site
    assert site is not None
    store = site.estate.replicas.get(DB)
    assert store is not None
    return [len(store.store.disks_at(point.id)) for point in store.points()]


def seen_states(pair: LabPair) -> list[str]:
    return [fact.state for _, fact in pair.source.sink.history if isinstance(fact, Relation)]


async def test_row_36_a_disk_that_comes_is_delivered_whole_and_older_points_keep_theirs(pair: LabPair) -> None:
    await pair.protect(DB, "db", disks=1)
    await pair.more_cycles(1, DB)
    written = (await pair.source.ask(ask="status"))["guests"][DB]["sequence"]
    await changed(pair, 0, 1)
    await pair.more_cycles(1, DB)
    found = await disks_of_points(pair)
    assert found == sorted(found)
    assert (found[0], found[-1]) == (1, 2)
    verdicts = await pair.replay(DB)
    assert all(verdict["identical"] for verdict in verdicts)
    assert verdicts[-1]["sequence"] >= written
    replica = pair.target.sink.get(VM, DB)
    assert replica is not None
    assert len(replica.disks) == 2


async def test_row_36_a_disk_that_goes_and_comes_back(pair: LabPair) -> None:
    await pair.protect(DB, "db", disks=2)
    await changed(pair, 0)
    await pair.more_cycles(2, DB)
    await changed(pair, 0, 1)
    await pair.more_cycles(1, DB)
    found = await disks_of_points(pair)
    assert (found[0], min(found), found[-1]) == (2, 1, 2)
    assert all(verdict["identical"] for verdict in await pair.replay(DB))
    await pair.target.restart()
    assert all(verdict["identical"] for verdict in await pair.replay(DB))


async def test_row_36_a_test_vm_of_an_older_point_has_the_older_disks(pair: LabPair) -> None:
    await pair.protect(DB, "db", disks=1)
    await pair.target.do(Verb.START_TEST_FAILOVER, DB, StartTestFailover(owner="rehearsal"))
    await changed(pair, 0, 1)
    await pair.target.do(Verb.STOP_TEST_FAILOVER, DB, StopTestFailover(owner="rehearsal"))
    await pair.target.do(Verb.START_TEST_FAILOVER, DB, StartTestFailover(owner="rehearsal"))
    await pair.target.do(Verb.STOP_TEST_FAILOVER, DB, StopTestFailover(owner="rehearsal"))
    assert all(verdict["identical"] for verdict in await pair.replay(DB))


async def test_row_36_a_change_waits_for_the_peer_and_survives_a_restart(pair: LabPair) -> None:
    await pair.protect(DB, "db", disks=1)
    await pair.target.driver.stop()
    await choose(pair, 0, 1)
    assert pair.source.driver.state(DB) == "WaitingForUpdateCompletion"
    await pair.source.restart()
    assert pair.source.driver.state(DB) == "WaitingForUpdateCompletion"
    await pair.source.ask(ask="crash", vmID=DB)
    await pair.target.start()
    await until(lambda: pair.states(DB) == HEALTHY)
    await pair.more_cycles(1, DB)
    assert (await disks_of_points(pair))[-1] == 2
    assert all(verdict["identical"] for verdict in await pair.replay(DB))


async def test_row_36_no_room_ends_in_an_update_error_that_a_corrected_change_leaves(tmp_path: Path) -> None:
    async with running_pair(tmp_path, target=target_centre(capacity="16MiB")) as pair:
        await pair.protect(DB, "db", disks=1)
        await choose(pair, 0, 1)
        await until(lambda: pair.source.driver.state(DB) == "UpdateError")
        fact = pair.source.relation(DB)
        assert fact.health == "Critical"
        assert "Silver" in fact.message
        cycles = pair.target.relation(DB).cycles
        with pytest.raises(Refusal) as refused:
            await pair.source.do(Verb.RESUME, DB)
        assert refused.value.code is Code.STATE_CONFLICT
        assert pair.target.relation(DB).cycles == cycles
        await changed(pair, 0)
        await pair.more_cycles(1, DB)
        assert all(verdict["identical"] for verdict in await pair.replay(DB))


async def test_row_36_what_cannot_be_replicated_is_refused_and_nothing_changes(pair: LabPair) -> None:
    await pair.protect(DB, "db", disks=2)
    before = pair.source.relation(DB).disks
    for wish in (disks(), disks(0, 7)):
        with pytest.raises(Refusal):
            await pair.source.do(Verb.UPDATE_SETTINGS, DB, wish)
    await choose(pair, 1, 0)
    await pair.source.do(Verb.UPDATE_SETTINGS, DB, UpdateSettings(settings=SETTINGS))
    assert (pair.states(DB), pair.source.relation(DB).disks) == (HEALTHY, before)
    assert "WaitingForUpdateCompletion" not in seen_states(pair)
    await pair.source.do(Verb.SUSPEND, DB)
    with pytest.raises(Refusal) as refused:
        await choose(pair, 0)
    assert refused.value.code is Code.STATE_CONFLICT


async def test_row_37_a_disk_resized_at_one_side_ends_in_error_until_the_sizes_agree(pair: LabPair) -> None:
    await pair.protect(DB, "db", disks=2)
    centre = source_centre()
    centre["vms"][1]["disks"][1]["size"] = "16MiB"
    pair.source.file.write_text(yaml.safe_dump(centre), encoding="utf-8")
    await pair.source.do(Verb.REFRESH_INVENTORY, "")
    await until(lambda: pair.source.driver.state(DB) == "Error")
    fact = pair.source.relation(DB)
    assert fact.health == "Critical"
    assert "out of bounds: SCSI 0:1 has 16777216 bytes, its replica 12582912" in fact.message
    await pair.source.do(Verb.RESUME, DB)
    await until(lambda: pair.source.driver.state(DB) == "Error")
    pair.source.file.write_text(yaml.safe_dump(source_centre()), encoding="utf-8")
    await pair.source.do(Verb.REFRESH_INVENTORY, "")
    points = {point.id for point in await pair.target.driver.points(DB)}
    await pair.source.do(Verb.RESUME, DB)
    await pair.more_cycles(1, DB)
    assert pair.states(DB) == HEALTHY
    # No resynchronization: every point is still there.
    assert points <= {point.id for point in await pair.target.driver.points(DB)}
    assert all(verdict["identical"] for verdict in await pair.replay(DB))


def resize(pair: LabPair, size: str) -> None:
    centre = source_centre()
    centre["vms"][1]["disks"][1]["size"] = size
    pair.source.file.write_text(yaml.safe_dump(centre), encoding="utf-8")


async def test_row_37_no_last_changes_are_sent_of_a_disk_that_has_outgrown_its_replica(tmp_path: Path) -> None:
    async with running_pair(tmp_path, hurry=1.0) as pair:
        await pair.protect(DB, "db", disks=2)
        await pair.source.do(Verb.STOP_VM, DB)
        resize(pair, "16MiB")
        # Long before the turn that would find it out.
        await pair.source.do(Verb.REFRESH_INVENTORY, "")
        with pytest.raises(Refusal, match="out of bounds"):
            await pair.source.do(Verb.PREPARE_FAILOVER, DB)
        assert pair.source.driver.state(DB) != "PreparedForFailover"


async def test_row_37_a_disk_that_became_smaller_keeps_no_site_from_starting(pair: LabPair) -> None:
    await pair.protect(DB, "db", disks=2)
    await pair.source.driver.stop()
    resize(pair, "8MiB")
    await pair.source.start()
    await until(lambda: pair.source.driver.state(DB) == "Error")
    assert "out of bounds: SCSI 0:1 has 8388608 bytes, its replica 12582912" in pair.source.relation(DB).message
    resize(pair, "12MiB")
    await pair.source.restart()
    await pair.source.do(Verb.RESUME, DB)
    await pair.more_cycles(1, DB)
    assert pair.states(DB) == HEALTHY
    assert all(verdict["identical"] for verdict in await pair.replay(DB))


async def test_a_vm_whose_disk_cannot_be_opened_takes_no_other_with_it(pair: LabPair) -> None:
    await pair.protect(DB, "db", disks=2)
    await pair.protect()
    await pair.source.driver.stop()
    (disk,) = pair.source.data.rglob(f"{DB}/SCSI-0-1.raw")
    disk.rename(disk.with_suffix(".away"))
    disk.mkdir()
    await pair.source.start()
    assert pair.source.driver.state(DB) == "Error"
    assert "SCSI-0-1.raw" in pair.source.relation(DB).message
    await pair.more_cycles()
    disk.rmdir()
    disk.with_suffix(".away").rename(disk)
    await pair.source.restart()
    await pair.source.do(Verb.RESUME, DB)
    await pair.more_cycles(1, DB)
    assert pair.states(DB) == HEALTHY
