"""A test failover: a VM of its own beside a replica that goes on, checked, and gone without a trace."""

from __future__ import annotations

import pytest

from secondsite.wire.arguments import AdapterPlan, StartTestFailover, StopTestFailover
from secondsite.wire.facts import Point
from secondsite.wire.inventory import VM, TestNetwork
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Code
from support.driver_rig_acts import act, look, progress, refusal
from support.driver_rig_site import codes, key_of
from support.driver_rig_vm import QUICK, Member


async def test_rehearse(vm: Member) -> None:
    source, target = vm.rig.sites
    await vm.protect()
    before = await vm.half(source)
    network = await vm.make_test_network()
    plan = AdapterPlan(adapter=vm.adapter, addresses=("10.9.0.7",))
    told = StartTestFailover(owner=vm.test, network=network, adapters=(plan,))
    made = await act(vm, target, Verb.START_TEST_FAILOVER, "Replicating", told=told)
    await _stands_as_told(vm, network, made.result)
    passed = await act(vm, target, Verb.CHECK_TEST_VM, "Replicating")
    assert passed.result["message"]
    await act(vm, target, Verb.STOP_TEST_FAILOVER, "Replicating")
    relation = await vm.half(target)
    assert relation.test_vm is None
    assert relation.last_test_time is not None
    after = await vm.half(source)
    assert (after.state, after.epoch, after.changes) == (before.state, before.epoch, before.changes)
    await target.drop(vm.test_network)
    assert vm.test not in await target.facts(TestNetwork)


async def _stands_as_told(vm: Member, network: str, result: dict[str, str]) -> None:
    target = vm.rig.target
    test = (await vm.half(target)).test_vm
    assert test is not None
    assert (test.owner, test.state, test.network) == (vm.test, "Running", network)
    assert test.recovery_point is not None
    assert (result["testVMID"], result["recoveryPoint"]) == (test.id, test.recovery_point.id)
    fact = (await target.facts(VM))[test.id]
    assert (fact.role, fact.name, fact.state) == ("Test", test.name, "Running")
    adapter = fact.adapters[0]
    assert (adapter.mac_address, adapter.network, adapter.addresses) == (vm.adapter, network, ("10.9.0.7",))
    assert (await target.facts(TestNetwork))[vm.test].vms == (test.id,)
    replica = await target.vm(vm.id)
    assert replica is not None
    assert (replica.state, replica.adapters[0].network) == ("Off", "")


async def test_replication_goes_on_beside_a_test(vm: Member) -> None:
    vm.settings = QUICK
    await vm.protect()
    await vm.do(vm.rig.target, Verb.START_TEST_FAILOVER)
    first = await newest(vm)
    while (await newest(vm)).source_time <= first.source_time:
        await vm.rig.target.changes((await vm.rig.target.changes()).cursor, 1)
    assert await vm.states() == ("Replicating", "Replicating")
    test = (await vm.half(vm.rig.target)).test_vm
    assert test is not None
    assert test.recovery_point is not None
    assert test.recovery_point.source_time <= (await newest(vm)).source_time


async def newest(vm: Member) -> Point:
    point = (await vm.half(vm.rig.target)).newest_point
    assert point is not None
    return point


async def test_one_test_at_a_time_and_each_its_own(vm: Member) -> None:
    await vm.protect()
    target, other = vm.rig.target, "suite/another/test"
    assert await refusal(vm, target, Verb.CHECK_TEST_VM) == Code.STATE_CONFLICT
    await vm.do(target, Verb.START_TEST_FAILOVER)
    before = await look(vm)
    another = StartTestFailover(owner=other)
    assert await refusal(vm, target, Verb.START_TEST_FAILOVER, another) == Code.STATE_CONFLICT
    assert await refusal(vm, target, Verb.STOP_TEST_FAILOVER, StopTestFailover(owner=other)) == Code.IN_USE
    assert await refusal(vm, target, Verb.CHECK_TEST_VM, vm.check(owner=other)) == Code.STATE_CONFLICT
    assert await refusal(vm, target, Verb.DISABLE_REPLICATION) == Code.STATE_CONFLICT
    assert await look(vm) == before


async def test_only_a_point_that_there_is_can_be_tested(vm: Member) -> None:
    await vm.protect()
    target, point = vm.rig.target, await newest(vm)
    for wish in ({"recovery_point": "Named", "name": "nobody"}, {"recovery_point": "LatestAppConsistent"}):
        told = StartTestFailover.model_validate({"owner": vm.test, **wish})
        assert await refusal(vm, target, Verb.START_TEST_FAILOVER, told) == Code.NOT_FOUND
    assert (await vm.half(target)).test_vm is None
    named = StartTestFailover(owner=vm.test, recovery_point="Named", name=point.id)
    assert (await vm.do(target, Verb.START_TEST_FAILOVER, named)).result["recoveryPoint"] == point.id


async def test_a_network_in_use_stays(vm: Member) -> None:
    await vm.protect()
    target, network = vm.rig.target, await vm.make_test_network()
    assert await vm.make_test_network() == network
    await vm.do(target, Verb.START_TEST_FAILOVER, StartTestFailover(owner=vm.test, network=network))
    assert await codes([target.drop(vm.test_network)]) == [Code.IN_USE]
    await vm.do(target, Verb.STOP_TEST_FAILOVER)
    await target.drop(vm.test_network)
    await target.drop(vm.test_network)
    gone = StartTestFailover(owner=vm.test, network=network)
    assert await refusal(vm, target, Verb.START_TEST_FAILOVER, gone) == Code.NOT_FOUND


@pytest.mark.parametrize("how", ["fails", "is abandoned", "runs out of time"])
async def test_a_check_that_does_not_pass(vm: Member, how: str) -> None:
    """It tells how it goes, and other commands go beside it."""
    target = vm.rig.target
    await vm.protect()
    await vm.do(target, Verb.START_TEST_FAILOVER)
    # Not connected, so no port answers.
    hopeless = vm.check(type="TCP", port=9, timeout_seconds=1 if how == "fails" else 300)
    deadline = 2 if how == "runs out of time" else 600
    request = vm.wish(Verb.CHECK_TEST_VM, hopeless, deadline_seconds=deadline)
    await target.put(key_of(request), request)
    assert (await progress(target, key_of(request), vm.rig.patience)).message
    await vm.do(target, Verb.RESET_STATISTICS)
    if how == "is abandoned":
        assert (await target.abandon(key_of(request))).state == "Abandoned"
    answer = await target.end(key_of(request))
    expected = {"fails": ("Failed", Code.CHECK_FAILED)}.get(how, ("Abandoned", ""))
    assert (answer.state, answer.code) == expected
    assert answer.message
    await vm.do(target, Verb.CHECK_TEST_VM)
