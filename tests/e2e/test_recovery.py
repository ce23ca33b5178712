"""Wishes that change while everything runs, with real sites behind them: what is done there, and what is left alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from secondsite.sandbox.control_plane import ControlPlane
from secondsite.wire import inventory
from secondsite.wire.facts import Operation
from support import stack_centres as centres
from support.stack import Options, Stack
from support.stack_api import POLICY, SITE, TEST, VM
from support.stack_centres import SOURCE, TARGET, vm_id, vm_name
from support.stack_truth import faults_of_points


@pytest.fixture(scope="module")
def stack(cluster: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One for all, each test with a VM of its own."""
    with Stack(cluster, tmp_path_factory.mktemp("stack"), Options(vms=10)) as running:
        yield running


def verbs(stack: Stack, site: str, number: int) -> list[str]:
    """What a site completed for a VM, oldest first."""
    done = [op for op in stack.tell(site).operations(vm_id(number)) if op.state == "Succeeded"]
    return [op.verb for op in sorted(done, key=lambda op: op.start_time)]


def test_a_changed_policy_reaches_both_halves_without_protecting_anew(stack: Stack) -> None:
    stack.protect(1)
    stack.settle(1)
    before = stack.relation(SOURCE, 1)
    assert before
    stack.change(POLICY, centres.POLICY, replicationIntervalSeconds=300)
    for site in (SOURCE, TARGET):
        stack.until(
            lambda site=site: (
                (half := stack.relation(site, 1)) and half.settings and half.settings.interval_seconds == 300
            ),  # type: ignore[misc]
            f"{site} has the new interval",
        )
    stack.await_condition(POLICY, centres.POLICY, "RolledOut")
    after = stack.relation(SOURCE, 1)
    assert after
    assert (after.epoch, after.state) == (before.epoch, "Replicating")
    assert verbs(stack, SOURCE, 1) == ["EnableReplication", "StartInitialReplication", "UpdateSettings"]
    assert verbs(stack, TARGET, 1) == ["PrepareReplica", "ConfigureReplica", "UpdateSettings"]
    stack.await_condition(VM, vm_name(1), "Ready")
    assert stack.vm(1)["status"]["rpoTargetSeconds"] == 900

    stack.change(POLICY, centres.POLICY, replicationIntervalSeconds=30)
    stack.until(lambda: stack.vm(1)["status"].get("policyGeneration") == 3, "the VM has the third generation")
    stack.await_cycles(1)


def test_a_policy_that_changes_during_the_first_copy_does_not_disturb_it(stack: Stack) -> None:
    stack.change(SITE, SOURCE, replicationBandwidth={"limitBytesPerSecond": 400_000})
    stack.protect(2)

    def copying() -> bool:
        half = stack.relation(SOURCE, 2)
        return half is not None and half.state == "InitialReplicationInProgress"

    stack.until(copying, "the first copy is on its way")
    stack.change(POLICY, centres.POLICY, recoveryPoints={"retentionHours": 12})
    stack.until(
        lambda: all(
            (half := stack.relation(site, 2)) and half.settings and half.settings.retention_hours == 12
            for site in (SOURCE, TARGET)
        ),
        "both halves have the new retention",
    )
    assert copying(), "it must still run, else this proves nothing"
    stack.change(SITE, SOURCE, replicationBandwidth=None)
    stack.await_protected(2)
    assert verbs(stack, SOURCE, 2).count("StartInitialReplication") == 1
    assert faults_of_points(stack, 2)[1] == []


def test_what_cannot_be_changed_is_said_and_stays_as_it_was(stack: Stack) -> None:
    stack.protect(3)
    begun = stack.settle(3)
    second_disk = {"controllerType": "SCSI", "controllerNumber": 0, "controllerLocation": 1}
    stack.change(VM, vm_name(3), excludedDisks=[second_disk])
    found = stack.await_condition(VM, vm_name(3), "SettingsApplied", "False", "NotImplemented")
    assert "SCSI 0:1" in found["message"]
    stack.await_cycles(3)
    for site in (SOURCE, TARGET):
        half = stack.relation(site, 3)
        assert half
        assert len(half.disks) == 2
    assert stack.begun() == begun
    assert stack.condition(VM, vm_name(3), "Protected")["status"] == "True"

    stack.change(VM, vm_name(3), excludedDisks=[])
    stack.await_condition(VM, vm_name(3), "SettingsApplied")


def test_suspended_replication_stands_still_and_goes_on_where_it_was(stack: Stack) -> None:
    stack.protect(4, 5)
    stack.settle(4, 5)
    for _ in range(2):
        stack.change(VM, vm_name(4), replication="Suspended")
        stack.await_condition(VM, vm_name(4), "Protected", "False", "SuspendedByUser")
        stack.until(
            lambda: (half := stack.relation(SOURCE, 4)) and half.state == "Suspended", "the source stands still"
        )
        points = stack.site(TARGET).points(vm_id(4))
        # Its neighbour's cycles are the clock: so many intervals have passed.
        stack.await_cycles(5, 3)
        assert stack.site(TARGET).points(vm_id(4)) == points
        stack.change(VM, vm_name(4), replication="Enabled")
        stack.await_protected(4)
        stack.await_cycles(4)
    expected = ["EnableReplication", "StartInitialReplication", "Suspend", "Resume", "Suspend", "Resume"]
    assert verbs(stack, SOURCE, 4) == expected
    assert faults_of_points(stack, 4)[1] == []


@pytest.mark.parametrize("keep", [True, False], ids=["replica kept", "replica removed"])
def test_a_vm_that_was_deleted_while_the_operator_was_down_is_released_at_both_sites(stack: Stack, keep: bool) -> None:
    stack.change(POLICY, centres.POLICY, replicaOnDisable="Keep" if keep else "Delete")
    stack.protect(6)
    stack.settle(6)
    machine = stack.tell(TARGET).all(inventory.VM).get(vm_id(6))
    assert machine
    assert machine.role == "Replica"

    stack.operator.kill()
    stack.delete(VM, vm_name(6))
    left = stack.vm(6)["metadata"]
    assert left["finalizers"] == ["secondsite.dev/release"]
    assert left["deletionTimestamp"]
    stack.operator.start()
    stack.await_gone(VM, vm_name(6), 45)

    assert stack.relation(SOURCE, 6) is None
    assert stack.relation(TARGET, 6) is None
    told = stack.tell(TARGET)
    reserved = [entry for pool in told.all(inventory.Pool).values() for entry in pool.reserved if entry[0] == vm_id(6)]
    assert reserved == []
    assert (vm_id(6) in told.all(inventory.VM)) == keep
    assert ("RemoveReplica" in verbs(stack, TARGET, 6)) == (not keep)
    assert stack.tell(SOURCE).all(inventory.VM)[vm_id(6)].role == "Production"


def test_a_status_that_was_wiped_or_lies_comes_back_and_nothing_is_done_for_it(stack: Stack) -> None:
    stack.protect(7)
    begun = stack.settle(7)
    path = "/status"
    for down in (False, True):
        if down:
            stack.operator.kill()
        stack.api.json_patch(VM, stack.namespace, vm_name(7), [{"op": "remove", "path": path}], "status")
        if down:
            stack.operator.start()
        stack.await_condition(VM, vm_name(7), "Ready", seconds=45)
        status = stack.vm(7)["status"]
        assert (status["state"], status["vmID"], status["activeSite"]) == ("Protected", vm_id(7), SOURCE)
    lie = {"status": {"state": "FailedOver", "activeSite": TARGET, "epoch": 77, "vmID": vm_id(8), "conditions": []}}
    stack.api.patch(VM, stack.namespace, vm_name(7), lie, "status")
    stack.until(lambda: stack.vm(7)["status"].get("epoch") == 1, "the epoch of the sites")
    stack.await_condition(VM, vm_name(7), "Ready")
    assert stack.vm(7)["status"]["vmID"] == vm_id(7)
    assert stack.begun() == begun


def test_others_who_write_all_the_time_neither_stop_it_nor_make_it_repeat_itself(stack: Stack) -> None:
    begun, writes = stack.begun(), 0
    stack.protect(10)
    while stack.condition(VM, vm_name(10), "Protected")["status"] != "True":
        assert writes < 500
        stack.api.patch(VM, stack.namespace, vm_name(10), {"metadata": {"labels": {"touched": str(writes)}}})
        foreign = {"status": {"pendingBytes": writes, "vmID": "none", "state": "Error"}}
        stack.api.patch(VM, stack.namespace, vm_name(10), foreign, "status")
        writes += 1
    assert writes > 5
    after = stack.settle(10)
    assert {site: after[site] - begun[site] for site in after} == {SOURCE: 2, TARGET: 2}
    stack.until(lambda: stack.vm(10)["status"]["state"] == "Protected", "the state is right again")
    assert stack.vm(10)["status"]["vmID"] == vm_id(10)


def test_a_policy_may_come_after_its_vms(stack: Stack) -> None:
    stack.protect(8, policyRef={"name": "late"})
    stack.await_condition(VM, vm_name(8), "Protected", "False", "PolicyNotFound")
    assert stack.vm(8)["metadata"].get("finalizers", []) == []
    late = centres.policy()
    late["metadata"]["name"] = "late"
    stack.api.create(POLICY, stack.namespace, late)
    stack.await_protected(8)
    stack.await_condition(POLICY, "late", "Ready")


def test_a_rehearsal_leaves_replication_and_production_alone_and_its_deletion_cleans_up(stack: Stack) -> None:
    stack.protect(9)
    stack.settle(9)
    before = stack.relation(TARGET, 9)
    production = stack.tell(SOURCE).all(inventory.VM)[vm_id(9)]
    stack.test("rehearsal", 9, cleanup={"mode": "Manual"})
    stack.await_condition(TEST, "rehearsal", "ChecksPassed")
    during = stack.relation(TARGET, 9)
    assert before
    assert during
    assert during.test_vm
    assert len(stack.tell(TARGET).all(inventory.TestNetwork)) == 1
    used = (stack.object(TEST, "rehearsal") or {})["status"]["vms"][0]["recoveryPoint"]["id"]
    # Replication goes on beside it, and its point is neither merged away nor changed.
    stack.await_cycles(9, 3)
    assert (during.state, during.epoch) == ("Replicating", before.epoch)
    assert used in {point["id"] for point in stack.site(TARGET).points(vm_id(9))}
    assert stack.tell(SOURCE).all(inventory.VM)[vm_id(9)] == production
    assert verbs(stack, SOURCE, 9) == ["EnableReplication", "StartInitialReplication"]

    stack.delete(TEST, "rehearsal")
    stack.await_gone(TEST, "rehearsal")
    after = stack.relation(TARGET, 9)
    assert after
    assert after.test_vm is None
    told = stack.tell(TARGET)
    assert told.all(inventory.TestNetwork) == {}
    assert [vm for vm in told.all(inventory.VM).values() if vm.role == "Test"] == []
    stack.await_cycles(9)
    assert faults_of_points(stack, 9)[1] == []


def test_a_rehearsal_cleans_up_by_itself_and_is_remembered(stack: Stack) -> None:
    stack.protect(*(n for n in (9,) if stack.object(VM, vm_name(n)) is None))
    stack.test("automatic", 9)
    stack.await_condition(TEST, "automatic", "Complete", reason="Succeeded")
    assert stack.condition(TEST, "automatic", "CleanedUp")["status"] == "True"
    stack.await_condition(VM, vm_name(9), "TestFailoverCurrent")
    assert stack.vm(9)["status"]["lastTestFailover"]["name"] == "automatic"
    half = stack.relation(TARGET, 9)
    assert half
    assert half.test_vm is None


def test_nothing_was_ever_done_twice(stack: Stack) -> None:
    """After all of the above."""
    for site in (SOURCE, TARGET):
        told = stack.tell(site)
        assert told.all(Operation)
        assert told.twice() == []
