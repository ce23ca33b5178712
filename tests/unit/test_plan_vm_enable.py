"""Enabling: from a manifest to Protected, each step from facts only, and taken up again wherever it stopped."""

from dataclasses import replace
from datetime import timedelta

import pytest

from secondsite.plan.actions import AddFinalizer, Command, Limit, Plan, Reserve
from secondsite.plan.observed import VMWorld
from secondsite.plan.protectedvm.decide import plan
from secondsite.plan.protectedvm.judge import judge
from secondsite.wire.arguments import ConfigureReplica, EnableReplication, PrepareReplica
from secondsite.wire.facts import Ledger, Operation
from support import worlds as w
from support.simulated_sites import settle, start_test, step, tick
from support.worlds import MAC, NOW, VM_ID, unassociated, world


def verbs(made: Plan) -> list[str]:
    return [action.verb.value for action in made.actions if isinstance(action, Command)]


def command(made: Plan) -> Command:
    [found] = [action for action in made.actions if isinstance(action, Command)]
    return found


def condition(seen: VMWorld, name: str = "Protected") -> tuple[str, str]:
    report = judge(seen, plan(seen), ())
    [found] = [each for each in report.findings if each.type == name]
    return found.status, found.reason


def state(seen: VMWorld) -> object:
    return judge(seen, plan(seen), ()).status["state"]


def test_first_comes_the_finalizer_and_nothing_else() -> None:
    assert plan(world(w.no_finalizer)).actions == (AddFinalizer("secondsite.dev/release"),)


def test_the_steps_come_in_their_order() -> None:
    seen, order = world(w.no_finalizer), []
    for _ in range(9):
        seen, made = step(seen)
        order += [f"{a.site}:{a.verb}" for a in made.actions if isinstance(a, Command)]
        seen, _ = tick(seen)
    assert order == [
        "chicago:PrepareReplica",
        "newyork:EnableReplication",
        "chicago:ConfigureReplica",
        "newyork:StartInitialReplication",
    ]
    assert condition(seen) == ("True", "Replicating")
    assert condition(seen, "Ready") == ("True", "Ready")
    assert condition(seen, "SettingsApplied") == ("True", "Applied")
    assert state(seen) == "Protected"


def test_addresses_are_reserved_beside_the_first_command() -> None:
    [reserve] = [action for action in plan(world()).actions if isinstance(action, Reserve)]
    assert (reserve.site, reserve.vm_id, reserve.adapter) == ("chicago", VM_ID, MAC)
    assert (reserve.wish.network, reserve.wish.subnets) == ("dr", ["10.2.0.0/24"])


def test_what_each_command_says() -> None:
    seen = world(
        w.policy(cloudPairs=[_pair_with_storage()]),
        w.with_machine(storage="fast"),
        w.spec(
            excludedDisks=[{"controllerType": "SCSI", "controllerNumber": 0, "controllerLocation": 1}],
            initialReplicationPriority=80,
            target={"hostGroup": "All Hosts/DR"},
        ),
    )
    prepare = command(plan(seen)).arguments
    assert isinstance(prepare, PrepareReplica)
    assert (prepare.vm_name, prepare.storage, prepare.host_group) == ("web", "dr-fast", "All Hosts/DR")
    seen, _ = step(seen)
    made = command(plan(seen))
    enable = made.arguments
    assert isinstance(enable, EnableReplication)
    assert [(d.controller_type, d.controller_location) for d in enable.disks] == [("SCSI", 0)]
    assert (enable.endpoint.host, enable.endpoint.port) == ("ch-host-1", 8084)
    assert enable.settings.interval_seconds == 30
    assert enable.settings.rpo_target_seconds == 90
    assert made.expects == ("Disabled",)
    seen, _ = step(seen)
    configure = command(plan(seen)).arguments
    assert isinstance(configure, ConfigureReplica)
    assert configure.adapters[0].addresses == ("10.2.0.10",)
    assert configure.adapters[0].gateway == "10.2.0.1"
    assert configure.adapters[0].test_network == "dr-test"
    seen, _ = step(seen)
    start = command(plan(seen))
    assert start.slot is not None
    assert (start.slot.limit, start.slot.pair, start.slot.priority) == (
        Limit.INITIAL_REPLICATIONS,
        ("newyork", "chicago"),
        80,
    )


def _pair_with_storage() -> dict[str, object]:
    return {
        "source": {"siteRef": {"name": "newyork"}, "cloud": "gold"},
        "target": {"siteRef": {"name": "chicago"}, "cloud": "silver"},
        "storage": [{"sourceClassification": "fast", "targetClassification": "dr-fast"}],
    }


def test_waits_for_the_policy_to_prepare_the_pair() -> None:
    seen = unassociated()
    assert plan(seen).actions == ()
    assert condition(seen) == ("False", "PolicyNotReady")
    assert state(seen) == "Pending"


@pytest.mark.parametrize("turns", range(1, 6))
def test_an_interrupted_enable_is_taken_up_where_it_stopped(turns: int) -> None:
    """The operator forgets everything at every point: facts alone lead to the same end, under the same epoch."""
    seen = world()
    for _ in range(turns):
        seen, _ = step(seen)
    forgetful = replace(seen, status={}, now=seen.now + timedelta(hours=2))
    done = settle(forgetful)
    assert condition(done)[0] == "True"
    assert done.source.relations[VM_ID].epoch == 1
    started = [op.verb for op in done.source.operations[VM_ID]]
    assert sorted(started) == ["EnableReplication", "StartInitialReplication"]


def test_a_half_made_replica_is_enabled_again() -> None:
    """The source died between telling its peer and writing it down: the target waits, the source knows nothing."""
    seen, _ = step(world())
    before = seen
    seen, _ = step(seen)
    assert seen.target is not None
    torn = replace(seen, source=before.source)
    assert verbs(plan(torn)) == ["EnableReplication"]
    assert command(plan(torn)).epoch == 1


def test_after_a_disable_comes_a_new_epoch() -> None:
    gone = settle(replace_deleting(settle(world())))
    again = settle(w.spec()(replace(gone, vm=world().vm)))
    assert again.source.relations[VM_ID].epoch == 2
    assert condition(again)[0] == "True"


def replace_deleting(seen: VMWorld) -> VMWorld:
    return replace(seen, vm=replace(seen.vm, deletion_timestamp=seen.now))


def test_a_running_operation_holds_the_next_command_back() -> None:
    seen, _ = step(world())
    assert seen.target is not None
    [done] = seen.target.operations[VM_ID]
    running = done.__class__(key="r", verb="CheckTestVM", intent="i", attempt=1, state="Running", start_time=NOW)
    seen = w.target(operations={VM_ID: (done, running)})(seen)
    assert verbs(plan(seen)) == []
    report = judge(seen, plan(seen), ())
    assert report.status["operation"]["name"] == "CheckTestVM"  # type: ignore[index] # a Mapping of objects


def test_an_initial_window_is_kept() -> None:
    window = {"start": "20:00", "end": "06:00", "timeZone": "UTC"}
    seen = world(w.policy(initialReplication={"method": "Online", "window": window}))
    for _ in range(4):
        seen, made = step(seen)
    made = plan(seen)
    assert made.actions == ()
    assert made.due == NOW.replace(hour=20)
    assert condition(seen) == ("False", "WaitingForWindow")
    assert verbs(plan(replace(seen, now=NOW.replace(hour=21)))) == ["StartInitialReplication"]


def test_a_suspended_object_is_enabled_but_its_copy_is_not_started() -> None:
    seen = settle(world(w.spec(replication="Suspended")))
    assert seen.source.relations[VM_ID].state == "ReadyForInitialReplication"
    assert condition(seen) == ("False", "SuspendedByUser")
    assert state(seen) == "Suspended"


def test_the_same_command_is_not_repeated_at_once_without_effect() -> None:
    seen, _ = step(world())
    before = seen
    seen, made = step(seen)
    assert verbs(made) == ["EnableReplication"]
    # The site says that it is done, and shows nothing: the ledger alone has moved.
    blind = replace(before, source=replace(before.source, operations=seen.source.operations), now=seen.now)
    assert verbs(plan(blind)) == []
    assert plan(blind).due is not None
    later = replace(blind, now=blind.now + timedelta(minutes=2))
    assert verbs(plan(later)) == ["EnableReplication"]


def test_a_refused_configuration_does_not_keep_the_data_from_being_copied() -> None:
    seen = world()
    for _ in range(2):
        seen, _ = step(seen)
    assert verbs(plan(seen)) == ["ConfigureReplica"]
    assert seen.target is not None
    done = seen.target.operations[VM_ID]
    refused = Operation(
        "k", "ConfigureReplica", "i", 1, "Failed", NOW, VM_ID, NOW + timedelta(seconds=9), code="NotFound", epoch=1
    )
    seen = w.target(operations={VM_ID: (*done, refused)})(seen)
    assert verbs(plan(seen)) == ["StartInitialReplication"]
    seen, _ = step(seen)
    assert verbs(plan(seen)) == ["ConfigureReplica"]
    stuck = w.source_half(state="Error")(tick(seen)[0])
    assert verbs(plan(stuck)) == ["Resume"]


def test_a_test_network_that_is_not_there_is_left_out() -> None:
    seen = world(lambda s: replace(s, mappings=(w.obj("lan", w.mapping_spec(testNetwork="gone")),)))
    done = settle(seen)
    assert done.target is not None
    assert done.target.relations[VM_ID].adapters[0].test_network == ""
    assert condition(done)[0] == "True"


def test_the_replica_may_be_seen_a_little_later() -> None:
    seen = world()
    for _ in range(2):
        seen, _ = step(seen)
    late = w.target(relations={})(seen)
    assert plan(late).actions == ()
    assert condition(late) == ("False", "Enabling")
    assert state(late) == "Validating"


def test_a_test_vm_of_an_earlier_protection_is_not_pulled_away() -> None:
    gone = settle(world())
    torn = start_test(w.source(relations={}, ledgers={VM_ID: Ledger(VM_ID, 1, 1)})(gone))
    assert plan(torn).actions == ()
    assert condition(torn)[0] == "False"
