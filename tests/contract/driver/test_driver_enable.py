"""Enabling: a replica is prepared, a relation made and configured, its initial replication started or stopped."""

from __future__ import annotations

from secondsite.wire.operations import Verb
from secondsite.wire.problems import Code
from support.driver_rig_acts import act, refusal
from support.driver_rig_site import until
from support.driver_rig_vm import Member

BEFORE_COPY = ("InitialReplicationInProgress", "Replicating")


async def test_enable(vm: Member) -> None:
    source, target = vm.rig.sites
    prepared = await act(vm, target, Verb.PREPARE_REPLICA, "Disabled")
    assert prepared.result["host"]
    assert prepared.result["storage"] == target.place.storage
    assert await target.relation(vm.id) is None
    await vm.reserve()
    enabled = await act(vm, source, Verb.ENABLE_REPLICATION, "ReadyForInitialReplication")
    assert enabled.result["replicaHost"] == prepared.result["host"]
    assert await vm.states() == ("ReadyForInitialReplication", "WaitingForInitialReplication")
    await act(vm, target, Verb.CONFIGURE_REPLICA, "WaitingForInitialReplication")
    await act(vm, source, Verb.START_INITIAL_REPLICATION, *BEFORE_COPY)
    await vm.reach("Replicating", "Replicating")


async def test_what_both_sites_tell_of_an_enabled_vm(vm: Member) -> None:
    await vm.protect()
    source, target = await vm.half(vm.rig.source), await vm.half(vm.rig.target)
    assert (source.mode, source.peer_site) == ("Primary", vm.rig.target.place.site)
    assert (target.mode, target.peer_site) == ("Replica", vm.rig.source.place.site)
    assert source.settings == target.settings
    assert source.settings is not None
    assert source.settings.interval_seconds == vm.settings.interval_seconds
    assert source.disks == target.disks == (vm.fact.disks[0].slot,)
    assert (target.adapters[0].adapter, target.adapters[0].network) == (vm.adapter, vm.rig.target.place.network)
    assert target.storage == vm.rig.target.place.storage
    assert source.newest_point is None
    assert source.initial_sent_bytes == source.initial_total_bytes
    assert source.initial_total_bytes


async def test_a_replica_is_off_and_its_adapters_are_disconnected(vm: Member) -> None:
    await vm.protect()
    replica, original = await vm.rig.target.vm(vm.id), await vm.rig.source.vm(vm.id)
    assert replica is not None
    assert original is not None
    assert (replica.role, replica.state, replica.name) == ("Replica", "Off", vm.fact.name)
    assert replica.generation == original.generation
    assert [(item.mac_address, item.network) for item in replica.adapters] == [(vm.adapter, "")]
    assert (original.role, original.state) == ("Production", "Running")


async def test_stop_initial_replication(vm: Member) -> None:
    source, target = vm.rig.sites
    async with vm.rig.slowly():
        await vm.enable()
        await vm.do(source, Verb.START_INITIAL_REPLICATION)

        async def under_way() -> bool:
            relation = await vm.half(source)
            return 0 < (relation.initial_sent_bytes or 0) < (relation.initial_total_bytes or 0)

        await until(under_way, vm.rig.patience, "progress of initial replication")
        assert await vm.states() == ("InitialReplicationInProgress", "WaitingForInitialReplication")
        await act(vm, source, Verb.STOP_INITIAL_REPLICATION, "ReadyForInitialReplication")
        assert await target.state(vm.id) == "WaitingForInitialReplication"
    await vm.do(source, Verb.START_INITIAL_REPLICATION)
    await vm.reach("Replicating", "Replicating")


async def test_nothing_is_enabled_where_no_replica_is_prepared(vm: Member) -> None:
    assert await refusal(vm, vm.rig.source, Verb.ENABLE_REPLICATION) == Code.NOT_AUTHORIZED
    assert await vm.states() == ("Disabled", "Disabled")


async def test_a_replica_needs_an_association_and_another_site(vm: Member) -> None:
    unknown = vm.usual(Verb.PREPARE_REPLICA).model_copy(update={"association": "suite-none"})
    assert await refusal(vm, vm.rig.target, Verb.PREPARE_REPLICA, unknown) == Code.NOT_AUTHORIZED
    assert await refusal(vm, vm.rig.source, Verb.PREPARE_REPLICA) == Code.IN_USE


async def test_an_enable_of_an_epoch_that_was_released_is_refused(vm: Member) -> None:
    await vm.protect()
    await vm.release()
    for site, verb in ((vm.rig.target, Verb.PREPARE_REPLICA), (vm.rig.source, Verb.ENABLE_REPLICATION)):
        assert await refusal(vm, site, verb) == Code.STALE_EPOCH
    vm.epoch += 1
    await vm.protect()
