"""The goals of the contract, stopped after each of their steps: taken up again, or released; nothing is left behind.

Every VM here is given back at the end of its test, which asserts that neither site shows anything of it any more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from secondsite.wire.arguments import StartTestFailover
from secondsite.wire.inventory import Association, Pool, TestNetwork
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Code
from secondsite.wire.resources import AssociationWish
from support.driver_rig import Rig
from support.driver_rig_site import Refused, codes
from support.driver_rig_vm import THERE, Member, associate, association

Step = Callable[[Member], Awaitable[object]]


async def _prepare(vm: Member) -> object:
    return await vm.do(vm.rig.target, Verb.PREPARE_REPLICA)


async def _reserve(vm: Member) -> object:
    return await vm.reserve()


async def _enable(vm: Member) -> object:
    return await vm.do(vm.rig.source, Verb.ENABLE_REPLICATION)


async def _configure(vm: Member) -> object:
    return await vm.do(vm.rig.target, Verb.CONFIGURE_REPLICA)


async def _start(vm: Member) -> object:
    return await vm.do(vm.rig.source, Verb.START_INITIAL_REPLICATION)


ENABLE: tuple[Step, ...] = (_prepare, _reserve, _enable, _configure, _start)


async def _stop_test(vm: Member) -> object:
    return await vm.do(vm.rig.target, Verb.STOP_TEST_FAILOVER)


async def _disable_source(vm: Member) -> object:
    return await vm.do(vm.rig.source, Verb.DISABLE_REPLICATION)


async def _disable_target(vm: Member) -> object:
    return await vm.do(vm.rig.target, Verb.DISABLE_REPLICATION)


async def _release(vm: Member) -> object:
    await vm.rig.target.drop(f"/v1/reservations/{vm.id}/{vm.adapter}")
    return None


async def _remove(vm: Member) -> object:
    return await vm.do(vm.rig.target, Verb.REMOVE_REPLICA)


DISABLE: tuple[Step, ...] = (_stop_test, _disable_source, _disable_target, _release, _remove)


@pytest.mark.parametrize("done", range(len(ENABLE) + 1))
async def test_enable_half_done_is_released(vm: Member, done: int) -> None:
    for step in ENABLE[:done]:
        await step(vm)
    await vm.release()
    assert await vm.left_behind() == []
    assert await vm.states() == ("Disabled", "Disabled")


@pytest.mark.parametrize("done", range(1, len(ENABLE) + 1))
async def test_enable_half_done_is_taken_up_again(vm: Member, done: int) -> None:
    """From the first step on, by who has lost its memory: under the same epoch, conflicts are steps already done."""
    for step in ENABLE[:done]:
        await step(vm)
    addresses = await vm.reserve()
    for step in ENABLE:
        if await vm.rig.target.state(vm.id) != "Disabled" and step is _prepare:
            continue
        if await vm.rig.source.state(vm.id) != "Disabled" and step is _enable:
            continue
        if await vm.rig.source.state(vm.id) != "ReadyForInitialReplication" and step is _start:
            continue
        await step(vm)
    await vm.reach("Replicating", "Replicating")
    assert await vm.reserve() == addresses


async def test_an_enable_that_the_source_does_not_know_of_is_repeated(vm: Member) -> None:
    """The target has a half, the source was told nothing or lost it: the same two steps again."""
    await vm.enable()
    await vm.do(vm.rig.source, Verb.DISABLE_REPLICATION)
    assert await vm.states() == ("Disabled", "WaitingForInitialReplication")
    vm.epoch += 1
    await vm.do(vm.rig.source, Verb.ENABLE_REPLICATION)
    await vm.do(vm.rig.target, Verb.CONFIGURE_REPLICA)
    await vm.do(vm.rig.source, Verb.START_INITIAL_REPLICATION)
    await vm.reach("Replicating", "Replicating")


@pytest.mark.parametrize("done", range(len(DISABLE)))
async def test_disable_half_done_goes_on(vm: Member, done: int) -> None:
    await vm.protect()
    await vm.do(vm.rig.target, Verb.START_TEST_FAILOVER)
    for step in DISABLE[: done + 1]:
        await step(vm)
    # By who has lost its memory: every step again.
    for step in DISABLE:
        await step(vm)
    assert await vm.left_behind() == []


async def test_a_replica_that_is_kept_stays_and_a_new_one_does_not_overwrite_it(vm: Member) -> None:
    await vm.protect()
    for step in (_disable_source, _disable_target):
        await step(vm)
    kept = await vm.rig.target.vm(vm.id)
    assert kept is not None
    assert kept.role == "Replica"
    vm.epoch += 1
    await vm.protect()


@pytest.mark.parametrize("first", ["source", "target"])
async def test_suspended_at_both_sides_is_resumed_side_by_side(vm: Member, first: str) -> None:
    await vm.protect()
    source, target = vm.rig.sites
    for site in (source, target) if first == "source" else (target, source):
        await vm.do(site, Verb.SUSPEND)
    assert await vm.states() == ("Suspended", "Suspended")
    # The other way round, the source's next cycle would be refused.
    for site in (target, source):
        await vm.do(site, Verb.RESUME)
    assert await vm.states() == ("Replicating", "Replicating")


@pytest.mark.parametrize("done", range(4))
async def test_a_test_half_done_is_cleaned_up(vm: Member, done: int) -> None:
    await vm.protect()
    target, name = vm.rig.target, f"isolated-{vm.fact.name}"
    steps: list[Callable[[], Awaitable[object]]] = [
        vm.make_test_network,
        lambda: vm.do(target, Verb.START_TEST_FAILOVER, StartTestFailover(owner=vm.test, network=name)),
        lambda: vm.do(target, Verb.CHECK_TEST_VM),
        lambda: vm.do(target, Verb.STOP_TEST_FAILOVER),
    ]
    for step in steps[: done + 1]:
        await step()
    # Its owner mark is all that a clean-up needs to know.
    await vm.do(target, Verb.STOP_TEST_FAILOVER)
    await target.drop(vm.test_network)
    assert vm.test not in await target.facts(TestNetwork)
    assert (await vm.half(target)).test_vm is None
    assert await vm.states() == ("Replicating", "Replicating")


async def test_associate_is_harmless_half_done_and_when_repeated(rig: Rig) -> None:
    target, id_ = rig.target, "suite-half"
    hurry = (await target.info()).hurry
    wish = association("Target", target, rig.source, rig.port, hurry)
    first = await target.set(f"/v1/associations/{id_}", wish)
    assert (await target.set(f"/v1/associations/{id_}", wish))["dataEndpoint"] == first["dataEndpoint"]
    assert id_ not in await rig.source.facts(Association)
    await associate(rig, rig.source, target, id_)
    for site in rig.sites:
        assert (await site.facts(Association))[id_].peer_site == rig.peer(site).place.site
        for _ in range(2):
            await site.drop(f"/v1/associations/{id_}")
        assert id_ not in await site.facts(Association)


async def test_an_association_that_cannot_be_is_refused(rig: Rig) -> None:
    hurry = (await rig.target.info()).hurry
    sound = association("Target", rig.target, rig.source, rig.port, hurry)

    async def put(**changes: object) -> object:
        wish = AssociationWish.model_validate(sound.model_dump() | changes)
        return await rig.target.set("/v1/associations/suite-wrong", wish)

    assert await codes([put(cloud="Nowhere"), put(hurry=hurry + 1)]) == [Code.NOT_FOUND, Code.INVALID_REQUEST]
    assert "suite-wrong" not in await rig.target.facts(Association)


async def test_an_association_in_use_stays(vm: Member) -> None:
    await vm.protect()
    found = [await codes([site.drop(f"/v1/associations/{THERE}")]) for site in vm.rig.sites]
    assert found == [[Code.IN_USE], [Code.IN_USE]]


async def test_addresses_are_the_same_until_they_are_released(vm: Member) -> None:
    target = vm.rig.target
    path = f"/v1/reservations/{vm.id}/{vm.adapter}"
    first = await vm.reserve()
    assert len(first) == 1
    assert await vm.reserve() == first
    held = {entry for pool in (await target.facts(Pool)).values() for entry in pool.reserved}
    assert (vm.id, vm.adapter, first[0]) in held
    taken = vm.reservation(addresses=tuple(first))
    other = f"/v1/reservations/{vm.id}/00:15:5D:FF:FF:FF"
    assert await codes([target.set(other, taken)]) == [Code.IN_USE]
    for _ in range(2):
        await target.drop(path)
    assert await vm.left_behind() == []
    with pytest.raises(Refused) as refused:
        await target.set(path, vm.reservation(network="Nowhere"))
    assert refused.value.problem.code == Code.NOT_FOUND
