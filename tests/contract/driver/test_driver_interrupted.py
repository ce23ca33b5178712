"""An agent that is killed in the middle of commands: each is taken up again or `Interrupted`, and never `Failed`.

Whatever it is, the next attempt ends where the first one was meant to end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import aiohttp
import pytest

from secondsite.wire.operations import OperationAnswer, OperationRequest, Verb
from secondsite.wire.problems import Code
from support.driver_rig import Rig
from support.driver_rig_site import Refused, RigSite, key_of
from support.driver_rig_vm import Member, borrowed

# By side, in the order in which one VM goes through them; several VMs are at different places of it at once.
LIFE: tuple[tuple[str, Verb, tuple[str, str]], ...] = (
    ("target", Verb.PREPARE_REPLICA, ("Disabled", "Disabled")),
    ("source", Verb.ENABLE_REPLICATION, ("ReadyForInitialReplication", "WaitingForInitialReplication")),
    ("target", Verb.CONFIGURE_REPLICA, ("ReadyForInitialReplication", "WaitingForInitialReplication")),
    ("source", Verb.START_INITIAL_REPLICATION, ("Replicating", "Replicating")),
    ("source", Verb.UPDATE_SETTINGS, ("Replicating", "Replicating")),
    ("target", Verb.START_TEST_FAILOVER, ("Replicating", "Replicating")),
    ("source", Verb.SUSPEND, ("Suspended", "Replicating")),
    ("target", Verb.STOP_TEST_FAILOVER, ("Suspended", "Replicating")),
    ("source", Verb.RESUME, ("Replicating", "Replicating")),
    ("target", Verb.SUSPEND, ("Replicating", "Suspended")),
    ("source", Verb.RESET_STATISTICS, ("Replicating", "Suspended")),
    ("target", Verb.RESUME, ("Replicating", "Replicating")),
    ("source", Verb.DISABLE_REPLICATION, ("Disabled", "Replicating")),
    ("target", Verb.DISABLE_REPLICATION, ("Disabled", "Disabled")),
    ("target", Verb.REMOVE_REPLICA, ("Disabled", "Disabled")),
)
# Seconds from the sending of a command to the kill, one after the other.
MOMENTS = (0.0, 0.004, 0.012, 0.03)


@pytest.fixture
async def three(rig: Rig) -> AsyncIterator[list[Member]]:
    async with AsyncExitStack() as stack:
        members = []
        for _ in range(3):
            members.append(await stack.enter_async_context(borrowed(rig)))
            # Taken, so that the next one is another.
            await members[-1].prepare()
            await members[-1].do(rig.source, Verb.ENABLE_REPLICATION)
        for member in members:
            await member.release()
            member.epoch += 1
        yield members


async def test_killed_in_the_middle(three: list[Member]) -> None:
    """The same step of three VMs at once, then the kill of the agent that does them."""
    rig = three[0].rig
    for number, (side, verb, states) in enumerate(LIFE):
        site = rig.source if side == "source" else rig.target
        requests = {vm.id: vm.wish(verb) for vm in three}
        sent = [asyncio.create_task(_sent(site, request)) for request in requests.values()]
        await asyncio.wait(sent, timeout=MOMENTS[number % len(MOMENTS)])
        rig.kill(site)
        await asyncio.gather(*sent)
        rig.revive(site)
        await site.settle()
        for vm in three:
            await _comes_to_its_end(vm, site, requests[vm.id])
            await vm.reach(*states)


async def _sent(site: RigSite, request: OperationRequest) -> None:
    """Whether an answer comes or not."""
    try:
        await site.put(key_of(request), request)
    except (aiohttp.ClientError, Refused):
        return


async def _comes_to_its_end(vm: Member, site: RigSite, request: OperationRequest) -> None:
    answer = await _outcome(site, request)
    assert answer.state in ("Succeeded", "Interrupted"), answer
    if answer.state == "Succeeded":
        return
    again = await vm.run(site, request.verb, intent=request.intent, attempt=2)
    assert again.state == "Succeeded" or again.code == Code.STATE_CONFLICT, again


async def _outcome(site: RigSite, request: OperationRequest) -> OperationAnswer:
    """What became of it; begun now where the site never heard of it."""
    try:
        return await site.end(key_of(request))
    except Refused as unknown:
        if unknown.problem.code is not Code.NOT_FOUND:
            raise
        return await site.run(key_of(request), request)


async def test_a_command_that_hangs_is_taken_up_again(rig: Rig, vm: Member) -> None:
    """Certainly in the middle: it hangs when its agent is killed."""
    await vm.protect()
    site = rig.source
    rig.hang(site, vm.id)
    request = vm.wish(Verb.SUSPEND)
    assert (await site.put(key_of(request), request)).state == "Running"
    rig.kill(site)
    rig.revive(site)
    await site.settle()
    rig.let_go(site, vm.id)
    await _comes_to_its_end(vm, site, request)
    assert await site.state(vm.id) == "Suspended"


async def test_a_check_is_not_taken_up_again(vm: Member) -> None:
    """A look from before says nothing of now: its outcome is unknown, and it is asked anew."""
    site = vm.rig.target
    await vm.protect()
    await vm.do(site, Verb.START_TEST_FAILOVER)
    request = vm.wish(Verb.CHECK_TEST_VM, vm.check(type="TCP", port=9, timeout_seconds=300))
    assert (await site.put(key_of(request), request)).state == "Running"
    vm.rig.kill(site)
    vm.rig.revive(site)
    await site.settle()
    assert (await site.end(key_of(request))).state == "Interrupted"
    await vm.do(site, Verb.CHECK_TEST_VM)


async def test_what_a_site_told_is_told_again_after_a_kill(vm: Member) -> None:
    """The ledgers, the operations and their results, the relation with its points."""
    await vm.protect()
    for site in vm.rig.sites:
        request = vm.wish(Verb.RESET_STATISTICS, request=vm.request("resetStatistics"))
        answer = await site.run(key_of(request), request)
        ledger, relation = await site.ledger(vm.id), await vm.half(site)
        points, begun = (await site.detail(vm.id)).points, (await site.info()).operations_begun
        vm.rig.kill(site)
        vm.rig.revive(site)
        await site.settle()
        again = await site.put(key_of(request), request)
        assert (again.state, again.result) == (answer.state, answer.result)
        assert (await site.ledger(vm.id), (await site.info()).operations_begun) == (ledger, begun)
        after = await vm.half(site)
        assert (after.state, after.settings, after.epoch) == (relation.state, relation.settings, relation.epoch)
        assert {*points} <= {*(await site.detail(vm.id)).points}
