"""Who may do what, by the roles of deploy/, on a real API server."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
import yaml

from secondsite.sandbox import assets
from secondsite.sandbox.control_plane import ControlPlane
from secondsite.sandbox.kubectl import Kubectl
from support.control_plane import OPERATOR, ROOT

pytestmark = pytest.mark.xdist_group("rbac")

# Whose cluster role, bound in the test's namespace.
PEOPLE = {
    "vera": "secondsite-view",
    "ed": "secondsite-edit",
    "rita": "secondsite-recovery",
    "victor": "view",
    "edith": "edit",
    "adam": "admin",
}
VAULT = {"apiVersion": "secondsite.dev/v1alpha1", "kind": "RecoveryVault", "metadata": {"name": "vault"}}
TEST = {
    "apiVersion": "secondsite.dev/v1alpha1",
    "kind": "TestFailover",
    "metadata": {"name": "rehearsal"},
    "spec": {"protectedVMRefs": [{"name": "web01"}]},
}


@pytest.fixture(scope="module")
def installed(cluster: ControlPlane) -> Kubectl:
    """The cluster with everything of deploy/ but the operator itself."""
    cluster.kubectl.apply(assets.dump(assets.install()))
    deadline = time.monotonic() + 30
    while not cluster.kubectl.json("get", "clusterrole", "secondsite-recovery").get("rules"):
        assert time.monotonic() < deadline, "the role secondsite-recovery is never aggregated"
        time.sleep(0.1)
    return cluster.kubectl


@pytest.fixture
def bound(installed: Kubectl, kubectl: Kubectl) -> Kubectl:
    for person, role in PEOPLE.items():
        kubectl("create", "rolebinding", person, f"--clusterrole={role}", f"--user={person}")
    # The authorizer hears of a binding a moment later; bindings are heard of in their order.
    deadline = time.monotonic() + 30
    while tries(kubectl, "adam", "get", "vault").returncode:
        assert time.monotonic() < deadline, "the last binding is never in force"
        time.sleep(0.05)
    return kubectl


def tries(kubectl: Kubectl, person: str, *arguments: str, body: object = None) -> subprocess.CompletedProcess[str]:
    stdin = None if body is None else yaml.safe_dump(body)
    return kubectl(*arguments, "--as", person, stdin=stdin, check=False)


def may(kubectl: Kubectl, person: str, *arguments: str, body: object = None) -> None:
    done = tries(kubectl, person, *arguments, body=body)
    assert done.returncode == 0, f"{person} may not {arguments}: {done.stderr}"


def may_not(kubectl: Kubectl, person: str, *arguments: str, body: object = None) -> None:
    done = tries(kubectl, person, *arguments, body=body)
    assert done.returncode != 0, f"{person} may {arguments}"
    assert "Forbidden" in done.stderr or "forbidden" in done.stderr


@pytest.mark.parametrize("person", ["vera", "victor"])
def test_viewers_see_everything_and_change_nothing(bound: Kubectl, person: str) -> None:
    bound("create", "-f", "-", stdin=yaml.safe_dump(VAULT))
    may(bound, person, "get", "secondsite")
    may_not(bound, person, "create", "-f", "-", body=TEST)
    may_not(bound, person, "patch", "vault", "vault", "--type=merge", "-p", '{"spec":{"limits":{"failovers":7}}}')
    may_not(bound, person, "delete", "vault", "vault")


@pytest.mark.parametrize("person", ["ed", "edith", "adam"])
def test_editors_declare_but_start_no_test(bound: Kubectl, person: str) -> None:
    may(bound, person, "create", "-f", "-", body=VAULT)
    may(bound, person, "patch", "vault", "vault", "--type=merge", "-p", '{"spec":{"limits":{"failovers":7}}}')
    may_not(bound, person, "create", "-f", "-", body=TEST)
    bound("create", "-f", "-", stdin=yaml.safe_dump(TEST))
    may(bound, person, "get", "tfo", "rehearsal")
    may_not(bound, person, "patch", "tfo", "rehearsal", "--type=merge", "-p", '{"spec":{"cleanup":{"requested":true}}}')
    may(bound, person, "delete", "vault", "vault")


def test_the_recovery_team_tests_but_declares_nothing(bound: Kubectl) -> None:
    may(bound, "rita", "create", "-f", "-", body=TEST)
    may(bound, "rita", "get", "secondsite")
    may(bound, "rita", "patch", "tfo", "rehearsal", "--type=merge", "-p", '{"spec":{"cleanup":{"requested":true}}}')
    may(bound, "rita", "delete", "tfo", "rehearsal")
    may_not(bound, "rita", "create", "-f", "-", body=VAULT)


def test_nobody_writes_a_status_by_hand(bound: Kubectl) -> None:
    bound("create", "-f", "-", stdin=yaml.safe_dump(VAULT))
    for person in PEOPLE:
        may_not(bound, person, "patch", "vault", "vault", "--subresource=status", "--type=merge", "-p", '{"status":{}}')


def test_the_operator_reads_secrets_in_its_own_namespace_only(
    installed: Kubectl, cluster: ControlPlane, kubectl: Kubectl
) -> None:
    kubectl("create", "secret", "generic", "passwords", "--from-literal=root=1234")
    operator = kubectl.with_kubeconfig(cluster.kubeconfig_for_service_account(*OPERATOR))
    at_home = operator.within(OPERATOR[0])
    assert at_home("create", "secret", "generic", "ours", "--from-literal=a=b").returncode == 0
    assert at_home("get", "secret", "ours").returncode == 0
    assert at_home("delete", "secret", "ours").returncode == 0
    refused(at_home, "get", "secrets")
    refused(operator, "get", "secret", "passwords")
    refused(operator, "get", "secrets")
    refused(operator, "create", "secret", "generic", "theirs", "--from-literal=a=b")


def test_the_operator_can_neither_declare_nor_remove_nor_help_itself_to_rights(
    installed: Kubectl, cluster: ControlPlane, kubectl: Kubectl
) -> None:
    kubectl("create", "-f", "-", stdin=yaml.safe_dump(VAULT))
    kubectl("create", "-f", "-", stdin=yaml.safe_dump(TEST))
    operator = kubectl.with_kubeconfig(cluster.kubeconfig_for_service_account(*OPERATOR))
    assert operator("get", "secondsite").returncode == 0
    refused(operator, "delete", "vault", "vault")
    refused(operator, "create", "-f", "-", stdin=yaml.safe_dump({**VAULT, "metadata": {"name": "second"}}))
    refused(operator, "get", "namespaces")
    refused(operator, "get", "crd")
    refused(operator, "get", "pods")
    refused(operator, "create", "clusterrolebinding", "mine", "--clusterrole=cluster-admin", "--user=mallory")
    refused(operator, "create", "token", OPERATOR[1])
    assert operator("delete", "tfo", "rehearsal").returncode == 0


def refused(kubectl: Kubectl, *arguments: str, stdin: str | None = None) -> None:
    done = kubectl(*arguments, stdin=stdin, check=False)
    assert done.returncode != 0, f"allowed: {arguments}"
    assert "orbidden" in done.stderr, done.stderr


def test_the_pod_of_the_deployment_is_admitted_where_only_restricted_ones_are(installed: Kubectl) -> None:
    deployment = assets.named(assets.load(assets.INSTALL), "Deployment")["secondsite-operator"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "try", "namespace": OPERATOR[0]},
        "spec": deployment["spec"]["template"]["spec"],
    }
    ours = installed.within(OPERATOR[0])
    assert ours("create", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump(pod)).returncode == 0
    pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    lax = ours("create", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump(pod), check=False)
    assert "violates PodSecurity" in lax.stderr


def test_kustomize_gives_the_same_objects_as_the_one_file(cluster: ControlPlane) -> None:
    made = cluster.kubectl("kustomize", str(ROOT / "deploy" / "base")).stdout

    def by_name(text: str) -> dict[tuple[str, str], object]:
        found = [document for document in yaml.safe_load_all(text) if document]
        return {(document["kind"], document["metadata"]["name"]): document for document in found}

    assert by_name(made) == by_name(Path(assets.INSTALL).read_text())
