"""What is said of a protected VM: silence, lag, tests, network, errors, and each field of the status."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from secondsite.plan.actions import Command, Plan, Report, Trouble
from secondsite.plan.observed import LastTest, VMWorld
from secondsite.plan.protectedvm.decide import plan
from secondsite.plan.protectedvm.judge import judge
from secondsite.wire.facts import DiskSlot, Operation, Point, Replication
from support import worlds as w
from support.simulated_sites import settle, step
from support.worlds import NOW, VM_ID, world

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


def test_a_budget_that_no_site_keeps_is_not_made_up() -> None:
    assert "rpoBudget" not in status(seen(w.at(NOW), w.target_half(seconds_outside_rpo=None)))


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


def test_a_guest_that_cannot_be_quiesced_is_an_error_and_the_vm_is_protected_all_the_same() -> None:
    said = {"health": "Warning", "health_reasons": ("app-consistent-failed",), "message": "VSS_E_BAD_STATE"}
    made = seen(w.source_half(**said))
    [error] = status(made)["errors"]
    assert (error["code"], error["site"], error["message"]) == ("AppConsistentFailed", "newyork", "VSS_E_BAD_STATE")
    assert "VSS writers" in error["recommendedAction"]
    assert condition(made, "Protected")[0] == condition(made, "SettingsApplied")[0] == "True"


@pytest.mark.parametrize(
    ("told", "shown"), [("CrashConsistent", "Regular"), ("AppConsistent", "ApplicationConsistent")]
)
def test_the_type_of_the_newest_point_and_when_the_last_guest_stood_still(told: str, shown: str) -> None:
    clean = NOW - timedelta(minutes=50)
    made = seen(
        w.at(NOW),
        w.source(skew=timedelta(seconds=10)),
        point(40, type=told),
        w.target_half(newest_app_consistent_time=clean, point_count=2),
    )
    assert status(made)["lastRecoveryPoint"]["type"] == shown
    assert status(made)["recoveryPoints"]["newestAppConsistentTime"] == "2026-11-21T11:09:50Z"


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


def test_a_half_that_is_not_well_says_why() -> None:
    reasons = ("behind-over-one-hour", "missed-over-20-percent")
    said = status(seen(w.source_half(health="Warning", health_reasons=reasons)))
    assert said["primary"]["healthReasons"] == list(reasons)
    assert "healthReasons" not in said["replica"]


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
