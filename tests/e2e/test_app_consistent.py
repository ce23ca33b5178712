"""From a line in the policy to a test VM whose guest stood still: application-consistent points, as a user has them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from secondsite.sandbox.control_plane import ControlPlane
from support.stack import Options, Stack
from support.stack_api import TEST, VM
from support.stack_centres import TARGET, vm_id, vm_name
from support.stack_truth import faults_of_points

# A cycle every nine seconds, every fourth of them application-consistent: enough time to look at each.
OPTIONS = Options(
    vms=1,
    hurry=100,
    policy={
        "replicationIntervalSeconds": 900,
        "recoveryPoints": {"retentionHours": 24, "appConsistentIntervalHours": 1},
    },
)
HEARTBEAT = {"name": "alive", "type": "Heartbeat", "vm": vm_name(1), "periodSeconds": 1, "timeoutSeconds": 30}


@pytest.fixture
def stack(cluster: ControlPlane, tmp_path: Path) -> Iterator[Stack]:
    with Stack(cluster, tmp_path, OPTIONS) as running:
        yield running


def journals(stack: Stack) -> dict[str, tuple[str, str]]:
    """Of each point at the target: what it is called, and what the bytes say."""
    return {point["id"]: (point["consistency"], point["journal"]) for point in stack.site(TARGET).points(vm_id(1))}


def test_the_policy_asks_and_the_status_and_the_test_vm_show_it(stack: Stack) -> None:
    stack.protect(1)
    stack.await_protected(1)

    def stood_still() -> bool:
        half = stack.relation(TARGET, 1)
        return half is not None and half.newest_point is not None and half.newest_point.type == "AppConsistent"

    stack.until(stood_still, "the newest point is application-consistent")
    # The change of state takes with it what is otherwise written once a minute.
    stack.change(VM, vm_name(1), replication="Suspended")
    stack.await_condition(VM, vm_name(1), "Protected", "False", "SuspendedByUser")
    status = stack.vm(1)["status"]
    assert status["lastRecoveryPoint"]["type"] == "ApplicationConsistent"
    assert status["recoveryPoints"]["newestAppConsistentTime"] == status["lastRecoveryPoint"]["sourceTime"]

    stack.change(VM, vm_name(1), replication="Enabled")
    stack.await_condition(VM, vm_name(1), "Ready")
    stack.await_condition(VM, vm_name(1), "SettingsApplied")
    stack.until(lambda: not stood_still(), "the latest point is another one")
    stack.test("clean", 1, recoveryPoint={"type": "LatestAppConsistent"}, checks=[HEARTBEAT])
    stack.await_condition(TEST, "clean", "Complete", reason="Succeeded")
    [tested] = (stack.object(TEST, "clean") or {})["status"]["vms"]
    used = tested["recoveryPoint"]
    assert used["type"] == "ApplicationConsistent"
    assert tested["checks"][0]["message"].endswith("journal Clean")

    told = journals(stack)
    assert told[used["id"]] == ("ApplicationConsistent", "Clean")
    assert {journal for kind, journal in told.values() if kind == "ApplicationConsistent"} == {"Clean"}
    assert faults_of_points(stack, 1)[1] == []
