"""A command takes its VM: what else is refused meanwhile, and when the VM is free again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from secondsite.wire.operations import OperationAnswer, Verb
from secondsite.wire.problems import Code
from support.driver_rig_acts import refusal
from support.driver_rig_site import RigSite, codes, key_of, until
from support.driver_rig_vm import Member


async def _hanging(vm: Member, site: RigSite, **given: Any) -> str:
    """The key of a command that does not end by itself."""
    vm.rig.hang(site, vm.id)
    request = vm.wish(Verb.SUSPEND, **given)
    answer = await site.put(key_of(request), request)
    assert answer.state == "Running"
    return key_of(request)


async def _free(vm: Member, site: RigSite) -> str:
    """Wait until the VM takes commands again: the code of the first that is not `Busy`."""

    async def not_busy() -> str | None:
        code = await refusal(vm, site, Verb.RESET_STATISTICS)
        return None if code == Code.BUSY else code or "free"

    return await until(not_busy, vm.rig.patience, "a free VM")


async def test_one_command_at_a_time(vm: Member) -> None:
    await vm.protect()
    for site in vm.rig.sites:
        key = await _hanging(vm, site)
        assert await refusal(vm, site, Verb.RESUME) == Code.BUSY
        # The other site, another VM, a look at the site: none of these is in its way.
        await vm.do(vm.rig.peer(site), Verb.RESET_STATISTICS)
        await vm.do(site, Verb.REFRESH_INVENTORY, epoch=0)
        assert (await site.get(key)).state == "Running"
        vm.rig.let_go(site, vm.id)
        assert (await site.end(key)).state == "Succeeded"
        assert await _free(vm, site) == "free"
        await vm.do(site, Verb.RESUME)


@pytest.mark.parametrize("how", ["is abandoned", "runs out of time"])
async def test_a_command_that_hangs_is_given_up(vm: Member, how: str) -> None:
    """Nobody knows how far it came; the VM is free as soon as its work has ended."""
    await vm.protect()
    site = vm.rig.source
    key = await _hanging(vm, site, deadline_seconds=1 if how == "runs out of time" else 600)
    if how == "is abandoned":
        await site.abandon(key)
    answer: OperationAnswer = await site.end(key)
    assert (answer.state, answer.code) == ("Abandoned", "")
    assert answer.message
    assert (await site.abandon(key)).state == "Abandoned"
    vm.rig.let_go(site, vm.id)
    assert await _free(vm, site) == "free"
    if await site.state(vm.id) == "Suspended":
        await vm.do(site, Verb.RESUME)


async def test_an_enable_whose_peer_keeps_silent(vm: Member) -> None:
    site = vm.rig.source
    await vm.prepare()
    async with vm.rig.silent_endpoint() as silent:
        told = vm.usual(Verb.ENABLE_REPLICATION).model_copy(update={"endpoint": silent})
        request = vm.wish(Verb.ENABLE_REPLICATION, told)
        key = key_of(request)
        assert (await site.put(key, request)).state == "Running"
        assert await refusal(vm, site, Verb.RESET_STATISTICS) == Code.BUSY
        assert (await site.abandon(key)).state == "Abandoned"
        assert await site.state(vm.id) == "Disabled"
    # Its work may go on until the peer is gone; from then on the VM takes the next command.
    assert await _free(vm, site) == Code.STATE_CONFLICT
    await vm.do(site, Verb.ENABLE_REPLICATION)


async def test_the_same_command_from_many_at_once_begins_once(vm: Member) -> None:
    await vm.protect()
    site, begun = vm.rig.source, (await vm.rig.source.info()).operations_begun
    request = vm.wish(Verb.SUSPEND)
    await asyncio.gather(*(site.put(key_of(request), request) for _ in range(8)))
    assert (await site.end(key_of(request))).state == "Succeeded"
    assert (await site.info()).operations_begun == begun + 1
    assert await codes([site.put("suite-stale", vm.wish(Verb.RESUME, epoch=0))]) == [Code.STALE_EPOCH]
    await vm.do(site, Verb.RESUME)
