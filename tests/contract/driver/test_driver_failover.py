"""Failing over, planned and not; going back on it, or making it last; and the way home."""

from __future__ import annotations

import pytest

from secondsite.wire.arguments import ConfigureReplica, Failover, UpdateSettings
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Code
from support.driver_rig_acts import act, refusal
from support.driver_rig_site import RigSite, until
from support.driver_rig_stories import go_home
from support.driver_rig_vm import BACK, QUICK, Member, associate

PLANNED = Failover(planned=True)


@pytest.fixture
async def both_ways(vm: Member) -> Member:
    """Protected, and the source takes data too."""
    await associate(vm.rig, vm.rig.target, vm.rig.source, BACK)
    await vm.protect()
    return vm


async def power(vm: Member, site: RigSite) -> str:
    fact = await site.vm(vm.id)
    return fact.state if fact else ""


async def test_planned_there_and_back(both_ways: Member) -> None:
    vm = both_ways
    source, target = vm.rig.sites
    await _move(vm, source, target)
    assert await vm.states() == ("Replicating", "Replicating")
    modes = [(await vm.half(site)).mode for site in vm.rig.sites]
    assert modes == ["Replica", "Primary"]
    assert [await power(vm, site) for site in vm.rig.sites] == ["Off", "Running"]
    await go_home(vm)
    modes = [(await vm.half(site)).mode for site in vm.rig.sites]
    assert modes == ["Primary", "Replica"]
    assert [await power(vm, site) for site in vm.rig.sites] == ["Running", "Off"]


async def _move(vm: Member, here: RigSite, there: RigSite) -> None:
    """A planned failover with its reversal, every step with all that the contract promises of it."""
    assert await refusal(vm, here, Verb.PREPARE_FAILOVER) == Code.STATE_CONFLICT
    await act(vm, here, Verb.STOP_VM, "Replicating")
    assert await power(vm, here) == "Off"
    await act(vm, here, Verb.PREPARE_FAILOVER, "PreparedForFailover")
    assert await refusal(vm, here, Verb.START_VM) == Code.STATE_CONFLICT
    await act(vm, here, Verb.CANCEL_FAILOVER, "Replicating")
    await act(vm, here, Verb.START_VM, "Replicating")
    assert await power(vm, here) == "Running"
    await vm.do(here, Verb.STOP_VM)
    await vm.do(here, Verb.PREPARE_FAILOVER)
    newest = (await vm.half(there)).newest_point
    assert newest is not None
    assert newest.type == "Synced"
    await act(vm, there, Verb.FAILOVER, "FailedOverWaitingCompletion", told=PLANNED)
    assert (await vm.half(there)).failover_point == newest
    await act(vm, there, Verb.START_VM, "FailedOverWaitingCompletion")
    assert await power(vm, there) == "Running"
    await act(vm, there, Verb.REVERSE_REPLICATION, "Replicating")


async def test_a_planned_failover_needs_a_prepared_source(vm: Member) -> None:
    await vm.protect()
    assert await refusal(vm, vm.rig.target, Verb.FAILOVER, PLANNED) == Code.STATE_CONFLICT
    assert await vm.states() == ("Replicating", "Replicating")


async def test_unplanned_and_taken_back(vm: Member) -> None:
    vm.settings = QUICK
    await vm.protect()
    source, target = vm.rig.sites
    assert await refusal(vm, target, Verb.START_VM) == Code.STATE_CONFLICT
    await act(vm, target, Verb.FAILOVER, "FailedOverWaitingCompletion")
    relation = await vm.half(target)
    assert (relation.health, relation.health_reasons) == ("Warning", ("reverse-pending",))
    assert relation.failover_point is not None
    await vm.do(target, Verb.START_VM)
    await vm.reach("Error", "FailedOverWaitingCompletion")
    await act(vm, target, Verb.STOP_VM, "FailedOverWaitingCompletion")
    await act(vm, target, Verb.CANCEL_FAILOVER, "Replicating")
    assert await power(vm, target) == "Off"
    await vm.do(source, Verb.RESUME)
    cycles = (await vm.half(target)).cycles

    async def goes_on() -> bool:
        return (await vm.half(target)).cycles > cycles

    await until(goes_on, vm.rig.patience, "the next cycle")
    assert await vm.states() == ("Replicating", "Replicating")


async def test_unplanned_and_for_good(both_ways: Member) -> None:
    vm = both_ways
    source, target = vm.rig.sites
    await vm.do(source, Verb.UPDATE_SETTINGS, UpdateSettings(settings=QUICK))
    await vm.do(target, Verb.FAILOVER)
    await vm.reach("Error", "FailedOverWaitingCompletion")
    await act(vm, target, Verb.COMMIT_FAILOVER, "FailedOver")
    assert await refusal(vm, target, Verb.CANCEL_FAILOVER) == Code.STATE_CONFLICT
    await vm.do(target, Verb.START_VM)
    assert await refusal(vm, source, Verb.DEMOTE_TO_REPLICA) == Code.STATE_CONFLICT
    await vm.do(source, Verb.STOP_VM)
    await act(vm, source, Verb.DEMOTE_TO_REPLICA, "WaitingForInitialReplication")
    await act(vm, target, Verb.REVERSE_REPLICATION, "ReadyForInitialReplication")
    assert await vm.states() == ("WaitingForInitialReplication", "ReadyForInitialReplication")
    await vm.do(source, Verb.CONFIGURE_REPLICA, ConfigureReplica(settings=vm.settings))
    await vm.do(target, Verb.START_INITIAL_REPLICATION)
    await vm.reach("Replicating", "Replicating")
    await go_home(vm)


@pytest.mark.parametrize("point", ["Named", "At"])
async def test_the_point_can_be_chosen(vm: Member, point: str) -> None:
    vm.settings = QUICK
    await vm.protect()
    target = vm.rig.target
    missing = Failover(recovery_point="Named", name="nobody")
    assert await refusal(vm, target, Verb.FAILOVER, missing) == Code.NOT_FOUND
    assert await vm.states() == ("Replicating", "Replicating")
    chosen = (await target.detail(vm.id)).points[0]
    named = Failover(recovery_point="Named", name=chosen.id)
    by_time = Failover(recovery_point="At", time=chosen.source_time)
    await vm.do(target, Verb.FAILOVER, named if point == "Named" else by_time)
    found = (await vm.half(target)).failover_point
    assert found is not None
    assert found.id == chosen.id
    await vm.do(target, Verb.CANCEL_FAILOVER)
