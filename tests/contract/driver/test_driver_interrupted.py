"""An agent that is killed in the middle of commands: each is taken up again or `Interrupted`, and never `Failed`.

Whatever it is, the next attempt ends where the first one was meant to end.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import aiohttp
import pytest

from secondsite.wire.operations import OperationAnswer, OperationRequest, Verb
from secondsite.wire.problems import Code
from support.driver_rig import Rig
from support.driver_rig_site import Refused, RigSite, key_of
from support.driver_rig_stories import STORIES, Step
from support.driver_rig_vm import BACK, Member, associate, borrowed

# Seconds from the sending of a command to the kill, one after the other.
MOMENTS = (0.0, 0.004, 0.012, 0.03)


async def test_killed_in_the_middle(rig: Rig) -> None:
    """Several VMs live their lives; again and again the agent that carries out their next steps is killed."""
    if not rig.default_profile:
        pytest.skip("the driver's default profile shows it")
    await associate(rig, rig.target, rig.source, BACK)
    async with AsyncExitStack() as stack:
        left = []
        for story in STORIES:
            vm = await stack.enter_async_context(borrowed(rig, story.settings))
            await story.begin(vm)
            if not await rig.source.relation(vm.id):
                # Taken, so that the next one is another.
                await vm.enable()
                await vm.release()
                vm.epoch += 1
            left.append((vm, list(story.steps)))
            stack.push_async_callback(story.end, vm)
        while left := [(vm, steps) for vm, steps in left if steps]:
            site = max(rig.sites, key=lambda one: sum(steps[0].site(vm) is one for vm, steps in left))
            due = [(vm, steps.pop(0)) for vm, steps in left if steps[0].site(vm) is site]
            await _killed_meanwhile(site, due, MOMENTS[len(left[0][1]) % len(MOMENTS)])


async def _killed_meanwhile(site: RigSite, due: list[tuple[Member, Step]], seconds: float) -> None:
    requests = [(vm, step, step.request(vm)) for vm, step in due]
    sent = [asyncio.create_task(_sent(site, request)) for _, _, request in requests]
    await asyncio.wait(sent, timeout=seconds)
    rig = due[0][0].rig
    rig.kill(site)
    await asyncio.gather(*sent)
    rig.revive(site)
    await site.settle()
    for vm, step, request in requests:
        await _comes_to_its_end(vm, site, request)
        await vm.reach(*step.states)


async def _sent(site: RigSite, request: OperationRequest) -> None:
    """Whether an answer comes or not."""
    try:
        await site.put(key_of(request), request)
    except (aiohttp.ClientError, Refused):
        return


async def _comes_to_its_end(vm: Member, site: RigSite, request: OperationRequest) -> None:
    answer = await _outcome(site, request)
    assert answer.state in ("Succeeded", "Interrupted"), (request.verb, answer.message)
    if answer.state == "Succeeded":
        return
    second = request.model_copy(update={"attempt": 2})
    again = await site.run(key_of(second), second)
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
