"""A relation that runs: suspended and resumed at either side, set anew, counted, and released."""

from __future__ import annotations

from secondsite.wire.agent import Capability
from secondsite.wire.arguments import UpdateSettings
from secondsite.wire.inventory import Site
from secondsite.wire.operations import Request, Verb
from secondsite.wire.problems import Code
from support.driver_rig import Rig
from support.driver_rig_acts import act, refusal
from support.driver_rig_site import FENCE, key_of, until, wish
from support.driver_rig_vm import CALM, QUICK, Member, borrowed


async def test_suspend_and_resume(vm: Member) -> None:
    source, target = vm.rig.sites
    await vm.protect()
    await act(vm, source, Verb.SUSPEND, "Suspended")
    assert await target.state(vm.id) == "Replicating"
    relation = await vm.half(source)
    assert (relation.health, relation.health_reasons) == ("Warning", ("paused",))
    await act(vm, source, Verb.RESUME, "Replicating")
    await act(vm, target, Verb.SUSPEND, "Suspended")
    await act(vm, target, Verb.RESUME, "Replicating")


async def test_a_suspended_replica_stops_its_primary(vm: Member) -> None:
    source, target = vm.rig.sites
    vm.settings = QUICK
    await vm.protect()
    await vm.do(target, Verb.SUSPEND)
    await vm.reach("Error", "Suspended")
    relation = await vm.half(source)
    assert relation.health == "Critical"
    assert "error-fix-and-resume" in relation.health_reasons
    await vm.do(target, Verb.RESUME)
    assert await vm.states() == ("Error", "Replicating")
    await act(vm, source, Verb.RESUME, "Replicating")


async def test_update_settings(vm: Member) -> None:
    await vm.protect()
    wanted = CALM.model_copy(update={"interval_seconds": 300, "compression": False, "rpo_target_seconds": 600})
    for site in vm.rig.sites:
        await act(vm, site, Verb.UPDATE_SETTINGS, "Replicating", told=UpdateSettings(settings=wanted))
        settings = (await vm.half(site)).settings
        assert settings is not None
        assert (settings.interval_seconds, settings.compression) == (300, False)


async def test_the_replicated_disks_can_change(vm: Member) -> None:
    await vm.protect()
    source, target = vm.rig.sites
    both = [disk.slot for disk in vm.fact.disks]
    slots = [
        {"controller_type": s.controller_type, "controller_number": s.controller_number, "controller_location": n}
        for n, s in enumerate(both)
    ]
    told = UpdateSettings.model_validate({"settings": vm.settings, "disks": slots})
    await act(vm, source, Verb.UPDATE_SETTINGS, "Replicating", "WaitingForUpdateCompletion", told=told)

    async def taken() -> bool:
        return {*(await vm.half(source)).disks} == {*(await vm.half(target)).disks} == {*both}

    await until(taken, vm.rig.patience, "the second disk at both sites")
    await vm.reach("Replicating", "Replicating")


async def test_reset_statistics(vm: Member) -> None:
    vm.settings = QUICK
    await vm.protect()
    for site in vm.rig.sites:

        async def counted() -> bool:
            counters = (await site.detail(vm.id)).counters  # noqa: B023 - awaited within its turn of the loop
            return counters is not None and counters.successful > 0

        await until(counted, vm.rig.patience, f"a counted cycle at {site.place.site}")
        await vm.do(site, Verb.UPDATE_SETTINGS, UpdateSettings(settings=CALM))
    for site in vm.rig.sites:
        await act(vm, site, Verb.RESET_STATISTICS, "Replicating")
        counters = (await site.detail(vm.id)).counters
        assert counters is not None
        assert (counters.successful, counters.missed, counters.total_bytes) == (0, 0, 0)
        assert counters.average_latency_seconds is None
        assert counters.start < counters.end


async def test_synchronize_is_a_capability(vm: Member) -> None:
    await vm.protect()
    cycles = (await vm.half(vm.rig.target)).cycles
    if Capability.SYNCHRONIZE not in (await vm.rig.source.info()).capabilities:
        assert await refusal(vm, vm.rig.source, Verb.SYNCHRONIZE) == Code.UNSUPPORTED
        assert (await vm.half(vm.rig.target)).cycles == cycles
        return
    await act(vm, vm.rig.source, Verb.SYNCHRONIZE, "Replicating")

    async def more() -> bool:
        return (await vm.half(vm.rig.target)).cycles > cycles

    await until(more, vm.rig.patience, "a cycle at once")


async def test_refresh_inventory(rig: Rig) -> None:
    for site in rig.sites:
        told = wish(Verb.REFRESH_INVENTORY, "", request=Request(name="refreshInventory", token=f"t-{id(site)}"))
        answer = await site.run(key_of(told), told)
        assert answer.state == "Succeeded"
        again = await site.put(key_of(told), told)
        assert (again.state, again.result) == ("Succeeded", answer.result)
        fact = (await site.facts(Site))["site"]
        assert told.request is not None
        assert (told.request.name, told.request.token) in fact.served_requests
        assert {cloud.name for cloud in fact.clouds} >= {site.place.cloud}
    assert told.fence == FENCE


async def test_disable_and_remove(vm: Member) -> None:
    source, target = vm.rig.sites
    await vm.protect()
    await act(vm, source, Verb.DISABLE_REPLICATION, "Disabled")
    assert await vm.states() == ("Disabled", "Replicating")
    await act(vm, target, Verb.DISABLE_REPLICATION, "Disabled")
    kept = await target.vm(vm.id)
    assert kept is not None
    assert (kept.role, kept.state) == ("Replica", "Off")
    for site in vm.rig.sites:
        assert (await site.ledger(vm.id)).released_epoch == vm.epoch
    await act(vm, target, Verb.REMOVE_REPLICA, "Disabled")
    assert await target.vm(vm.id) is None
    original = await source.vm(vm.id)
    assert original is not None
    assert (original.role, original.state) == ("Production", "Running")


async def test_a_half_that_is_left_alone_finds_out(vm: Member) -> None:
    vm.settings = QUICK
    await vm.protect()
    await vm.do(vm.rig.target, Verb.DISABLE_REPLICATION)
    await vm.reach("Error", "Disabled")


async def test_a_link_that_is_cut_stops_nothing_for_good(vm: Member) -> None:
    """Replication is tried again until it gets through; what needs the peer says that it cannot be reached."""
    source, target = vm.rig.sites
    vm.settings = QUICK
    await vm.protect()
    async with borrowed(vm.rig) as other:
        await other.prepare()
        vm.rig.cut()
        try:
            assert await refusal(other, source, Verb.ENABLE_REPLICATION) == Code.PEER_UNREACHABLE
            assert await other.states() == ("Disabled", "Disabled")

            async def told() -> bool:
                return "cannot-deliver" in (await vm.half(source)).health_reasons

            await until(told, vm.rig.patience, "word of what cannot be delivered")
            assert await vm.states() == ("Replicating", "Replicating")
            assert (await vm.half(source)).health == "Critical"
        finally:
            vm.rig.mend()
        cycles = (await vm.half(target)).cycles

        async def goes_on() -> bool:
            healed = "cannot-deliver" not in (await vm.half(source)).health_reasons
            return healed and (await vm.half(target)).cycles > cycles

        await until(goes_on, vm.rig.patience, "the next cycle")
        await other.do(source, Verb.ENABLE_REPLICATION)
