"""Resynchronization: asked for, watched, suspended, stopped, finished; what it does to the recovery points."""

from __future__ import annotations

import pytest

from secondsite.wire.agent import Capability
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Code
from support.driver_rig_acts import act, refusal
from support.driver_rig_site import until
from support.driver_rig_vm import CALM, Member

BY_HAND = CALM.model_copy(update={"auto_resynchronize": False})
WANTED = "WaitingForStartResynchronize"


@pytest.fixture
async def lost(vm: Member) -> Member:
    """A VM of which nobody knows what has changed."""
    vm.settings = BY_HAND
    await vm.protect()
    vm.rig.lose_tracking(vm.id)
    await vm.reach(WANTED, "Replicating")
    return vm


async def test_resynchronize(lost: Member) -> None:
    source, target = lost.rig.sites
    relation = await lost.half(source)
    assert (relation.health, relation.health_reasons) == ("Critical", ("resync-required",))
    before = {point.id for point in (await target.detail(lost.id)).points}
    assert before
    await act(lost, source, Verb.RESYNCHRONIZE, "Resynchronizing", "Replicating")
    await lost.reach("Replicating", "Replicating")
    keeps = Capability.RESYNC_KEEPS_RECOVERY_POINTS in (await source.info()).capabilities

    async def settled() -> bool:
        after = {point.id for point in (await target.detail(lost.id)).points}
        return bool(after - before) and (before <= after if keeps else not before & after)

    await until(settled, lost.rig.patience, "the points after a resynchronization")


async def test_a_resynchronization_can_be_suspended_resumed_and_stopped(lost: Member) -> None:
    """While nothing gets through, so that it does not end before."""
    source = lost.rig.source
    lost.rig.cut()
    try:
        await act(lost, source, Verb.RESYNCHRONIZE, "Resynchronizing")
        await act(lost, source, Verb.SUSPEND, "ResynchronizeSuspended")
        await act(lost, source, Verb.RESUME, "Resynchronizing")
        await act(lost, source, Verb.STOP_RESYNCHRONIZE, WANTED)
    finally:
        lost.rig.mend()
    await lost.reach(WANTED, "Replicating")
    await lost.do(source, Verb.RESYNCHRONIZE)
    await lost.reach("Replicating", "Replicating")


async def test_a_suspended_vm_can_be_resynchronized(vm: Member) -> None:
    vm.settings = BY_HAND
    await vm.protect()
    await vm.do(vm.rig.source, Verb.SUSPEND)
    await act(vm, vm.rig.source, Verb.RESYNCHRONIZE, "Resynchronizing", "Replicating")
    await vm.reach("Replicating", "Replicating")


async def test_nothing_is_tested_from_what_is_being_resynchronized(lost: Member) -> None:
    source, target = lost.rig.sites
    async with lost.rig.slowly():
        await lost.do(source, Verb.RESYNCHRONIZE)

        async def known() -> bool:
            return await target.state(lost.id) != "Replicating" or await source.state(lost.id) == "Replicating"

        await until(known, lost.rig.patience, "the target's knowledge of it")
        if await target.state(lost.id) == "Resynchronizing":
            assert await refusal(lost, target, Verb.START_TEST_FAILOVER) == Code.STATE_CONFLICT
    await lost.reach("Replicating", "Replicating")
