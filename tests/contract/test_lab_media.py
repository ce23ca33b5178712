"""The first copy at a time of its own (row 3), and on media that people carry (rows 4, 5)."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from secondsite.wire.arguments import ConfigureReplica, Media, StartInitialReplication
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Code, Refusal
from support.lab import SETTINGS, LabPair, running_pair
from support.lab_centres import DB, WEB, large_source_centre
from support.patience import until

READY = ("ReadyForInitialReplication", "WaitingForInitialReplication")
EXPORTED = ("WaitingForInitialReplication", "WaitingForInitialReplication")
HEALTHY = ("Replicating", "Replicating")


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[LabPair]:
    async with running_pair(tmp_path) as found:
        yield found


async def relate(pair: LabPair, vm_id: str = WEB, name: str = "web", disks: int = 1) -> None:
    """Up to the moment before the first copy."""
    await pair.target.do(Verb.PREPARE_REPLICA, vm_id, pair.prepare_arguments(name))
    await pair.source.do(Verb.ENABLE_REPLICATION, vm_id, pair.enable_arguments(disks))
    await pair.target.do(Verb.CONFIGURE_REPLICA, vm_id, ConfigureReplica(settings=SETTINGS))


async def export(pair: LabPair, folder: Path, vm_id: str = WEB, *, resumed: bool = False) -> None:
    await pair.source.do(Verb.EXPORT_INITIAL_REPLICATION, vm_id, Media(path=str(folder)), resumed=resumed)


async def take(pair: LabPair, folder: Path, vm_id: str = WEB, *, resumed: bool = False) -> dict[str, str]:
    return await pair.target.do(Verb.IMPORT_INITIAL_REPLICATION, vm_id, Media(path=str(folder)), resumed=resumed)


async def exported(pair: LabPair, folder: Path, vm_id: str = WEB) -> None:
    await export(pair, folder, vm_id)
    await until(lambda: pair.states(vm_id) == EXPORTED)


async def test_row_03_a_first_copy_begins_at_its_time(pair: LabPair) -> None:
    await relate(pair)
    start = datetime.now(UTC) + timedelta(seconds=1)
    await pair.source.do(Verb.START_INITIAL_REPLICATION, WEB, StartInitialReplication(start_time=start))
    assert (pair.states(), pair.source.relation().initial_start_time) == (READY, start)
    await pair.source.restart()
    assert (pair.states(), pair.source.relation().initial_start_time) == (READY, start)
    await until(lambda: pair.states() == HEALTHY)
    fact = pair.source.relation()
    assert fact.initial_start_time is None
    assert (fact.last_replication_time or start) >= start
    assert (await pair.replay())[-1]["identical"]


@pytest.mark.parametrize("ahead", [timedelta(seconds=-1), timedelta(days=7, minutes=1)])
async def test_row_03_a_time_that_is_past_or_beyond_a_week_is_refused(pair: LabPair, ahead: timedelta) -> None:
    await relate(pair)
    wish = StartInitialReplication(start_time=datetime.now(UTC) + ahead)
    with pytest.raises(Refusal, match="seven days") as refused:
        await pair.source.do(Verb.START_INITIAL_REPLICATION, WEB, wish)
    assert refused.value.code is Code.STATE_CONFLICT
    assert (pair.states(), pair.source.relation().initial_start_time) == (READY, None)


async def test_row_03_a_set_start_is_stopped_and_a_start_now_takes_its_place(pair: LabPair) -> None:
    await relate(pair)
    later = StartInitialReplication(start_time=datetime.now(UTC) + timedelta(days=1))
    with pytest.raises(Refusal, match="a time was set"):
        await pair.source.do(Verb.STOP_INITIAL_REPLICATION, WEB)
    await pair.source.do(Verb.START_INITIAL_REPLICATION, WEB, later)
    await pair.source.do(Verb.STOP_INITIAL_REPLICATION, WEB)
    assert (pair.states(), pair.source.relation().initial_start_time) == (READY, None)
    await pair.source.do(Verb.START_INITIAL_REPLICATION, WEB, later)
    await pair.source.do(Verb.START_INITIAL_REPLICATION, WEB, StartInitialReplication())
    await until(lambda: pair.states() == HEALTHY)
    assert pair.source.relation().initial_start_time is None


async def test_row_04_and_05_what_was_exported_and_imported_is_gone_on_from(pair: LabPair, tmp_path: Path) -> None:
    await relate(pair, DB, "db", 2)
    await exported(pair, tmp_path / "media", DB)
    fact = pair.source.relation(DB)
    assert fact.initial_total_bytes == fact.initial_sent_bytes
    assert (fact.initial_total_bytes or 0) > 2 * 2**20
    assert "ir-pending" in fact.health_reasons
    written = (await pair.source.ask(ask="status"))["guests"][DB]["sequence"]
    # Several looks at the replica later it still only waits.
    await pair.protect()
    await pair.more_cycles(2)
    site = pair.source.driver._site
    assert site is not None
    half = site.estate.halves.get(DB)
    assert half is not None
    assert (half.state, half.failures, half.failure) == ("WaitingForInitialReplication", 0, "")
    with pytest.raises(Refusal):
        await pair.source.do(Verb.STOP_INITIAL_REPLICATION, DB)
    carried = tmp_path / "carried"
    shutil.copytree(tmp_path / "media", carried)
    answer = await take(pair, carried, DB)
    await until(lambda: pair.states(DB) == HEALTHY)
    await pair.more_cycles(1, DB)
    verdicts = await pair.replay(DB)
    assert answer["point"]
    assert all(verdict["identical"] for verdict in verdicts)
    assert verdicts[-1]["sequence"] >= written
    fact = pair.source.relation(DB)
    assert (fact.message, fact.initial_total_bytes) == ("", fact.initial_sent_bytes)


async def test_row_04_an_export_is_stopped_while_it_runs_only(pair: LabPair, tmp_path: Path) -> None:
    await relate(pair)
    folder = tmp_path / "media"
    folder.mkdir(mode=0o500)
    (folder / "SCSI-0-0.frames").mkdir()
    await export(pair, folder)
    await until(lambda: "Exporting" in pair.source.relation().message)
    assert pair.states() == ("InitialReplicationInProgress", "WaitingForInitialReplication")
    await pair.source.do(Verb.STOP_INITIAL_REPLICATION, WEB)
    assert pair.states() == READY
    await pair.source.do(Verb.START_INITIAL_REPLICATION, WEB)
    await until(lambda: pair.states() == HEALTHY)
    assert (await pair.replay())[-1]["identical"]


async def test_row_04_an_export_goes_on_after_a_restart_and_what_was_exported_still_counts(tmp_path: Path) -> None:
    async with running_pair(tmp_path, source=large_source_centre()) as pair:
        await relate(pair)
        await export(pair, tmp_path / "media")
        await pair.source.restart()
        await until(lambda: pair.states() == EXPORTED)
        await export(pair, tmp_path / "media", resumed=True)
        await pair.source.restart()
        assert pair.states() == EXPORTED
        await take(pair, tmp_path / "media")
        await take(pair, tmp_path / "media", resumed=True)
        await until(lambda: pair.states() == HEALTHY)
        await pair.more_cycles()
        assert all(verdict["identical"] for verdict in await pair.replay())


async def test_row_05_damaged_foreign_and_missing_media_are_refused_and_change_nothing(
    pair: LabPair, tmp_path: Path
) -> None:
    await relate(pair)
    await relate(pair, DB, "db", 2)
    await exported(pair, tmp_path / "web")
    await exported(pair, tmp_path / "db", DB)
    torn = tmp_path / "torn"
    shutil.copytree(tmp_path / "web", torn)
    (disk,) = torn.glob("*.frames")
    content = bytearray(disk.read_bytes())
    content[len(content) // 2] ^= 1
    disk.write_bytes(content)
    for folder in (torn, tmp_path / "db", tmp_path / "nowhere"):
        with pytest.raises(Refusal) as refused:
            await take(pair, folder)
        assert refused.value.code is Code.INVALID_REQUEST
        assert refused.value.remedy
        assert pair.states() == EXPORTED
        assert await pair.target.driver.points(WEB) == []
    await take(pair, tmp_path / "web")
    await until(lambda: pair.states() == HEALTHY)
    with pytest.raises(Refusal) as refused:
        await take(pair, tmp_path / "web")
    assert refused.value.code is Code.STATE_CONFLICT


async def test_row_04_a_folder_that_cannot_take_an_export_is_refused(pair: LabPair, tmp_path: Path) -> None:
    await relate(pair)
    await relate(pair, DB, "db", 2)
    await exported(pair, tmp_path / "media")
    (tmp_path / "file").write_text("no folder")
    for folder, code in (
        (tmp_path / "media", Code.IN_USE),
        (tmp_path / "file", Code.INVALID_REQUEST),
        (Path("media"), Code.INVALID_REQUEST),
    ):
        with pytest.raises(Refusal) as refused:
            await export(pair, folder, DB)
        assert refused.value.code is code
        assert pair.states(DB) == READY


async def test_row_04_two_exports_under_way_have_a_folder_each(pair: LabPair, tmp_path: Path) -> None:
    await relate(pair)
    await relate(pair, DB, "db", 2)
    site = pair.source.driver._site
    assert site is not None
    with site.estate.primaries[WEB].quiet():
        await export(pair, tmp_path / "media")
        with pytest.raises(Refusal) as refused:
            await export(pair, tmp_path / "other" / ".." / "media", DB)
        assert refused.value.code is Code.IN_USE
        assert pair.states(DB) == READY
    await until(lambda: pair.states() == EXPORTED)
    await take(pair, tmp_path / "media")
    await until(lambda: pair.states() == HEALTHY)


async def test_row_04_an_exported_relation_that_is_given_up_can_be_made_anew(pair: LabPair, tmp_path: Path) -> None:
    await relate(pair)
    await exported(pair, tmp_path / "media")
    await pair.disable()
    await pair.protect()
    assert (await pair.replay())[-1]["identical"]


async def test_row_04_a_crash_after_the_export_is_found_out_when_the_media_have_arrived(
    pair: LabPair, tmp_path: Path
) -> None:
    await relate(pair)
    await exported(pair, tmp_path / "media")
    await pair.source.ask(ask="crash", vmID=WEB)
    assert pair.states() == EXPORTED
    await take(pair, tmp_path / "media")
    await until(lambda: pair.states() == ("WaitingForStartResynchronize", "Replicating"))
    await pair.source.do(Verb.RESYNCHRONIZE, WEB)
    await until(lambda: pair.states() == HEALTHY)
    await pair.more_cycles()
    assert (await pair.replay())[-1]["identical"]
