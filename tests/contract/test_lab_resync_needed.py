"""What asks for a resynchronization on a real pair, also while one is under way (table rows 14 and 19)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from secondsite.wire.agent import NO_FENCE
from secondsite.wire.agent import Settings as SiteSettings
from secondsite.wire.arguments import Failover
from secondsite.wire.facts import Relation
from secondsite.wire.operations import Verb
from support.lab import SETTINGS, running_pair
from support.lab_centres import DB, WEB, source_centre
from support.patience import until

HOUR = timedelta(hours=1)


def small_log() -> dict[str, Any]:
    """A source whose guest fills the log of changes within a second or two."""
    centre = source_centre()
    centre["knobs"]["logLimitPercent"] = 3
    return centre


async def test_row_14_a_log_that_outgrows_its_limit_stops_tracking_and_sending(tmp_path: Path) -> None:
    async with running_pair(tmp_path, source=small_log()) as pair:
        await pair.protect()
        await pair.source.do(Verb.SUSPEND, WEB)
        before = pair.target.relation()
        await until(lambda: pair.source.driver.state(WEB) == "WaitingForStartResynchronize")
        fact = pair.source.relation()
        assert (fact.health, fact.pending_bytes) == ("Critical", None)
        assert "resync-required" in fact.health_reasons
        assert "log of changes" in fact.message
        written = (await pair.source.ask(ask="status"))["guests"][WEB]["sequence"]
        assert pair.states() == ("WaitingForStartResynchronize", "Replicating")
        assert pair.target.relation().newest_point == before.newest_point
        await pair.source.do(Verb.RESYNCHRONIZE, WEB)
        await until(lambda: pair.states() == ("Replicating", "Replicating"))
        assert (await pair.replay())[-1]["sequence"] >= written


async def test_row_14_a_log_grows_too_large_also_while_nothing_gets_through(tmp_path: Path) -> None:
    async with running_pair(tmp_path, source=small_log()) as pair:
        await pair.protect()
        await pair.target.driver.stop()
        await until(lambda: pair.source.driver.state(WEB) == "WaitingForStartResynchronize")
        await pair.target.start()


async def test_row_14_a_disk_that_was_touched_while_the_vm_was_off(tmp_path: Path) -> None:
    async with running_pair(tmp_path) as pair:
        await pair.protect()
        here, there = pair.source.driver._site, pair.target.driver._site
        assert here is not None
        assert there is not None
        (disk,) = here.estate.guests[WEB].disks.values()
        # Past the tracking, as a tool on the host would; where the guest never writes.
        with disk.path.open("r+b") as file:
            file.seek(disk.size - 4)
            file.write(b"tool")
        with here.estate.primaries[WEB].quiet():
            here.estate.primaries[WEB].touched_offline()
        fact = pair.source.relation()
        assert (fact.state, fact.health) == ("WaitingForStartResynchronize", "Critical")
        assert "while the VM was off" in fact.message
        await pair.source.do(Verb.RESYNCHRONIZE, WEB)
        await until(lambda: pair.states() == ("Replicating", "Replicating"))
        store = there.estate.replicas.get(WEB)
        assert store is not None
        newest = store.points()[-1].id
        assert store.store.read_point(newest, "SCSI-0-0", disk.size - 4, 4) == b"tool"


async def test_row_19_a_log_that_fills_again_ends_the_resynchronization(tmp_path: Path) -> None:
    async with running_pair(tmp_path, source=small_log()) as pair:
        await pair.protect()
        await pair.source.ask(ask="crash", vmID=WEB)
        await pair.target.driver.stop()
        await pair.source.do(Verb.RESYNCHRONIZE, WEB)
        assert pair.source.driver.state(WEB) == "Resynchronizing"
        await until(lambda: pair.source.driver.state(WEB) == "WaitingForStartResynchronize")
        assert "log of changes" in pair.source.relation().message
        await pair.target.start()
        await pair.source.do(Verb.RESYNCHRONIZE, WEB)
        await until(lambda: pair.states() == ("Replicating", "Replicating"))


async def test_a_failover_cancels_a_resynchronization_and_none_begins_by_itself(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    window = {"resynchronize_start": f"{now - HOUR:%H:%M}", "resynchronize_end": f"{now + HOUR:%H:%M}"}
    async with running_pair(tmp_path) as pair:
        await pair.protect(settings=SETTINGS.model_copy(update={"auto_resynchronize": True, **window}))
        # Slow from here on: what is under way when the replica fails over has not ended.
        await pair.source.driver.apply(SiteSettings(fence=NO_FENCE, bandwidth_limit_bytes_per_second=65536))
        await pair.source.ask(ask="crash", vmID=WEB)
        await until(lambda: pair.states() == ("Resynchronizing", "Resynchronizing"))
        await pair.target.do(Verb.FAILOVER, WEB, Failover())
        assert pair.target.driver.state(WEB) == "FailedOverWaitingCompletion"
        await pair.source.driver.apply(SiteSettings(fence=NO_FENCE))
        await until(lambda: pair.source.driver.state(WEB) == "WaitingForStartResynchronize")
        before = len(pair.source.sink.history)
        await pair.protect(DB, "db", disks=2)
        await pair.more_cycles(3, DB)
        said = [fact for id_, fact in pair.source.sink.history[before:] if id_ == WEB and isinstance(fact, Relation)]
        assert {fact.state for fact in said} <= {"WaitingForStartResynchronize"}
        assert pair.target.driver.state(WEB) == "FailedOverWaitingCompletion"
