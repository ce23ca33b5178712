"""SIGKILL of either agent in the middle of each verb of a failover: nothing is lost, and each verb can be ended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from secondsite.wire.arguments import Failover
from secondsite.wire.operations import Verb
from support.lab_centres import WEB
from support.lab_failover_process import KillableMove

_FAILED_OVER = {("Replica", "FailedOverWaitingCompletion")}


@pytest.fixture
async def moving(tmp_path: Path) -> AsyncIterator[KillableMove]:
    found = KillableMove(tmp_path, seed=5)
    await found.start()
    yield found
    await found.stop()


async def test_agents_killed_during_prepare_failover_reverse_and_demote(moving: KillableMove) -> None:
    east, west = moving.east, moving.west
    await moving.pair.enable()
    await moving.until_half(west, ("Replica", "Replicating"))
    await moving.until_half(east, ("Primary", "Replicating"))
    await east.do(Verb.STOP_VM, WEB)
    written = await moving.sequence(east)
    await moving.insist(east, Verb.PREPARE_FAILOVER, None, {("Primary", "PreparedForFailover")}, east)
    await moving.insist(west, Verb.FAILOVER, Failover(planned=True), _FAILED_OVER, west)
    there = moving.reverse_arguments(west)
    await moving.insist(west, Verb.REVERSE_REPLICATION, there, {("Primary", "Replicating")}, east)
    await west.do(Verb.START_VM, WEB)
    assert await moving.sequence(west) >= written
    await moving.caught_up(west, await moving.writes_on(west))
    # Back again, unplanned.
    await moving.insist(east, Verb.FAILOVER, Failover(), _FAILED_OVER, east)
    await east.do(Verb.START_VM, WEB)
    await moving.until_half(west, ("Primary", "Error"))
    await west.do(Verb.STOP_VM, WEB)
    waiting = {("Replica", "WaitingForInitialReplication")}
    await moving.insist(west, Verb.DEMOTE_TO_REPLICA, moving.demote_arguments(west), waiting, west)
    here, ready = moving.reverse_arguments(east), {("Primary", "ReadyForInitialReplication")}
    await moving.insist(east, Verb.REVERSE_REPLICATION, here, ready, east)
    await east.do(Verb.START_INITIAL_REPLICATION, WEB)
    now = await moving.writes_on(east)
    assert now > written
    await moving.caught_up(east, now)
    verdict = await moving.live(east)
    assert (verdict["identical"], verdict["faults"]) == (True, [])
    assert (await moving.newest_point(west))["identical"]
    assert moving.kills == 6
