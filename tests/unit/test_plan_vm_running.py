"""A protected VM: suspended and resumed, out of errors, new settings, and what is not called protection."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from secondsite.plan.actions import Command, Plan, Release, Report, Trouble
from secondsite.plan.observed import VMWorld
from secondsite.plan.protectedvm.decide import plan
from secondsite.plan.protectedvm.judge import judge
from secondsite.wire.facts import Operation, Replication
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
    word = {"Resynchronizing": "Resynchronizing"}.get(state, "ResynchronizationRequired")
    assert condition(made, "Protected") == ("False", word)
    assert status(made)["state"] == word


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "It begins by itself from 18:30 to 06:00 UTC"),
        ({"auto_resynchronize": False}, "Run Resume-VMReplication -Resynchronize there."),
    ],
)
def test_what_begins_a_resynchronization_is_told(changes: dict[str, Any], words: str) -> None:
    settings = Replication(interval_seconds=300, **changes)
    half = w.source_half(state="WaitingForStartResynchronize", settings=settings)
    [found] = [each for each in report(seen(half)).findings if each.type == "Protected"]
    assert words in found.message


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
        ("source", {"state": "WaitingForUpdateCompletion"}, "Applying"),
        ("source", {"state": "WaitingForInitialReplication"}, "WaitingForMedia"),
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
