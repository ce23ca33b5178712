"""Whatever the world: there is an answer, it repeats nothing, and nothing is destroyed without knowledge and right."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secondsite.api.condition import Condition
from secondsite.api.protectedvm_status import ProtectedVMCondition, ProtectedVMStatus
from secondsite.plan.actions import (
    Command,
    LeaveTombstone,
    Plan,
    Release,
    RemoveFinalizer,
    Reserve,
    Trouble,
)
from secondsite.plan.observed import SiteView, VMWorld
from secondsite.plan.protectedvm.decide import plan
from secondsite.plan.protectedvm.judge import judge
from secondsite.plan.protectedvm.resolve import resolve
from secondsite.wire.facts import Relation
from secondsite.wire.operations import Verb
from support import worlds as w
from support.any_world import any_world
from support.simulated_sites import settle, step, tick
from support.worlds import VM_ID

ANYTHING = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
KINDS = ("Refused", "NotYet", "SiteUnreachable", "SiteRefused", "Queued", "Bug")
DESTRUCTIVE = {Verb.DISABLE_REPLICATION, Verb.REMOVE_REPLICA, Verb.STOP_TEST_FAILOVER}


def view_of(world: VMWorld, site: str) -> SiteView:
    found = world.source if site == world.source.name else world.target
    assert found is not None
    assert found.name == site
    return found


def commands(made: Plan) -> list[Command]:
    return [action for action in made.actions if isinstance(action, Command)]


@ANYTHING
@given(any_world(), st.lists(st.sampled_from(KINDS), max_size=2))
def test_there_is_always_an_answer_and_it_fits_the_api(world: VMWorld, kinds: list[str]) -> None:
    made = plan(world)
    assert plan(world) == made
    action = made.actions[0] if made.actions else None
    troubles = tuple(Trouble(action, kind, "Busy", "message", "remedy", "chicago", w.NOW) for kind in kinds)
    report = judge(world, made, troubles)
    assert {each.type for each in report.findings} == {str(each) for each in ProtectedVMCondition}
    assert len(report.findings) == len(ProtectedVMCondition)
    for each in report.findings:
        Condition(
            type=each.type,
            status=each.status,
            reason=each.reason,
            message=each.message,
            last_transition_time=w.NOW,
        )
        assert re.fullmatch("[A-Z][A-Za-z0-9]*", each.reason), each
    read = ProtectedVMStatus.model_validate(report.status)
    assert {key for key, value in read.manifest().items() if value not in ([], {})} == set(report.status)
    assert report.volatile <= {
        "lastRecoveryPoint",
        "recoveryPoints",
        "pendingBytes",
        "initialReplicationPercent",
        "rpoBudget",
        "operation",
    }


@ANYTHING
@given(any_world())
def test_ready_is_the_conjunction_of_its_four(world: VMWorld) -> None:
    said = {each.type: each.status for each in judge(world, plan(world), ()).findings}
    parts = [said[name] for name in ("Protected", "CoverageComplete", "NetworkMapped", "SitesReachable")]
    assert (said["Ready"] == "True") == (parts == ["True"] * 4)
    if said["Protected"] == "True":
        assert isinstance(world.source.relations.get(VM_ID), Relation)


@ANYTHING
@given(any_world())
def test_commands_go_only_where_something_is_known_and_ours(world: VMWorld) -> None:
    made = plan(world)
    assert len(commands(made)) <= 1
    for action in made.actions:
        if isinstance(action, Command | Release | Reserve):
            view = view_of(world, action.site)
            assert view.known
            assert not view.suspended
            assert world.identity.vault
            assert w.FINALIZER in world.vm.finalizers
            assert not world.rival
        if isinstance(action, Command):
            half = view.relations.get(VM_ID)
            assert half is None or (half.owner is not None and half.owner.vault == world.identity.vault)
            assert (half.state if half else "Disabled") in action.expects
            assert not view.running(VM_ID)
            assert action.epoch >= max((half.epoch if half else 0), 1)


@ANYTHING
@given(any_world())
def test_nothing_is_destroyed_from_ignorance_or_absence(world: VMWorld) -> None:
    for command in commands(plan(world)):
        if command.verb not in DESTRUCTIVE:
            continue
        view = view_of(world, command.site)
        half, ledger = view.relations.get(VM_ID), view.ledgers.get(VM_ID)
        assert half is not None or ledger is not None
        if not world.vm.deleting:
            # Only what the other site was told to give up, and says so.
            other = world.target if command.site == "newyork" else world.source
            assert other is not None
            assert other.known
            assert half is not None
            assert other.ledgers[VM_ID].released_epoch >= half.epoch
        if command.site == "chicago" and command.verb != Verb.STOP_TEST_FAILOVER and world.vm.deleting:
            assert world.source.known
            source = world.source.relations.get(VM_ID)
            assert source is None or source.owner is None or source.owner.vault != world.identity.vault
        if command.verb == Verb.REMOVE_REPLICA:
            assert half is None
            assert view.vms[VM_ID].role == "Replica"


@ANYTHING
@given(any_world())
def test_an_object_goes_only_when_nothing_is_owed_or_it_is_written_down(world: VMWorld) -> None:
    made = plan(world)
    if any(isinstance(action, LeaveTombstone | RemoveFinalizer) for action in made.actions):
        assert world.vm.deleting
    if any(isinstance(action, LeaveTombstone) for action in made.actions):
        assert world.vm.deletion_timestamp is not None
        assert world.now - world.vm.deletion_timestamp >= timedelta(minutes=60)
    if RemoveFinalizer(w.FINALIZER) in made.actions and not world.rival:
        assert made.actions == (RemoveFinalizer(w.FINALIZER),)
        late = world.now - (world.vm.deletion_timestamp or world.now) >= timedelta(minutes=60)
        for view in (world.source, world.target):
            half = view.relations.get(VM_ID) if view is not None and view.known else None
            ours = half is not None and half.owner is not None and half.owner.vault == world.identity.vault
            assert late or not ours or resolve(world).vm_id != VM_ID


EVENTS: dict[str, w.Change] = {
    "suspend": w.spec(replication="Suspended"),
    "resume": w.spec(replication="Enabled"),
    "slow down": w.policy(replicationIntervalSeconds=300),
    "speed up": w.policy(replicationIntervalSeconds=30),
    "override": w.spec(networkAdapters=[{"adapter": {"name": "lan"}, "addresses": ["10.2.0.77"]}]),
    "mapping gone": lambda s: replace(s, mappings=()),
    "mapping back": lambda s: replace(s, mappings=w.world().mappings),
    "source silent": w.source_silent(),
    "target silent": w.target_silent(),
    "source back": w.source(contact=w.reachable(), synced=True),
    "target back": w.target(contact=w.reachable(), synced=True),
    "an hour": lambda s: replace(s, now=s.now + timedelta(hours=1)),
}


def _error(world: VMWorld) -> VMWorld:
    half = world.source.relations.get(VM_ID)
    able = half is not None and half.state in ("Replicating", "InitialReplicationInProgress")
    return w.source_half(state="Error")(world) if able else world


def _paused_replica(world: VMWorld) -> VMWorld:
    half = world.target.relations.get(VM_ID) if world.target else None
    return w.target_half(state="Suspended")(world) if half and half.state == "Replicating" else world


BROKEN: dict[str, Callable[[VMWorld], VMWorld]] = {**EVENTS, "error": _error, "replica paused": _paused_replica}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(sorted([*BROKEN, "turn", "turn", "turn"])), max_size=25))
def test_after_any_trouble_it_ends_protected_or_given_up(events: list[str]) -> None:
    world = w.world(w.no_finalizer)
    for event in events:
        world = BROKEN[event](world) if event in BROKEN else tick(step(world)[0])[0]
    for event in ("source back", "target back", "mapping back", "resume", "an hour"):
        world = BROKEN[event](world)
    world = settle(world, 60)
    said = {each.type: each.status for each in judge(world, plan(world), ()).findings}
    assert said["Protected"] == "True"
    assert said["NetworkMapped"] == "True"
    assert said["SettingsApplied"] == "True"
    for view in (world.source, world.target):
        assert view is not None
        wishes = [(op.verb, op.intent) for op in view.operations.get(VM_ID, ())]
        assert len(wishes) == len(set(wishes))
    starts = [op.verb for op in world.source.operations[VM_ID]]
    assert starts.count("EnableReplication") == starts.count("StartInitialReplication") == 1
    world = w.deleting(world.now)(world)
    for _ in range(10):
        world, _made = step(world)
    assert world.vm.finalizers == ()
    assert VM_ID not in world.source.relations
    assert world.target is not None
    assert VM_ID not in world.target.relations
    assert all(not pool.reserved for pool in world.target.pools.values())
