"""What a site can do beyond Hyper-V: scan after a crash (row 47, beside row 35), synchronize at once (row 43)."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from secondsite.agent.lab.driver import LabDriver
from secondsite.agent.lab.state import Documents, Half
from secondsite.wire.agent import NO_FENCE, Capability
from secondsite.wire.agent import Settings as SiteSettings
from secondsite.wire.arguments import UpdateSettings
from secondsite.wire.facts import Relation
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Code, Refusal
from support.lab import SETTINGS, LabPair, make_pair, running_pair
from support.lab_centres import WEB, large_source_centre, source_centre
from support.patience import until

BETTER = source_centre() | {"capabilities": ["ScanAfterCrash", "Synchronize"]}
SLOW = SETTINGS.model_copy(update={"interval_seconds": 900, "rpo_target_seconds": 1800})


async def written(pair: LabPair) -> int:
    return int((await pair.source.ask(ask="status"))["guests"][WEB]["sequence"])


async def newest(pair: LabPair) -> int:
    return int((await pair.replay())[-1]["sequence"])


def seen_states(pair: LabPair) -> set[str]:
    return {fact.state for _, fact in pair.source.sink.history if isinstance(fact, Relation)}


async def test_row_35_without_the_capability_a_crash_asks_for_a_resynchronization(tmp_path: Path) -> None:
    async with running_pair(tmp_path) as pair:
        await pair.protect()
        await pair.source.ask(ask="crash", vmID=WEB)
        fact = pair.source.relation()
        assert (fact.state, fact.pending_bytes) == ("WaitingForStartResynchronize", None)
        assert "without closing the log" in fact.message


async def test_row_47_with_the_capability_a_crash_is_scanned_and_replication_goes_on(tmp_path: Path) -> None:
    async with running_pair(tmp_path, source=BETTER, keep_every_cycle=True) as pair:
        await pair.protect()
        before = {point.id for point in await pair.target.driver.points(WEB)}
        await pair.source.ask(ask="crash", vmID=WEB)
        now = await written(pair)
        await pair.more_cycles(2)
        assert await newest(pair) >= now
        assert "WaitingForStartResynchronize" not in seen_states(pair)
        assert all(verdict["identical"] for verdict in await pair.replay())
        assert before <= {point.id for point in await pair.target.driver.points(WEB)}


async def test_row_47_a_scan_waits_for_the_resume_of_a_suspended_vm(tmp_path: Path) -> None:
    async with running_pair(tmp_path, source=BETTER) as pair:
        await pair.protect()
        await pair.source.do(Verb.SUSPEND, WEB)
        await pair.source.ask(ask="crash", vmID=WEB)
        await pair.source.restart()
        assert pair.source.driver.state(WEB) == "Suspended"
        now = await written(pair)
        await pair.source.do(Verb.RESUME, WEB)
        await pair.more_cycles()
        assert await newest(pair) >= now


async def test_row_47_a_first_copy_goes_on_after_a_crash(tmp_path: Path) -> None:
    large = large_source_centre() | {"capabilities": ["ScanAfterCrash"]}
    async with running_pair(tmp_path, source=large) as pair:
        await pair.source.driver.apply(SiteSettings(fence=NO_FENCE, bandwidth_limit_bytes_per_second=2_000_000))
        await pair.enable()
        await until(lambda: (pair.source.relation().initial_sent_bytes or 0) > 0)
        await pair.source.ask(ask="crash", vmID=WEB)
        await pair.source.driver.apply(SiteSettings(fence=NO_FENCE))
        await until(lambda: pair.states() == ("Replicating", "Replicating"))
        assert (await pair.replay())[-1]["identical"]


async def test_row_43_synchronize_returns_when_all_is_delivered(tmp_path: Path) -> None:
    async with running_pair(tmp_path, source=BETTER) as pair:
        await pair.protect()
        await pair.source.do(Verb.UPDATE_SETTINGS, WEB, UpdateSettings(settings=SLOW))
        await pair.target.do(Verb.UPDATE_SETTINGS, WEB, UpdateSettings(settings=SLOW))
        for _ in range(2):
            now = await written(pair)
            await pair.source.do(Verb.SYNCHRONIZE, WEB)
            assert await newest(pair) >= now
        assert pair.states() == ("Replicating", "Replicating")


async def test_row_43_synchronize_says_when_the_peer_is_away_and_is_refused_elsewhere(tmp_path: Path) -> None:
    async with running_pair(tmp_path, source=BETTER) as pair:
        await pair.protect()
        await pair.target.driver.stop()
        with pytest.raises(Refusal) as refused:
            await pair.source.do(Verb.SYNCHRONIZE, WEB)
        assert refused.value.code is Code.PEER_UNREACHABLE
        await pair.target.start()
        await pair.source.do(Verb.SUSPEND, WEB)
        with pytest.raises(Refusal) as refused:
            await pair.source.do(Verb.SYNCHRONIZE, WEB)
        assert refused.value.code is Code.STATE_CONFLICT


def test_a_site_offers_what_its_file_says(tmp_path: Path) -> None:
    always = {Capability.FREEZE_TIME, Capability.PROBE_ISOLATED}
    pair = make_pair(tmp_path, source=BETTER)
    assert LabDriver(pair.source.file).capabilities == always | {Capability.SCAN_AFTER_CRASH, Capability.SYNCHRONIZE}
    assert LabDriver(pair.target.file).capabilities == always


async def test_a_replica_that_was_told_of_a_resynchronization_returns_when_its_cycle_commits(tmp_path: Path) -> None:
    """As where the primary died between its cycle's commit and its knowing of it."""
    async with running_pair(tmp_path) as pair:
        await pair.protect()
        await pair.target.driver.stop()
        documents = Documents(pair.target.data / "lab.db")
        half = documents.get(Half, WEB)
        assert half is not None
        documents.put(WEB, msgspec.structs.replace(half, state="Resynchronizing"))
        documents.close()
        await pair.target.start()
        assert pair.target.driver.state(WEB) == "Resynchronizing"
        await until(lambda: pair.states() == ("Replicating", "Replicating"))
