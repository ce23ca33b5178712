"""What an admin sees with kubectl while something at a site is broken, and that the world heals when it is mended.

Faults of single VMs are on from the beginning, each at a VM of its own; those of a whole site follow one by one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from secondsite.agent.lab.faults import Fault
from secondsite.sandbox.control_plane import ControlPlane
from secondsite.wire import inventory
from support.stack import Options, Stack
from support.stack_api import SITE, VM
from support.stack_centres import SOURCE, TARGET, vm_id, vm_name

# Of the whole site: seen at the first VM.
ANY, FULL, PAUSED, REVOKED, CRASHED, UNQUIESCED, STUCK, TWIN = range(1, 9)
# A cycle takes a second, a pause after a failure too, and an hour between points twelve.
HURRY = 300
POLICY = {
    "replicationIntervalSeconds": 300,
    "recoveryPoints": {"appConsistentIntervalHours": 1},
    "resynchronization": {"mode": "Automatic", "window": {"start": "00:00", "end": "23:59"}},
}


def break_(stack: Stack, site: str, fault: Fault, number: int = 0, **more: Any) -> None:
    stack.site(site).ask(ask="fault", fault=fault.value, vmID=vm_id(number) if number else "", **more)


def mend(stack: Stack, site: str, fault: Fault, number: int = 0) -> None:
    break_(stack, site, fault, number, off=True)


@pytest.fixture(scope="module")
def stack(cluster: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    made = Stack(cluster, tmp_path_factory.mktemp("stack"), Options(vms=TWIN, hurry=HURRY, policy=POLICY))
    for site in (SOURCE, TARGET):
        # A host to move to, and Hyper-V's own pause after a failure.
        file = made.folder / f"{site}.yaml"
        centre = yaml.safe_load(file.read_text(encoding="utf-8"))
        centre["hostGroups"][0]["hosts"].append(f"hv2.{site}")
        centre["knobs"] = {"retrySeconds": 300}
        file.write_text(yaml.safe_dump(centre), encoding="utf-8")
    with made as running:
        break_(running, SOURCE, Fault.VSS_FAILING, UNQUIESCED)
        break_(running, SOURCE, Fault.INITIAL_REPLICATION_STUCK, STUCK)
        break_(running, SOURCE, Fault.DUPLICATE_NAMES, TWIN)
        running.protect(*range(ANY, TWIN + 1))
        running.await_protected(*(n for n in range(ANY, TWIN) if n != STUCK))
        for fault, number in (
            (Fault.REPLICA_DISK_FULL, FULL),
            (Fault.AUTHORIZATION_REVOKED, REVOKED),
            (Fault.REPLICA_PAUSED, PAUSED),
        ):
            break_(running, TARGET, fault, number)
        yield running


def sees(stack: Stack, number: int, reason: str, words: str) -> None:
    """The condition Protected says so."""

    def said() -> bool:
        found = stack.condition(VM, vm_name(number), "Protected")
        return found["reason"] == reason and words in found["message"]

    stack.until(said, f"{vm_name(number)} says {reason}: {words}")


def lag(stack: Stack) -> float:
    point = stack.vm_metric("secondsite_protected_vm_last_recovery_point_timestamp_seconds", ANY)
    assert point is not None
    return time.time() - point


def errors(stack: Stack, number: int) -> dict[str, dict[str, Any]]:
    return {each["code"]: each for each in stack.vm(number)["status"].get("errors", [])}


def heals(stack: Stack, number: int) -> None:
    stack.await_protected(number)
    stack.until(lambda: stack.vm_metric("secondsite_protected_vm_protected", number) == 1, "the metric says so too")
    stack.await_cycles(number, 1)


def test_fault_replica_disk_full_names_the_storage_and_heals_by_itself(stack: Stack) -> None:
    sees(stack, FULL, "ReplicationCritical", "no room")
    found = stack.until(lambda: errors(stack, FULL).get("OutOfSpace"), "an error of its own")
    assert found["site"] == TARGET
    assert "Free space" in found["recommendedAction"]
    assert stack.vm_metric("secondsite_protected_vm_health", FULL) == 2
    mend(stack, TARGET, Fault.REPLICA_DISK_FULL, FULL)
    heals(stack, FULL)
    assert "OutOfSpace" not in errors(stack, FULL)


def test_fault_authorization_revoked_is_an_error_until_it_is_mended(stack: Stack) -> None:
    sees(stack, REVOKED, "ReplicationError", "authorization entry")
    assert stack.vm(REVOKED)["status"]["state"] == "Error"
    mend(stack, TARGET, Fault.AUTHORIZATION_REVOKED, REVOKED)
    heals(stack, REVOKED)


def test_fault_replica_paused_is_resumed_by_the_operator(stack: Stack) -> None:
    # Whoever suspended it at the site: the spec says Enabled.
    heals(stack, PAUSED)
    done = [op.verb for op in stack.tell(TARGET).operations(vm_id(PAUSED)) if op.state == "Succeeded"]
    assert "Resume" in done
    mend(stack, TARGET, Fault.REPLICA_PAUSED, PAUSED)
    heals(stack, PAUSED)


@pytest.mark.parametrize("fault", [Fault.HOST_CRASH, Fault.DISK_TOUCHED_OFFLINE])
def test_fault_that_loses_the_tracking_is_healed_by_a_resynchronization(stack: Stack, fault: Fault) -> None:
    # So that it lasts long enough to be seen.
    break_(stack, SOURCE, Fault.LINK_SLOW, value=4096)
    break_(stack, SOURCE, fault, CRASHED)
    sees(stack, CRASHED, "Resynchronizing", "compares source and replica")
    mend(stack, SOURCE, Fault.LINK_SLOW)
    heals(stack, CRASHED)


def test_fault_vss_failing_is_an_error_that_stops_nothing(stack: Stack) -> None:
    found = stack.until(lambda: errors(stack, UNQUIESCED).get("AppConsistentFailed"), "an error")
    assert "VSS writer" in found["message"]
    assert stack.condition(VM, vm_name(UNQUIESCED), "Protected")["status"] == "True"
    mend(stack, SOURCE, Fault.VSS_FAILING, UNQUIESCED)
    stack.until(lambda: "AppConsistentFailed" not in errors(stack, UNQUIESCED), "the next attempt is good")


def test_fault_initial_replication_stuck_shows_no_progress(stack: Stack) -> None:
    sees(stack, STUCK, "InitialReplicationRunning", "on its way")
    assert stack.vm(STUCK)["status"].get("initialReplicationPercent", 0) <= 1
    mend(stack, SOURCE, Fault.INITIAL_REPLICATION_STUCK, STUCK)
    heals(stack, STUCK)


def test_fault_duplicate_names_refuses_a_name_and_leaves_who_is_protected_alone(stack: Stack) -> None:
    sees(stack, TWIN, "VMNameNotUnique", "2 VMs named")
    assert "spec.vm.id" in errors(stack, TWIN)["VMNameNotUnique"]["recommendedAction"]
    break_(stack, SOURCE, Fault.DUPLICATE_NAMES, ANY)
    stack.await_cycles(ANY, 1)
    assert stack.condition(VM, vm_name(ANY), "Protected")["status"] == "True"
    mend(stack, SOURCE, Fault.DUPLICATE_NAMES, ANY)
    mend(stack, SOURCE, Fault.DUPLICATE_NAMES, TWIN)
    heals(stack, TWIN)


def test_fault_command_hangs_shows_the_operation_until_it_goes_on(stack: Stack) -> None:
    break_(stack, SOURCE, Fault.COMMAND_HANGS, ANY)
    stack.change(VM, vm_name(ANY), replication="Suspended")
    running = stack.until(lambda: stack.vm(ANY)["status"].get("operation"), "the operation is shown")
    assert running["name"] == "Suspend"
    assert stack.condition(VM, vm_name(ANY), "Protected")["status"] == "True"
    mend(stack, SOURCE, Fault.COMMAND_HANGS, ANY)
    sees(stack, ANY, "SuspendedByUser", "as spec.replication says")
    stack.change(VM, vm_name(ANY), replication="Enabled")
    heals(stack, ANY)


def test_fault_orphaned_test_vm_is_taken_for_no_production_vm(stack: Stack) -> None:
    before = stack.object(SITE, TARGET)
    assert before
    break_(stack, TARGET, Fault.ORPHANED_TEST_VM, ANY)
    machines = stack.tell(TARGET).all(inventory.VM).values()
    assert [vm.role for vm in machines if vm.name == f"{vm_name(ANY)} - Test"] == ["Test"]
    stack.await_cycles(ANY, 1)
    after = stack.object(SITE, TARGET)
    assert after
    assert after["status"]["unprotectedVMs"] == before["status"]["unprotectedVMs"]
    mend(stack, TARGET, Fault.ORPHANED_TEST_VM, ANY)
    assert all(vm.role != "Test" for vm in stack.tell(TARGET).all(inventory.VM).values())


def test_fault_vm_moved_changes_its_host_and_nothing_else(stack: Stack) -> None:
    before = stack.tell(SOURCE).all(inventory.VM)[vm_id(ANY)]
    break_(stack, SOURCE, Fault.VM_MOVED, ANY)
    moved = stack.tell(SOURCE).all(inventory.VM)[vm_id(ANY)]
    assert {before.host, moved.host} == {"hv1.newyork", "hv2.newyork"}
    heals(stack, ANY)
    mend(stack, SOURCE, Fault.VM_MOVED, ANY)


def test_fault_inventory_stale_stops_no_replication(stack: Stack) -> None:
    break_(stack, SOURCE, Fault.INVENTORY_STALE)
    break_(stack, SOURCE, Fault.VM_MOVED, ANY)
    stack.change(SITE, SOURCE, requests={"refreshInventory": "once"})
    stack.until(lambda: _served(stack).get("refreshInventory") == "once", "the request is served")
    assert stack.tell(SOURCE).all(inventory.VM)[vm_id(ANY)].host == "hv1.newyork"
    heals(stack, ANY)
    mend(stack, SOURCE, Fault.INVENTORY_STALE)
    assert stack.tell(SOURCE).all(inventory.VM)[vm_id(ANY)].host == "hv2.newyork"
    mend(stack, SOURCE, Fault.VM_MOVED, ANY)


def _served(stack: Stack) -> dict[str, str]:
    return (stack.object(SITE, SOURCE) or {}).get("status", {}).get("requests", {})  # type: ignore[no-any-return]  # JSON


@pytest.mark.parametrize(
    ("site", "fault", "words"),
    [
        (SOURCE, Fault.LINK_DOWN, "unreachable"),
        (TARGET, Fault.CERTIFICATE_EXPIRED, "certificate expired"),
        (TARGET, Fault.BROKER_OFFLINE, "Replica Broker"),
    ],
)
def test_fault_of_the_way_makes_every_vm_critical_in_its_own_words(
    stack: Stack, site: str, fault: Fault, words: str
) -> None:
    break_(stack, site, fault)
    sees(stack, ANY, "ReplicationCritical", words)
    assert "ReplicationCritical" in errors(stack, FULL)
    assert stack.condition(SITE, site, "Ready")["status"] == "True", "its agent answers all the same"
    mend(stack, site, fault)
    heals(stack, ANY)


def test_fault_link_slow_shows_as_lag(stack: Stack) -> None:
    stack.until(lambda: lag(stack) < 3, "as it is without")
    break_(stack, SOURCE, Fault.LINK_SLOW, value=1024)
    stack.until(lambda: lag(stack) > 4, "the lag grows")
    mend(stack, SOURCE, Fault.LINK_SLOW)
    stack.until(lambda: lag(stack) < 3, "the lag is made up")


def test_fault_link_lossy_is_made_up_for(stack: Stack) -> None:
    break_(stack, TARGET, Fault.LINK_LOSSY, value=40)
    stack.await_cycles(ANY, 2)
    mend(stack, TARGET, Fault.LINK_LOSSY)
    heals(stack, ANY)


def test_fault_clock_skew_is_told_and_lag_stays_true(stack: Stack) -> None:
    break_(stack, SOURCE, Fault.CLOCK_SKEW, value=600)
    stack.until(lambda: abs(_skew(stack) - 600) <= 2, "the site shows its skew")
    heals(stack, ANY)
    stack.until(lambda: 0 <= lag(stack) < 5, "lag is told by one clock")
    mend(stack, SOURCE, Fault.CLOCK_SKEW)
    stack.until(lambda: abs(_skew(stack)) <= 2, "the skew is gone")
    heals(stack, ANY)
    stack.until(lambda: 0 <= lag(stack) < 5, "lag is still told by one clock")


def _skew(stack: Stack) -> float:
    return float((stack.object(SITE, SOURCE) or {}).get("status", {}).get("clockSkewSeconds", 0))


def test_fault_vmms_restart_leaves_the_inventory_unknown_and_no_vm_unprotected(stack: Stack) -> None:
    break_(stack, SOURCE, Fault.VMMS_RESTART, value=3)
    stack.await_condition(SITE, SOURCE, "InventorySynced", "Unknown", "Settling")
    assert stack.condition(VM, vm_name(ANY), "Protected")["status"] == "True"
    stack.await_condition(SITE, SOURCE, "Ready")
    heals(stack, ANY)


def test_after_all_faults_every_vm_is_protected_and_its_replica_is_what_its_guest_wrote(stack: Stack) -> None:
    for site in (SOURCE, TARGET):
        assert stack.site(site).ask(ask="faults")["faults"] == []
    for number in range(ANY, TWIN + 1):
        stack.await_protected(number)
    for number in (ANY, FULL, CRASHED, STUCK):
        # A point that is merged away meanwhile is looked for again.
        answer = stack.until(lambda number=number: replay(stack, number), "the replay of a point")  # type: ignore[misc]  # bound early
        assert answer["faults"] == []


def replay(stack: Stack, number: int) -> dict[str, Any]:
    """The newest point of a VM, compared with what its guest wrote."""
    newest = stack.site(TARGET).points(vm_id(number))[-1]["id"]
    disks = str(stack.folder / f"{SOURCE}.yaml")
    return stack.site(TARGET).ask(ask="replay", vmID=vm_id(number), point=newest, disks=disks)
