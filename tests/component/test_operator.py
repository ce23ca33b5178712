"""The operator on the real API server, with sites that do not answer: what people see, and what survives."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from secondsite.api.kinds import ALL_KINDS
from secondsite.sandbox.control_plane import ControlPlane
from secondsite.sandbox.kubectl import Kubectl
from support.operator import Objects, OperatorProcess, until

VAULT = """
apiVersion: secondsite.dev/v1alpha1
kind: RecoveryVault
metadata: {name: vault}
spec: {}
"""
SITE = """
apiVersion: secondsite.dev/v1alpha1
kind: VMMSite
metadata: {name: NAME}
spec: {vaultRef: {name: vault}, endpoint: "https://127.0.0.1:9"}
"""
POLICY = """
apiVersion: secondsite.dev/v1alpha1
kind: ReplicationPolicy
metadata: {name: gold}
spec:
  replicationIntervalSeconds: 30
  cloudPairs:
    - source: {siteRef: {name: newyork}, cloud: production}
      target: {siteRef: {name: chicago}, cloud: recovery}
"""
MAPPING = """
apiVersion: secondsite.dev/v1alpha1
kind: NetworkMapping
metadata: {name: red-blue}
spec:
  source: {siteRef: {name: newyork}, network: red}
  target: {siteRef: {name: chicago}, network: blue}
  addressMode: DHCP
"""
VM = """
apiVersion: secondsite.dev/v1alpha1
kind: ProtectedVM
metadata: {name: NAME}
spec:
  vm: {siteRef: {name: newyork}, cloud: production, name: NAME}
  policyRef: {name: gold}
"""
TEST = """
apiVersion: secondsite.dev/v1alpha1
kind: TestFailover
metadata: {name: drill}
spec: {protectedVMRefs: [{name: web}]}
"""
SITES = "---".join(SITE.replace("NAME", name) for name in ("newyork", "chicago"))
WEB, SQL = VM.replace("NAME", "web"), VM.replace("NAME", "sql")
EVERYTHING = f"{VAULT}---{SITES}---{POLICY}---{MAPPING}---{WEB}---{SQL}---{TEST}"

Start = Callable[..., OperatorProcess]


@pytest.fixture
def start(cluster: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Start]:
    """Starts operators; all are ended with the test."""
    running: list[OperatorProcess] = []

    def start(*options: str) -> OperatorProcess:
        operator = OperatorProcess(cluster.kubeconfig(), namespace, tmp_path, *options)
        operator.start()
        running.append(operator)
        return operator

    yield start
    for operator in running:
        if operator.running:
            operator.kill()


@pytest.fixture
def objects(cluster: ControlPlane, namespace: str) -> Objects:
    return Objects(cluster.kubeconfig(), namespace)


def test_every_kind_gets_its_conditions(start: Start, kubectl: Kubectl, objects: Objects) -> None:
    kubectl.apply(EVERYTHING)
    operator = start()
    for kind in ALL_KINDS:
        until(partial(objects.reported, kind.name), f"a report on every {kind.name}")
    until(operator.verified, "every object verified")
    for each in objects.items():
        conditions = {one["type"]: one for one in each["status"]["conditions"]}
        assert conditions["Ready"]["status"] != "True", "its sites do not answer"
        assert all(one["message"] and one["reason"] != "InternalError" for one in conditions.values())
        assert not any(one["lastTransitionTime"].startswith("1970") for one in conditions.values())
    assert not operator.logged("turn_failed")
    assert not operator.logged("status_refused")


def test_a_site_that_does_not_answer_is_unknown_and_nothing_is_claimed(
    start: Start, kubectl: Kubectl, objects: Objects, namespace: str
) -> None:
    kubectl.apply(EVERYTHING)
    operator = start()
    until(lambda: objects.condition("VMMSite", "newyork", "Reachable").get("status") == "False", "unreachable")
    until(operator.verified, "ready")
    samples = operator.metrics()
    of_site = f'{{site="newyork",site_namespace="{namespace}"}}'
    of_vm = f'{{vm="web",vm_namespace="{namespace}"}}'
    assert samples[f"secondsite_site_reachable{of_site}"] == 0.0
    assert samples[f"secondsite_protected_vm_protected{of_vm}"] == 0.0
    assert samples[f"secondsite_protected_vm_rpo_target_seconds{of_vm}"] == 90.0
    assert f"secondsite_protected_vm_last_recovery_point_timestamp_seconds{of_vm}" not in samples
    states = {name: value for name, value in samples.items() if name.startswith("secondsite_protected_vms{")}
    ours = {name: value for name, value in states.items() if f'policy_namespace="{namespace}"' in name}
    assert sum(ours.values()) == 2
    assert samples["secondsite_operator_unverified_objects"] == 0.0
    finalizers = objects.finalizers("ProtectedVM", "web")
    assert finalizers == [], "no command was sent, so nothing is owed"


def test_a_policy_that_comes_after_its_vms_wakes_them(start: Start, kubectl: Kubectl, objects: Objects) -> None:
    kubectl.apply(VAULT, SITES, WEB)
    start()
    until(lambda: objects.reported("ProtectedVM"), "a report")
    assert "rpoTargetSeconds" not in objects.status("ProtectedVM", "web")
    kubectl.apply(POLICY)
    until(lambda: objects.status("ProtectedVM", "web").get("rpoTargetSeconds") == 90, "the policy's target")


def test_a_changed_spec_is_taken_up_at_once(start: Start, kubectl: Kubectl, objects: Objects) -> None:
    kubectl.apply(VAULT, SITES, POLICY, WEB)
    start()
    until(lambda: objects.status("ProtectedVM", "web").get("rpoTargetSeconds") == 90, "the first target")
    kubectl("patch", "replicationpolicy", "gold", "--type=merge", "-p", '{"spec":{"rpo":{"targetSeconds":600}}}')
    until(lambda: objects.status("ProtectedVM", "web").get("rpoTargetSeconds") == 600, "the new target")
    until(lambda: objects.status("ReplicationPolicy", "gold").get("observedGeneration") == 2, "the new generation")


def test_a_wiped_or_strange_status_is_repaired_with_its_times(start: Start, kubectl: Kubectl, objects: Objects) -> None:
    kubectl.apply(VAULT, SITES, POLICY, WEB)
    operator = start()
    until(lambda: objects.condition("VMMSite", "newyork", "Reachable").get("status") == "False", "unreachable")
    until(operator.verified, "ready")
    before = until(lambda: objects.condition("VMMSite", "newyork", "Registered"), "a condition")

    patch = '[{"op": "remove", "path": "/status"}]'
    kubectl("patch", "vmmsite", "newyork", "--subresource=status", "--type=json", "-p", patch)
    until(lambda: objects.condition("VMMSite", "newyork", "Registered") == before, "the same condition again")

    lie = {"status": {"state": "Protected", "vmID": "a-lie"}}
    kubectl("patch", "protectedvm", "web", "--subresource=status", "--type=merge", "-p", json.dumps(lie))
    until(lambda: objects.status("ProtectedVM", "web").get("vmID") != "a-lie", "the lie is gone")
    assert objects.status("ProtectedVM", "web")["state"] != "Protected"


def test_others_who_write_meanwhile_neither_lose_nor_win(start: Start, kubectl: Kubectl, objects: Objects) -> None:
    kubectl.apply(VAULT, SITES)
    start()
    for number in range(15):
        kubectl("annotate", "vault", "vault", f"example.com/n={number}", "--overwrite")
        kubectl("label", "vmmsite", "newyork", f"n=v{number}", "--overwrite")
        lie = {"status": {"unprotectedVMs": number}}
        kubectl("patch", "vmmsite", "newyork", "--subresource=status", "--type=merge", "-p", json.dumps(lie))
    until(lambda: "unprotectedVMs" not in objects.status("VMMSite", "newyork"), "the truth stands there again")
    assert objects.get("RecoveryVault", "vault")["metadata"]["annotations"]["example.com/n"] == "14"
    until(lambda: "secondsite.dev/in-use" in objects.finalizers("RecoveryVault", "vault"), "the finalizer")


def test_what_was_deleted_while_the_operator_was_down_is_gone(
    start: Start, kubectl: Kubectl, objects: Objects, namespace: str
) -> None:
    kubectl.apply(VAULT, SITES, POLICY, WEB, SQL)
    operator = start()
    until(lambda: objects.status("ReplicationPolicy", "gold").get("protectedVMs") == 2, "two users")
    assert operator.stop() == 0
    kubectl("delete", "protectedvm", "sql")
    again = start()
    until(again.verified, "ready")
    until(lambda: objects.status("ReplicationPolicy", "gold").get("protectedVMs") == 1, "one user")
    assert not any('vm="sql"' in name and namespace in name for name in again.metrics())


def test_what_is_in_use_waits_for_its_users(start: Start, kubectl: Kubectl, objects: Objects) -> None:
    kubectl.apply(VAULT, SITES)
    start()
    until(lambda: "secondsite.dev/in-use" in objects.finalizers("RecoveryVault", "vault"), "the finalizer")
    kubectl("delete", "vault", "vault", "--wait=false")
    until(lambda: objects.reported("RecoveryVault"), "a report on the deletion")
    kubectl("delete", "vmmsite", "newyork")
    assert objects.get("RecoveryVault", "vault")
    kubectl("delete", "vmmsite", "chicago")
    until(lambda: not objects.get("RecoveryVault", "vault"), "the vault is gone")


def test_the_same_world_again_costs_no_write(start: Start, kubectl: Kubectl, objects: Objects, namespace: str) -> None:
    kubectl.apply(EVERYTHING)
    operator = start()
    until(lambda: objects.condition("VMMSite", "newyork", "Reachable").get("status") == "False", "unreachable")
    until(operator.verified, "ready")

    def versions() -> dict[str, str]:
        found = objects.items()
        return {f"{each['kind']}/{each['metadata']['name']}": each["metadata"]["resourceVersion"] for each in found}

    def unchanging() -> dict[str, str]:
        one = versions()
        return one if one == versions() else {}

    settled = until(unchanging, "nothing changes")
    assert operator.stop() == 0
    again = start()
    until(again.verified, "ready")
    until(lambda: again.metric(reachable(namespace)) is not None, "the sites are seen again")
    differing = {name for name, version in versions().items() if version != settled[name]}
    # A site's last contact may be told anew; what nothing happened to is not touched.
    assert not {name for name in differing if not name.startswith("VMMSite")}


def reachable(namespace: str) -> str:
    return f'secondsite_site_reachable{{site="newyork",site_namespace="{namespace}"}}'
