"""Initial replication by media that a person carries: exported at the source, imported at the target."""

from __future__ import annotations

from datetime import timedelta

from secondsite.wire.arguments import Media, StartInitialReplication
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Code
from support.driver_rig_acts import act, refusal
from support.driver_rig_site import until
from support.driver_rig_vm import QUICK, Member

WAITING = "WaitingForInitialReplication"


async def test_media(vm: Member) -> None:
    source, target = vm.rig.sites
    vm.settings = QUICK
    await vm.enable()
    await act(vm, source, Verb.EXPORT_INITIAL_REPLICATION, "InitialReplicationInProgress", WAITING)
    await vm.reach(WAITING, WAITING)
    await act(vm, target, Verb.IMPORT_INITIAL_REPLICATION, "Replicating")
    # The source finds out with its next contact.
    await vm.reach("Replicating", "Replicating")
    relation = await vm.half(target)
    assert relation.newest_point is not None


async def test_media_that_are_not_there_or_not_its_own_are_refused(vm: Member) -> None:
    source, target = vm.rig.sites
    vm.settings = QUICK
    await vm.enable()
    empty = Media(path=vm.rig.media(f"{vm.id}-empty"))
    code = await refusal(vm, target, Verb.IMPORT_INITIAL_REPLICATION, empty)
    assert code not in ("", Code.INTERNAL)
    assert await vm.states() == ("ReadyForInitialReplication", WAITING)
    await vm.do(source, Verb.EXPORT_INITIAL_REPLICATION)
    await vm.reach(WAITING, WAITING)
    await vm.do(target, Verb.IMPORT_INITIAL_REPLICATION)
    await vm.reach("Replicating", "Replicating")


async def test_initial_replication_at_a_time(vm: Member) -> None:
    source = vm.rig.source
    await vm.enable()
    now = (await source.info()).time
    for wrong in (now - timedelta(hours=1), now + timedelta(days=8)):
        told = StartInitialReplication(start_time=wrong)
        code = await refusal(vm, source, Verb.START_INITIAL_REPLICATION, told)
        assert code in (Code.STATE_CONFLICT, Code.INVALID_REQUEST)
    later = StartInitialReplication(start_time=now + timedelta(days=6))
    await act(vm, source, Verb.START_INITIAL_REPLICATION, "ReadyForInitialReplication", told=later)
    assert (await vm.half(source)).initial_start_time == later.start_time
    await vm.do(source, Verb.STOP_INITIAL_REPLICATION)
    assert (await vm.half(source)).initial_start_time is None
    soon = StartInitialReplication(start_time=(await source.info()).time + timedelta(seconds=1))
    await vm.do(source, Verb.START_INITIAL_REPLICATION, soon)

    async def begun() -> bool:
        return await source.state(vm.id) != "ReadyForInitialReplication"

    await until(begun, vm.rig.patience, "the start at its time")
    await vm.reach("Replicating", "Replicating")
