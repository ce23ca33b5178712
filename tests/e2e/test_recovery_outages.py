"""Programs that stop, fall silent or come back while others go on: what is known then, and what is not done."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from secondsite.controller.kube import LEASES
from secondsite.controller.lease import NAME as LEASE
from secondsite.controller.main import EXIT_LEASE_LOST
from secondsite.sandbox.cluster import install_crds
from secondsite.sandbox.control_plane import ControlPlane
from secondsite.wire import inventory
from secondsite.wire.facts import Relation
from support.control_plane import OPERATOR as SERVICE_ACCOUNT
from support.control_plane import ROOT
from support.stack import Options, Stack
from support.stack_api import KINDS, MAPPING, POLICY, SITE, TEST, VAULT, VM, condition
from support.stack_centres import SOURCE, TARGET, vm_id, vm_name
from support.stack_truth import faults_of_points

ENABLE = {SOURCE: 2, TARGET: 2}
"""Operations that protecting one VM begins: PrepareReplica, EnableReplication, ConfigureReplica, StartInitial…"""


@pytest.fixture(scope="module")
def stack(cluster: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(cluster, tmp_path_factory.mktemp("stack"), Options(vms=8)) as running:
        running.protect(1, 2)
        running.settle(1, 2)
        yield running


def more(begun: dict[str, int], times: int = 1) -> dict[str, int]:
    """The count after so many VMs more, with nothing done twice or in vain."""
    return {site: begun[site] + times * ENABLE[site] for site in begun}


@pytest.mark.parametrize("site", [SOURCE, TARGET])
def test_an_agent_that_comes_back_goes_on_and_nobody_needs_to_help(stack: Stack, site: str) -> None:
    stack.settle(1, 2)
    epoch = stack.vm(1)["status"]["epoch"]
    stack.agents[site].kill()
    stack.await_condition(SITE, site, "Reachable", "False")
    # A minute's silence is no news for its VMs.
    assert stack.condition(VM, vm_name(1), "Protected")["status"] == "True"
    assert stack.condition(VM, vm_name(1), "SitesReachable")["status"] == "True"
    stack.agents[site].start()
    stack.await_condition(SITE, site, "Ready")
    stack.await_cycles(1)
    stack.settle(1, 2)
    assert stack.vm(1)["status"]["epoch"] == epoch
    # If a cycle failed meanwhile it was resumed; nothing was enabled or copied anew.
    for name in (SOURCE, TARGET):
        done = {op.verb for op in stack.tell(name).operations(vm_id(1))}
        assert done <= {"PrepareReplica", "EnableReplication", "ConfigureReplica", "StartInitialReplication", "Resume"}
        assert stack.tell(name).twice() == []
    assert faults_of_points(stack, 1)[1] == []


def test_of_two_operators_one_acts_and_the_other_takes_over_without_doing_it_again(stack: Stack) -> None:
    begun = stack.settle(1, 2)
    with stack.second_operator() as other:
        stack.until(other.ready, "the second is a standby")
        assert stack.operator.leads()
        assert not other.leads()
        stack.protect(3)
        assert stack.settle(3) == more(begun)
        assert other.logged("command_sent") == []

        stack.operator.kill()
        stack.until(other.leads, "the second has taken over")
        stack.until(lambda: other.metrics().get("secondsite_operator_unverified_objects") == 0, "all is verified")
        assert stack.settle(1, 2, 3) == more(begun)
        stack.protect(4)
        assert stack.settle(4) == more(begun, 2)
        stack.operator.start()
        stack.until(stack.operator.ready, "the first is back, as a standby")
        assert not stack.operator.leads()
    stack.until(stack.operator.leads, "the first leads again", 15)
    assert stack.settle(1, 2, 3, 4) == more(begun, 2)


def test_an_operator_that_slept_sends_nothing_more(stack: Stack) -> None:
    begun = stack.settle(1)
    sleeper = stack.operator
    with stack.second_operator() as other:
        stack.until(other.ready, "the second is a standby")
        sleeper.signal(signal.SIGSTOP)
        stack.until(other.leads, "the second has taken over")
        stack.protect(5)
        assert stack.settle(5) == more(begun)
        sent = len(sleeper.logged("command_sent"))
        sleeper.signal(signal.SIGCONT)
        assert sleeper.wait(15) == EXIT_LEASE_LOST
        assert len(sleeper.logged("command_sent")) == sent
        assert stack.settle(1, 5) == more(begun)
        sleeper.start()
    stack.until(sleeper.leads, "the first leads again", 15)
    assert stack.settle(1, 5) == more(begun)


def test_a_deleted_lease_costs_nothing_but_a_term(stack: Stack) -> None:
    begun, term = stack.settle(1), stack.lease()["leaseTransitions"]
    stack.api.delete(LEASES, stack.system, LEASE)
    stack.until(lambda: stack.lease().get("leaseTransitions", 0) > term, "a higher term")
    stack.protect(6)
    assert stack.settle(6) == more(begun)
    assert stack.operator.leads()
    fence = stack.site(TARGET).info().fence
    assert fence
    assert fence.term == stack.lease()["leaseTransitions"]


@pytest.mark.timeout(200)
def test_silence_is_unknown_and_nothing_is_destroyed_for_it(stack: Stack) -> None:
    begun = stack.settle(1, 2)
    points = {number: {p["id"] for p in stack.site(TARGET).points(vm_id(number))} for number in (1, 2)}
    stack.agents[TARGET].kill()
    silent = time.monotonic()
    stack.await_condition(SITE, TARGET, "Reachable", "False")
    assert stack.condition(SITE, SOURCE, "Reachable")["status"] == "True"
    stack.delete(VM, vm_name(2))
    # Its source lets go; its target cannot be asked, so the object stays and says for whom it waits.

    def blocked_by() -> str:
        return str(stack.vm(2)["status"].get("deletion", {}).get("blockedBy"))

    stack.until(lambda: TARGET in blocked_by(), "the deletion names the site for which it waits")
    assert stack.vm(2)["metadata"]["finalizers"] == ["secondsite.dev/release"]
    assert stack.relation(SOURCE, 2) is None
    during = stack.condition(VM, vm_name(1), "Protected")
    assert during["status"] in ("True", "False"), "a minute's silence is not yet Unknown"

    found = stack.await_condition(VM, vm_name(1), "Protected", "Unknown", seconds=75)
    assert time.monotonic() - silent > 55
    assert TARGET in found["message"]
    assert stack.vm(1)["status"]["state"] == "Unknown"
    assert stack.condition(VM, vm_name(1), "SitesReachable")["status"] == "False"
    assert stack.site_metric("secondsite_site_reachable", TARGET) == 0
    # Its lag goes on being told: it is what alerts live on.
    told = stack.vm_metric("secondsite_protected_vm_last_recovery_point_timestamp_seconds", 1)
    last = datetime.fromisoformat(stack.vm(1)["status"]["lastRecoveryPoint"]["sourceTime"])
    assert told == pytest.approx(last.timestamp(), abs=1)
    verbs = {op.verb for op in stack.tell(SOURCE).operations(vm_id(1))}
    assert verbs <= {"EnableReplication", "StartInitialReplication", "Resume"}

    stack.agents[TARGET].start()
    stack.await_condition(SITE, TARGET, "Ready", seconds=45)
    stack.await_condition(VM, vm_name(1), "Ready", seconds=45)
    stack.await_gone(VM, vm_name(2), 45)
    kept = {p["id"] for p in stack.site(TARGET).points(vm_id(1))}
    assert kept, "points are there"
    assert points[1]
    assert stack.begun()[TARGET] == begun[TARGET] + 1, "one DisableReplication, for the VM that was deleted"
    assert faults_of_points(stack, 1)[1] == []


def test_a_rehearsal_outlives_the_death_of_its_site_and_is_cleaned_up(stack: Stack) -> None:
    stack.settle(1)
    closed = {"name": "closed", "type": "TCP", "vm": vm_name(1), "port": 9999, "periodSeconds": 1, "timeoutSeconds": 6}
    stack.test("interrupted", 1, checks=[closed])

    def checking() -> bool:
        operations = stack.tell(TARGET).operations(vm_id(1))
        return any(op.verb == "CheckTestVM" and op.state == "Running" for op in operations)

    stack.until(checking, "the check is being made")
    stack.agents[TARGET].kill()
    stack.agents[TARGET].start()
    # Broken off is not failed: it is asked again, and then really fails.
    stack.await_condition(TEST, "interrupted", "Complete", reason="Failed", seconds=45)
    states = [op.state for op in stack.tell(TARGET).operations(vm_id(1)) if op.verb == "CheckTestVM"]
    assert sorted(states) == ["Failed", "Interrupted"]
    assert stack.condition(TEST, "interrupted", "ChecksPassed")["status"] == "False"
    assert stack.condition(TEST, "interrupted", "CleanedUp")["status"] == "True"
    told = stack.tell(TARGET)
    half = told.relation(vm_id(1))
    assert half
    assert half.test_vm is None
    assert told.all(inventory.TestNetwork) == {}
    stack.await_cycles(1)
    stack.delete(TEST, "interrupted")
    stack.await_gone(TEST, "interrupted")


def test_objects_deleted_in_the_worst_order_all_go(stack: Stack) -> None:
    """The last test on this stack."""
    numbers = [int(item["metadata"]["name"].removeprefix("vm")) for item in stack.api.list(VM, stack.namespace)]
    stack.settle(*numbers)
    stack.test("rehearsal", *numbers, cleanup={"mode": "Manual"})
    stack.await_condition(TEST, "rehearsal", "Ready")
    # What others depend on first, the test last.
    for kind in (VAULT, SITE, POLICY, MAPPING, VM, TEST):
        stack.kubectl("delete", kind.plural, "--all", "--wait=false")
    for kind in KINDS:
        stack.until(lambda kind=kind: not stack.api.list(kind, stack.namespace), f"no {kind.kind} is left", 45)  # type: ignore[misc]
    for site in (SOURCE, TARGET):
        told = stack.tell(site)
        assert told.all(Relation) == {}
        assert told.all(inventory.TestNetwork) == {}
        assert told.twice() == []


@pytest.mark.timeout(300)
def test_replication_outlives_the_api_server_and_wishes_are_taken_up_after_it(binary: Path, tmp_path: Path) -> None:
    with ControlPlane(tmp_path / "control-plane", binary, service_accounts=[SERVICE_ACCOUNT]) as control_plane:
        install_crds(control_plane.kubectl, ROOT / "crds")
        (tmp_path / "stack").mkdir()
        with Stack(control_plane, tmp_path / "stack", Options(vms=2)) as stack:
            stack.protect(1)
            begun = stack.settle(1)
            control_plane.kill_apiserver()
            stack.until(lambda: not stack.operator.leads(), "commands stop with the Lease")
            stack.await_cycles(1, 3)
            assert stack.site_metric("secondsite_site_reachable", TARGET) == 1
            # An agent that dies now finds its way back alone.
            stack.agents[SOURCE].kill()
            stack.agents[SOURCE].start()
            stack.await_cycles(1, 2)
            control_plane.restart_apiserver()
            stack.until(stack.operator.leads, "it leads again")
            assert stack.settle(1) == begun
            stack.protect(2)
            assert stack.settle(2) == more(begun)
            assert stack.operator.running
            ready = condition(stack.object(VAULT, "vault"), "Ready")
            assert ready["status"] == "True"
