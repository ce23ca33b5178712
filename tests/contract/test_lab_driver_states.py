"""The lab driver's states: suspended, disabled, removed, crashed and protected again, on both sides."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from secondsite.wire.agent import NO_FENCE
from secondsite.wire.agent import Settings as SiteSettings
from secondsite.wire.facts import Relation
from secondsite.wire.inventory import VM
from secondsite.wire.operations import Verb
from support.lab import LabPair, running_pair, until
from support.lab_centres import DB, WEB, large_source_centre, source_centre


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[LabPair]:
    async with running_pair(tmp_path) as found:
        yield found


async def test_suspend_on_the_primary_tracks_and_resume_sends_what_is_pending(pair: LabPair) -> None:
    await pair.protect()
    await pair.source.do(Verb.SUSPEND, WEB)
    assert pair.states() == ("Suspended", "Replicating")
    before = pair.target.relation()
    written = (await pair.source.ask(ask="status"))["guests"][WEB]["sequence"]
    await until(lambda: (pair.source.relation().pending_bytes or 0) > 0)
    assert pair.source.relation().health == "Warning"
    assert pair.target.relation().newest_point == before.newest_point
    await pair.source.do(Verb.RESUME, WEB)
    await pair.more_cycles()
    assert pair.states() == ("Replicating", "Replicating")
    verdicts = await pair.replay()
    assert verdicts[-1]["identical"]
    assert verdicts[-1]["sequence"] >= written


async def test_a_suspended_replica_refuses_the_next_cycle_and_the_primary_falls_into_error(pair: LabPair) -> None:
    await pair.protect()
    await pair.target.do(Verb.SUSPEND, WEB)
    await until(lambda: pair.states() == ("Error", "Suspended"))
    fact = pair.source.relation()
    assert (fact.health, fact.health_reasons[0]) == ("Critical", "error-fix-and-resume")
    assert "suspended" in fact.message
    await pair.target.do(Verb.RESUME, WEB)
    assert pair.states() == ("Error", "Replicating")
    await pair.source.do(Verb.RESUME, WEB)
    await pair.more_cycles()
    assert pair.states() == ("Replicating", "Replicating")


async def test_disable_on_one_side_leaves_the_other_half_which_finds_out(pair: LabPair) -> None:
    await pair.protect()
    await pair.target.do(Verb.DISABLE_REPLICATION, WEB)
    await until(lambda: pair.states() == ("Error", "Disabled"))
    assert pair.target.sink.get(Relation, WEB) is None
    kept = pair.target.sink.get(VM, WEB)
    assert kept is not None
    assert kept.role == "Replica"


async def test_disable_keeps_the_replica_and_remove_deletes_it(pair: LabPair) -> None:
    await pair.protect()
    await pair.disable()
    assert pair.states() == ("Disabled", "Disabled")
    folder = pair.target.data / "replicas" / WEB
    assert (folder / "catalog.log").exists()
    assert not (pair.source.data / "tracking" / WEB).exists()
    await pair.disable()
    await pair.target.do(Verb.REMOVE_REPLICA, WEB)
    assert not folder.exists()
    assert pair.target.sink.get(VM, WEB) is None
    await pair.target.do(Verb.REMOVE_REPLICA, WEB)


async def test_protecting_again_never_overwrites_a_kept_replica(pair: LabPair) -> None:
    await pair.protect()
    await pair.disable()
    await pair.protect()
    kept = list((pair.target.data / "kept").iterdir())
    assert [(folder / "catalog.log").exists() for folder in kept] == [True]
    assert [verdict["identical"] for verdict in await pair.replay()] == [True]


async def test_stopping_initial_replication_and_starting_it_again(tmp_path: Path) -> None:
    async with running_pair(tmp_path, source=large_source_centre()) as pair:
        await pair.source.driver.apply(SiteSettings(fence=NO_FENCE, bandwidth_limit_bytes_per_second=4_000_000))
        await pair.enable()
        await until(lambda: (pair.source.relation().initial_sent_bytes or 0) > 0)
        fact = pair.source.relation()
        assert 0 < (fact.initial_sent_bytes or 0) < (fact.initial_total_bytes or 0)
        assert (fact.bytes_per_second or 0) > 0
        await pair.source.do(Verb.STOP_INITIAL_REPLICATION, WEB)
        assert pair.states() == ("ReadyForInitialReplication", "WaitingForInitialReplication")
        await pair.source.driver.apply(SiteSettings(fence=NO_FENCE))
        await pair.source.do(Verb.START_INITIAL_REPLICATION, WEB)
        await until(lambda: pair.states() == ("Replicating", "Replicating"))
        assert (await pair.replay())[-1]["identical"]


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
