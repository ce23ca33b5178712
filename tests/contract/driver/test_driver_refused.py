"""In every state that a VM can stand in, a verb that the table does not list there is refused and changes nothing."""

from __future__ import annotations

from secondsite.wire.agent import Capability
from secondsite.wire.arguments import Failover
from secondsite.wire.operations import SITE_VERBS, Verb
from secondsite.wire.problems import Code
from support.driver_rig_acts import look, refusal
from support.driver_rig_site import RigSite
from support.driver_rig_table import ACCEPTED, Side
from support.driver_rig_vm import QUICK, Member


async def refuses_all_else(vm: Member) -> None:
    """Both halves as they stand now."""
    before = await look(vm)
    wrong = [found for site in vm.rig.sites for found in await _accepted_too_much(vm, site)]
    assert wrong == []
    assert await look(vm) == before


async def _accepted_too_much(vm: Member, site: RigSite) -> list[tuple[str, str, str, str]]:
    relation = await site.relation(vm.id)
    side: Side = "None"
    if relation is not None:
        side = "Primary" if relation.mode == "Primary" else "Replica"
    state = relation.state if relation else "Disabled"
    capabilities = (await site.info()).capabilities
    found: list[tuple[str, str, str, str]] = []
    for verb in Verb:
        if verb in SITE_VERBS or ACCEPTED[verb].allows(side, state):
            continue
        expected = {Code.STATE_CONFLICT}
        if verb is Verb.SYNCHRONIZE and Capability.SYNCHRONIZE not in capabilities:
            expected = {Code.UNSUPPORTED}
        if verb is Verb.ENABLE_REPLICATION and side == "Replica":
            # A replica of a replica: what kind of VM it is may be said before the state that it is in.
            expected |= {Code.UNSUPPORTED}
        code = await refusal(vm, site, verb)
        if code not in expected:
            found.append((verb.value, side, state, code))
    return found


async def test_where_nothing_is_replicated(vm: Member) -> None:
    await refuses_all_else(vm)
    await vm.prepare()
    await refuses_all_else(vm)


async def test_before_initial_replication(vm: Member) -> None:
    await vm.enable()
    assert await vm.states() == ("ReadyForInitialReplication", "WaitingForInitialReplication")
    await refuses_all_else(vm)


async def test_during_initial_replication(vm: Member) -> None:
    await vm.enable()
    async with vm.rig.slowly():
        await vm.do(vm.rig.source, Verb.START_INITIAL_REPLICATION)
        await refuses_all_else(vm)
        assert await vm.states() == ("InitialReplicationInProgress", "WaitingForInitialReplication")
        await vm.do(vm.rig.source, Verb.STOP_INITIAL_REPLICATION)


async def test_while_it_replicates(vm: Member) -> None:
    await vm.protect()
    await refuses_all_else(vm)


async def test_while_it_is_suspended(vm: Member) -> None:
    await vm.protect()
    for site in vm.rig.sites:
        await vm.do(site, Verb.SUSPEND)
    assert await vm.states() == ("Suspended", "Suspended")
    await refuses_all_else(vm)


async def test_in_error(vm: Member) -> None:
    vm.settings = QUICK
    await vm.protect()
    await vm.do(vm.rig.target, Verb.SUSPEND)
    await vm.reach("Error", "Suspended")
    await refuses_all_else(vm)


async def test_with_a_half_at_one_side_only(vm: Member) -> None:
    await vm.protect()
    await vm.do(vm.rig.source, Verb.DISABLE_REPLICATION)
    await refuses_all_else(vm)


async def test_where_changes_are_not_known_any_more(vm: Member) -> None:
    vm.settings = vm.settings.model_copy(update={"auto_resynchronize": False})
    await vm.protect()
    vm.rig.lose_tracking(vm.id)
    await vm.reach("WaitingForStartResynchronize", "Replicating")
    await refuses_all_else(vm)


async def test_prepared_for_a_failover_and_failed_over(vm: Member) -> None:
    await vm.protect()
    source, target = vm.rig.sites
    await vm.do(source, Verb.STOP_VM)
    await vm.do(source, Verb.PREPARE_FAILOVER)
    assert await vm.states() == ("PreparedForFailover", "Replicating")
    await refuses_all_else(vm)
    await vm.do(target, Verb.FAILOVER, Failover(planned=True))
    assert await vm.states() == ("PreparedForFailover", "FailedOverWaitingCompletion")
    await refuses_all_else(vm)
    await vm.do(target, Verb.CANCEL_FAILOVER)
    await vm.do(source, Verb.CANCEL_FAILOVER)
    await vm.do(source, Verb.START_VM)


async def test_while_it_waits_for_its_media(vm: Member) -> None:
    await vm.enable()
    await vm.do(vm.rig.source, Verb.EXPORT_INITIAL_REPLICATION)
    await vm.reach("WaitingForInitialReplication", "WaitingForInitialReplication")
    await refuses_all_else(vm)


async def test_while_it_is_resynchronized(vm: Member) -> None:
    await vm.protect()
    source = vm.rig.source
    await vm.do(source, Verb.SUSPEND)
    vm.rig.cut()
    try:
        await vm.do(source, Verb.RESYNCHRONIZE)
        await refuses_all_else(vm)
        await vm.do(source, Verb.SUSPEND)
        assert await vm.states() == ("ResynchronizeSuspended", "Replicating")
        await refuses_all_else(vm)
    finally:
        vm.rig.mend()
