"""A protected VM: suspended and resumed, out of errors, new settings, and what is said of it all."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from secondsite.plan.actions import Command, Plan, Release, Report, Trouble
from secondsite.plan.observed import LastTest, VMWorld
from secondsite.plan.protectedvm.decide import plan
from secondsite.plan.protectedvm.judge import judge
from secondsite.wire.facts import DiskSlot, Operation, Point, Replication
from support import worlds as w
from support.simulated_sites import settle, step
from support.worlds import MAC, NOW, VM_ID, world

PROTECTED = settle(world())


def seen(*changes: w.Change) -> VMWorld:
    """A protected VM, changed."""
    made = PROTECTED
    for change in changes:
        made = change(made)
    return made


def report(made: VMWorld, *troubles: Trouble) -> Report:
    return judge(made, plan(made), troubles)


def condition(made: VMWorld, name: str, *troubles: Trouble) -> tuple[str, str]:
    [found] = [each for each in report(made, *troubles).findings if each.type == name]
    return found.status, found.reason


def status(made: VMWorld) -> dict[str, Any]:
    return dict(report(made).status)


def commands(made: Plan) -> list[str]:
    return [f"{a.site}:{a.verb}" for a in made.actions if isinstance(a, Command)]


def failed(verb: str, code: str = "StorageExhausted") -> Operation:
    return Operation(
        "k", verb, "i", 1, "Failed", NOW, VM_ID, NOW, code=code, message="no space on volume 1", remedy="Free some."
    )


def test_at_rest_nothing_is_planned() -> None:
    assert plan(seen()).actions == ()
    assert condition(seen(), "Ready") == ("True", "Ready")


def test_suspend_resume_suspend_are_three_intents() -> None:
    made, intents = seen(), []
    for wish in ("Suspended", "Enabled", "Suspended"):
        made = w.spec(replication=wish)(made)
        [command] = [a for a in plan(made).actions if isinstance(a, Command)]
        intents.append((command.verb, command.intent))
        made, _ = step(made)
        assert plan(made).actions == ()
    assert len(set(intents)) == 3
    assert condition(made, "Protected") == ("False", "SuspendedByUser")
    assert status(made)["state"] == "Suspended"


def test_a_silent_target_does_not_keep_people_from_suspending() -> None:
    made = seen(w.target_silent(), w.spec(replication="Suspended"))
    assert commands(plan(made)) == ["newyork:Suspend"]


def test_what_was_suspended_at_a_site_is_resumed_the_target_first() -> None:
    made = seen(w.target_half(state="Suspended"), w.source_half(state="Error"))
    assert commands(plan(made)) == ["chicago:Resume"]
    made, _ = step(made)
    assert commands(plan(made)) == ["newyork:Resume"]
    assert condition(settle(made), "Protected")[0] == "True"
    assert commands(plan(seen(w.source_half(state="Suspended")))) == ["newyork:Resume"]


def test_an_error_is_resumed_at_once_and_then_every_five_minutes() -> None:
    made = seen(w.source_half(state="Error", health="Critical", message="the replica refused"))
    assert commands(plan(made)) == ["newyork:Resume"]
    assert condition(made, "Protected") == ("False", "ReplicationError")
    assert status(made)["state"] == "Error"
    made, _ = step(made)
    resumed = made.now
    made = w.source_half(state="Error")(made)
    held = plan(made)
    assert held.actions == ()
    assert held.due == resumed - timedelta(seconds=2) + timedelta(minutes=5)
    assert commands(plan(replace(made, now=held.due))) == ["newyork:Resume"]


def test_the_pause_hurries_with_the_lab() -> None:
    made = seen(w.source(info=w.info("newyork", hurry=10)), w.source_half(state="Error"))
    made, _ = step(made)
    made = w.source_half(state="Error")(made)
    assert plan(made).due == made.now - timedelta(seconds=2) + timedelta(seconds=30)


@pytest.mark.parametrize("state", ["WaitingForStartResynchronize", "ResynchronizeSuspended", "Resynchronizing"])
def test_resynchronization_is_reported_and_not_done(state: str) -> None:
    made = seen(w.source_half(state=state))
    assert plan(made).actions == ()
    assert condition(made, "Protected") == ("False", "NotImplemented")
    words = {"Resynchronizing": "Resynchronizing"}
    assert status(made)["state"] == words.get(state, "ResynchronizationRequired")


def test_new_settings_go_to_both_sides_one_after_the_other() -> None:
    made = seen(w.policy(replicationIntervalSeconds=300))
    assert condition(made, "SettingsApplied") == ("False", "Applying")
    assert "policyGeneration" not in status(made)
    assert commands(plan(made)) == ["newyork:UpdateSettings"]
    made, _ = step(made)
    assert commands(plan(made)) == ["chicago:UpdateSettings"]
    made = settle(made)
    assert condition(made, "SettingsApplied") == ("True", "Applied")
    assert status(made)["policyGeneration"] == 6
    assert status(made)["rpoTargetSeconds"] == 900
    assert condition(made, "Protected")[0] == "True"


def test_a_changed_override_reconfigures_the_replica() -> None:
    override = {"adapter": {"macAddress": MAC}, "addresses": ["10.2.0.50"]}
    made = seen(w.spec(networkAdapters=[override]))
    first = plan(made)
    assert any(isinstance(action, Release) for action in first.actions)
    made = settle(made)
    assert made.target is not None
    assert made.target.relations[VM_ID].adapters[0].addresses == ("10.2.0.50",)
    [reserved] = made.target.pools["dr/dr-a"].reserved
    assert reserved == (VM_ID, MAC, "10.2.0.50")


def test_without_its_policy_a_vm_goes_on_and_says_so() -> None:
    made = replace(seen(), policy=None)
    assert plan(made).actions == ()
    assert condition(made, "Protected")[0] == "True"
    assert condition(made, "SettingsApplied") == ("False", "PolicyNotFound")
    nowhere = replace(made, target=None)
    assert condition(nowhere, "Protected")[0] == "Unknown"
    assert plan(nowhere).actions == ()


def test_a_target_that_is_fixed_stays() -> None:
    made = seen(w.target_half(storage="dr-fast"), w.spec(target={"storageClassification": "dr-slow"}))
    assert condition(made, "SettingsApplied") == ("False", "ChangeRefused")
    pair = {
        "source": {"siteRef": {"name": "newyork"}, "cloud": "gold"},
        "target": {"siteRef": {"name": "boston"}, "cloud": "silver"},
    }
    made = seen(w.policy(cloudPairs=[pair]))
    assert condition(made, "SettingsApplied") == ("False", "ChangeRefused")
    assert condition(made, "Protected")[0] == "True"


def test_a_request_that_cannot_be_served_says_so() -> None:
    made = seen(w.spec(requests={"resynchronize": "t1"}))
    assert plan(made).actions == ()
    assert condition(made, "SettingsApplied") == ("False", "NotImplemented")
    assert condition(made, "Ready")[0] == "True"
    served = w.target_half(served_requests=(("resynchronize", "t1"),))(made)
    assert condition(served, "SettingsApplied")[0] == "True"
    assert status(served)["requests"] == {"resynchronize": "t1"}


def test_a_disk_that_was_added_is_not_covered() -> None:
    made = seen(w.with_machine(disks=(w.disk(0), w.disk(1), w.disk(5))))
    assert condition(made, "CoverageComplete") == ("False", "NotImplemented")
    assert condition(made, "Ready") == ("False", "NotImplemented")
    excluded = {"controllerType": "SCSI", "controllerNumber": 0, "controllerLocation": 5}
    assert condition(w.spec(excludedDisks=[excluded])(made), "CoverageComplete") == ("True", "DisksExcluded")
    still = seen(w.spec(excludedDisks=[{**excluded, "controllerLocation": 1}]))
    assert condition(still, "SettingsApplied") == ("False", "NotImplemented")


@pytest.mark.parametrize(
    ("side", "change", "reason"),
    [
        ("source", {"state": "UpdateError"}, "ReplicationError"),
        ("source", {"state": "WaitingForUpdateCompletion"}, "ReplicationError"),
        ("source", {"health": "Critical"}, "ReplicationCritical"),
        ("target", {"newest_point": None}, "NoRecoveryPoint"),
        ("target", {"mode": "Primary"}, "FailedOver"),
        ("source", {"state": "PreparedForFailover"}, "FailedOver"),
        ("target", {"peer_site": "boston"}, "ViewsDisagree"),
        ("source", {"peer_site": "boston"}, "ChangeRefused"),
    ],
)
def test_what_is_not_protection_is_not_called_so(side: str, change: dict[str, Any], reason: str) -> None:
    made = seen(w.source_half(**change) if side == "source" else w.target_half(**change))
    assert condition(made, "Protected") == ("False", reason)
    assert commands(plan(made)) == []


def test_a_half_that_vanished_needs_a_person() -> None:
    for made, reason in (
        (seen(w.source(relations={})), "RelationRemoved"),
        (seen(w.source(relations={}), w.target(relations={})), "RelationRemoved"),
        (seen(w.target(relations={})), "ReplicaMissing"),
    ):
        assert plan(made).actions == ()
        assert condition(made, "Protected") == ("False", reason)


def test_an_active_site_follows_the_primary() -> None:
    made = seen(w.target_half(mode="Primary"), w.source_half(mode="Replica"))
    assert (status(made)["activeSite"], status(made)["replicaSite"]) == ("chicago", "newyork")


# Silence


@pytest.mark.parametrize("quiet", [w.source_silent, w.target_silent])
def test_a_silent_site_makes_its_vms_unknown_after_a_minute(quiet: Any) -> None:
    early = seen(quiet(59), w.at(NOW))
    assert condition(early, "Protected") == ("True", "Replicating")
    assert plan(early).actions == ()
    assert report(early).due == NOW + timedelta(seconds=1)
    late = seen(quiet(60), w.at(NOW))
    assert condition(late, "Protected") == ("Unknown", "SiteUnreachable")
    assert condition(late, "Ready") == ("Unknown", "SiteUnreachable")
    assert condition(late, "SitesReachable") == ("False", "SiteUnreachable")
    assert status(late)["state"] == "Unknown"
    assert plan(late).actions == ()


def test_after_a_restart_a_silent_target_keeps_its_last_point() -> None:
    said = {"lastRecoveryPoint": {"sourceTime": "2026-11-21T11:59:30Z", "basis": "Freeze", "type": "Regular"}}
    made = seen(w.target(contact=w.silent(5), synced=False, relations={}, site=None), w.at(NOW))
    made = replace(made, status=said)
    assert status(made)["lastRecoveryPoint"] == said["lastRecoveryPoint"]
    assert condition(made, "WithinRPO")[0] == "True"
    late = replace(made, now=NOW + timedelta(seconds=60))
    assert condition(late, "WithinRPO") == ("Unknown", "SiteUnreachable")
    rubbish = replace(made, status={"lastRecoveryPoint": {"basis": 7}, "lastTestFailover": 3})
    assert condition(rubbish, "WithinRPO") == ("Unknown", "SiteUnreachable")


# Lag


def point(age: float, **fields: Any) -> w.Change:
    return w.target_half(newest_point=Point(id="p", source_time=NOW - timedelta(seconds=age), **fields))


def test_lag_breaks_at_its_target_and_the_turn_is_due_then() -> None:
    made = seen(w.at(NOW), point(80))
    assert condition(made, "WithinRPO") == ("True", "WithinRPO")
    assert report(made).due == NOW + timedelta(seconds=10)
    assert condition(replace(made, now=NOW + timedelta(seconds=10)), "WithinRPO") == ("False", "RPOExceeded")


@pytest.mark.parametrize(
    ("basis", "source_skew", "target_skew", "expected"),
    [("Freeze", 5, 0, 45), ("Freeze", -5, 0, 35), ("Freeze", 0, 30, 40), ("Estimated", 30, 5, 45)],
)
def test_the_point_is_shown_in_the_operators_time(
    basis: Any, source_skew: int, target_skew: int, expected: int
) -> None:
    """A freeze has the source's clock, an estimate the target's: a clock that is ahead makes the lag larger."""
    made = seen(
        w.at(NOW),
        w.source(skew=timedelta(seconds=source_skew)),
        w.target(skew=timedelta(seconds=target_skew)),
        point(40, basis=basis),
    )
    shown = datetime.fromisoformat(status(made)["lastRecoveryPoint"]["sourceTime"])
    assert (NOW - shown).total_seconds() == expected


def test_a_point_is_never_from_the_future() -> None:
    made = seen(w.at(NOW), point(-30))
    assert status(made)["lastRecoveryPoint"]["sourceTime"] == "2026-11-21T12:00:00Z"


def test_before_the_first_point_there_is_no_value() -> None:
    made, _ = step(world())
    assert "lastRecoveryPoint" not in status(made)
    assert condition(made, "WithinRPO") == ("Unknown", "NoRecoveryPoint")


def test_the_budget_counts_the_days_of_its_window() -> None:
    days = (("2026-10-01", 6000), ("2026-11-20", 61), ("2026-11-21", 60))
    made = seen(w.at(NOW), w.target_half(seconds_outside_rpo=days))
    assert status(made)["rpoBudget"] == {"usedMinutes": 3, "leftMinutes": 57}


# Tests, network, errors


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        (None, ("False", "NeverTested")),
        (LastTest("t", NOW - timedelta(days=2), passed=True), ("True", "Tested")),
        (LastTest("t", NOW - timedelta(days=200), passed=True), ("False", "TestOutdated")),
        (LastTest("t", NOW - timedelta(days=2), passed=False), ("False", "TestFailed")),
    ],
)
def test_tests_grow_old(test: LastTest | None, expected: tuple[str, str]) -> None:
    made = replace(seen(w.at(NOW)), last_test=test)
    assert condition(made, "TestFailoverCurrent") == expected
    if test is not None:
        remembered = replace(made, last_test=None, status={"lastTestFailover": status(made)["lastTestFailover"]})
        assert condition(remembered, "TestFailoverCurrent") == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (w.with_machine(adapters=()), ("True", "NoAdapters")),
        (lambda s: replace(s, mappings=()), ("False", "AdapterDisconnected")),
        (w.target(pools={"dr/dr-a": w.pool(free=0)}), ("True", "AdapterDisconnected")),
        (w.target(pools={"dr/dr-a": w.pool(free=4)}), ("False", "Pending")),
        (
            lambda s: replace(s, mappings=(w.obj("lan", w.mapping_spec(onUnmapped="Block", addressMode="Preserve")),)),
            ("False", "AdapterDisconnected"),
        ),
        (w.spec(networkAdapters=[{"adapter": {"name": "wan"}}]), ("False", "AdapterNotFound")),
    ],
    ids=["none", "unmapped", "exhausted", "pending", "block", "override"],
)
def test_the_network_is_judged(change: w.Change, expected: tuple[str, str]) -> None:
    assert condition(seen(change), "NetworkMapped") == expected


def test_a_failed_operation_is_told_until_another_succeeds() -> None:
    made = seen(w.target(operations={VM_ID: (failed("ConfigureReplica"),)}))
    [error] = status(made)["errors"]
    assert (error["code"], error["site"], error["recommendedAction"]) == ("StorageExhausted", "chicago", "Free some.")
    later = msgspec.structs.replace(failed("ConfigureReplica"), state="Succeeded", end_time=NOW + timedelta(seconds=1))
    healed = w.target(operations={VM_ID: (failed("ConfigureReplica"), later)})(made)
    assert "errors" not in status(healed)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("Queued", "WaitingForSlot"),
        ("SiteRefused", "OperationFailed"),
        ("Bug", "InternalError"),
        ("NotYet", "Enabling"),
    ],
)
def test_what_went_wrong_with_a_step_is_the_reason(kind: str, reason: str) -> None:
    made, _ = step(world())
    trouble = Trouble(plan(made).actions[0], kind, "Busy", "it did not work", "Wait.", "newyork", NOW)
    assert condition(made, "Protected", trouble) == ("False", reason)


def test_a_critical_half_is_an_error_with_its_causes() -> None:
    made = seen(w.source_half(health="Critical", health_reasons=("cannot-deliver",), message="no route"))
    [error] = status(made)["errors"]
    assert (error["code"], error["causes"]) == ("ReplicationCritical", ["cannot-deliver"])


def test_the_initial_copy_shows_its_progress() -> None:
    made = world()
    for _ in range(5):
        made, _ = step(made)
    made = w.source_half(initial_total_bytes=1000, initial_sent_bytes=428, pending_bytes=572)(made)
    assert condition(made, "Protected") == ("False", "InitialReplicationRunning")
    said = status(made)
    assert (said["initialReplicationPercent"], said["pendingBytes"], said["state"]) == (42, 572, "InitialReplication")
    empty = w.source_half(initial_total_bytes=0, initial_sent_bytes=0)(made)
    assert status(empty)["initialReplicationPercent"] == 100


def test_the_report_has_both_halves_and_the_plan() -> None:
    said = status(seen())
    assert said["primary"] == {"site": "newyork", "mode": "Primary", "state": "Replicating", "health": "Normal"}
    assert said["replica"]["site"] == "chicago"
    assert said["recoveryPoints"]["count"] == 1
    assert said["epoch"] == 1
    [adapter] = said["networkAdapters"]
    assert (adapter["resolution"], adapter["targetNetwork"], adapter["addresses"]) == ("Mapping", "dr", ["10.2.0.10"])


def test_a_disk_place_is_written_as_people_do() -> None:
    made = seen(w.source_half(disks=(DiskSlot("SCSI", 0, 0),)))
    [found] = [each for each in report(made).findings if each.type == "CoverageComplete"]
    assert "SCSI 0:1" in found.message


def test_a_policy_that_drops_the_cloud_changes_nothing() -> None:
    pair = {
        "source": {"siteRef": {"name": "newyork"}, "cloud": "iron"},
        "target": {"siteRef": {"name": "chicago"}, "cloud": "silver"},
    }
    made = seen(w.policy(cloudPairs=[pair]))
    assert condition(made, "SettingsApplied") == ("False", "ChangeRefused")
    assert condition(made, "Protected")[0] == "True"


def test_a_suspension_on_its_way_is_not_applied_yet() -> None:
    assert condition(seen(w.spec(replication="Suspended")), "SettingsApplied") == ("False", "Applying")


def test_a_suspension_at_a_site_is_told_while_it_is_resumed() -> None:
    assert condition(seen(w.target_half(state="Suspended")), "Protected") == ("False", "SuspendedAtSite")


def test_a_machine_that_vanished_is_told_and_its_replica_kept() -> None:
    made = seen(w.source(vms={}, vms_by_name={}))
    assert condition(made, "CoverageComplete") == ("False", "VMNotFound")
    assert commands(plan(made)) == []
    assert status(made)["vmID"] == VM_ID


def test_without_a_target_in_seconds_there_is_nothing_to_break() -> None:
    bare = msgspec.structs.replace(Replication(30), rpo_target_seconds=0)
    made = replace(seen(w.target_half(settings=bare)), policy=None)
    assert condition(made, "WithinRPO") == ("Unknown", "PolicyNotFound")
