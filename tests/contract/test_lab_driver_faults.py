"""What the halves do when the other site is away, and what they find after a death at the worst moment."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from secondsite.agent.lab.state import Documents, Half
from secondsite.wire.facts import State
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Code, Refusal
from support.lab import LabPair, LabSite, make_pair, running_pair
from support.lab_centres import DB, WEB
from support.patience import until


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[LabPair]:
    async with running_pair(tmp_path) as found:
        yield found


def put_back(site: LabSite, state: State, **changes: object) -> None:
    """As if the agent had died before it noted the last transition."""
    documents = Documents(site.data / "lab.db")
    half = documents.get(Half, WEB)
    assert half is not None
    documents.put(WEB, msgspec.structs.replace(half, state=state, **changes))
    documents.close()


async def test_a_point_that_was_committed_but_not_noted_is_found_at_the_next_start(pair: LabPair) -> None:
    await pair.protect()
    for site in (pair.source, pair.target):
        await site.driver.stop()
    put_back(pair.source, "InitialReplicationInProgress", initial_done=False)
    put_back(pair.target, "WaitingForInitialReplication", initial_done=False)
    await pair.target.start()
    await pair.source.start()
    assert pair.states() == ("Replicating", "Replicating")
    await pair.more_cycles(2)


async def test_tracking_of_a_relation_that_ended_is_forgotten(pair: LabPair) -> None:
    await pair.protect()
    await pair.source.driver.stop()
    documents = Documents(pair.source.data / "lab.db")
    documents.remove(Half, WEB)
    documents.close()
    await pair.source.start()
    assert not (pair.source.data / "tracking" / WEB).exists()
    await pair.target.do(Verb.DISABLE_REPLICATION, WEB)
    await pair.protect()


async def test_a_disk_that_went_missing_is_not_taken_for_the_one_that_was_tracked(pair: LabPair) -> None:
    await pair.protect()
    await pair.source.driver.stop()
    (disk,) = (pair.source.data / "disks" / WEB).glob("*.raw")
    disk.unlink()
    await pair.source.start()
    assert disk.exists()
    assert pair.source.relation().state == "WaitingForStartResynchronize"


async def test_everything_goes_on_after_a_restart_of_both(pair: LabPair) -> None:
    await pair.protect(DB, "db", disks=2)
    before = pair.target.relation(DB)
    await pair.source.restart()
    await pair.target.restart()
    after = pair.target.relation(DB)
    assert after.cycles >= before.cycles
    assert after.settings == before.settings
    assert after.newest_point is not None
    assert before.newest_point is not None
    assert after.newest_point.source_time >= before.newest_point.source_time
    await pair.more_cycles(2, DB)
    assert all(verdict["identical"] for verdict in await pair.replay(DB))


async def test_a_resumed_command_finds_out_what_is_left_to_do(pair: LabPair) -> None:
    await pair.target.do(Verb.PREPARE_REPLICA, WEB, pair.prepare_arguments())
    for resumed in (False, True):
        await pair.source.do(Verb.ENABLE_REPLICATION, WEB, pair.enable_arguments(1), resumed=resumed)
    for resumed in (False, True):
        await pair.source.do(Verb.START_INITIAL_REPLICATION, WEB, resumed=resumed)
    await until(lambda: pair.states() == ("Replicating", "Replicating"))
    for verb in (Verb.SUSPEND, Verb.RESUME, Verb.DISABLE_REPLICATION):
        for resumed in (False, True):
            await pair.source.do(verb, WEB, resumed=resumed)
    for verb in (Verb.SUSPEND, Verb.RESUME, Verb.DISABLE_REPLICATION, Verb.REMOVE_REPLICA):
        for resumed in (False, True):
            await pair.target.do(verb, WEB, resumed=resumed)
    assert pair.states() == ("Disabled", "Disabled")


async def test_a_repeated_enable_without_a_look_is_a_conflict(pair: LabPair) -> None:
    await pair.protect()
    with pytest.raises(Refusal) as refused:
        await pair.source.do(Verb.ENABLE_REPLICATION, WEB, pair.enable_arguments(1))
    assert refused.value.code is Code.STATE_CONFLICT
    assert pair.states() == ("Replicating", "Replicating")


async def test_what_hyper_v_cannot_do_is_unsupported(pair: LabPair) -> None:
    with pytest.raises(Refusal) as refused:
        await pair.source.do(Verb.SYNCHRONIZE, WEB)
    assert refused.value.code is Code.UNSUPPORTED


@pytest.mark.parametrize(
    "verb", [Verb.SUSPEND, Verb.RESUME, Verb.START_INITIAL_REPLICATION, Verb.STOP_INITIAL_REPLICATION]
)
async def test_a_vm_without_replication_takes_no_verb_but_enable(pair: LabPair, verb: Verb) -> None:
    for site in (pair.source, pair.target):
        with pytest.raises(Refusal) as refused:
            await site.do(verb, WEB)
        assert refused.value.code is Code.STATE_CONFLICT
        assert "Disabled" in refused.value.detail
        assert verb.value.removesuffix("InitialReplication").removesuffix("Replication") in refused.value.detail


async def test_an_abandoned_verb_holds_its_vm_until_its_thread_has_ended(tmp_path: Path) -> None:
    pair = make_pair(tmp_path)
    await pair.source.start()
    with socket.create_server(("127.0.0.1", pair.port)) as silent:
        silent.settimeout(10)
        enabling = asyncio.create_task(pair.source.do(Verb.ENABLE_REPLICATION, WEB, pair.enable_arguments(1)))
        peer, _ = await asyncio.to_thread(silent.accept)
        enabling.cancel()
        assert not (await asyncio.wait({enabling}, timeout=0.3))[0], "its thread still waits for the peer"
        peer.close()
        await asyncio.wait({enabling}, timeout=10)
    assert enabling.cancelled()
    assert pair.source.driver.state(WEB) == "Disabled"
    await pair.source.driver.stop()
