"""The sandbox's control plane, started for real."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from secondsite.sandbox import control_plane as module
from secondsite.sandbox.cluster import ClusterError
from secondsite.sandbox.control_plane import ControlPlane, free_port
from secondsite.sandbox.existing_cluster import ExistingCluster
from secondsite.sandbox.keeper import Keeper
from secondsite.sandbox.kubectl import Kubectl, KubectlError
from support.control_plane import OPERATOR, ROOT

PARTS = {"etcd", "apiserver", "controller-manager"}
WIDGETS = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.test.secondsite.dev"},
    "spec": {
        "group": "test.secondsite.dev",
        "scope": "Namespaced",
        "names": {"kind": "Widget", "plural": "widgets"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {"size": {"type": "integer", "description": "How large it is."}},
                            }
                        },
                    }
                },
            }
        ],
    },
}
PARENT = """
import json, sys
from pathlib import Path
from secondsite.sandbox.control_plane import ControlPlane
control_plane = ControlPlane(Path(sys.argv[1]), Path(sys.argv[2]))
control_plane.start()
print(json.dumps(control_plane.pids), flush=True)
sys.stdin.read()
"""


def eventually(what: str, condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def open_to_others(directory: Path) -> list[Path]:
    return [path for path in (directory, *directory.rglob("*")) if stat.S_IMODE(path.lstat().st_mode) & 0o077]


@pytest.fixture
def own(binary: Path, tmp_path: Path) -> Iterator[ControlPlane]:
    """A control plane that a test may maltreat; not yet started."""
    control_plane = ControlPlane(tmp_path / "own", binary)
    yield control_plane
    control_plane.stop()


def test_stop_leaves_nothing_behind(own: ControlPlane) -> None:
    own.start()
    pids = own.pids
    assert set(pids) == PARTS
    assert own.dead() == {}
    secrets = (own.kubeconfig(), own.bin, own.directory / "state", own.directory / "logs")
    assert [path for secret in secrets for path in open_to_others(secret)] == []
    assert stat.S_IMODE(own.directory.stat().st_mode) == 0o700
    listening = {
        (connection.laddr.ip, connection.laddr.port)
        for pid in pids.values()
        for connection in psutil.Process(pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {("127.0.0.1", own.port)}

    own.stop()

    assert not own.directory.exists()
    assert all(gone(pid) for pid in pids.values())
    own.stop()


def test_a_folder_that_was_there_stays_and_is_emptied(binary: Path, tmp_path: Path) -> None:
    directory, logs = tmp_path / "mine", tmp_path / "logs"
    directory.mkdir()
    with ControlPlane(directory, binary, logs=logs):
        assert any(directory.iterdir())
    assert list(directory.iterdir()) == []
    assert {log.stem for log in logs.iterdir()} == PARTS

    (directory / "precious").touch()
    with pytest.raises(ClusterError, match="is not empty"):
        ControlPlane(directory, binary).start()
    assert (directory / "precious").exists()


def test_all_parts_end_when_their_starter_is_killed(binary: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path / "orphaned"), str(binary)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as starter:
        assert starter.stdout
        pids = json.loads(starter.stdout.readline())
        assert set(pids) == PARTS
        starter.send_signal(signal.SIGKILL)
    try:
        eventually("all parts gone", lambda: all(gone(pid) for pid in pids.values()))
    finally:
        for pid in [pid for pid in pids.values() if not gone(pid)]:
            os.kill(pid, signal.SIGKILL)


def test_a_killed_api_server_returns_with_its_data_on_its_port(own: ControlPlane) -> None:
    # Started by a thread that has ended: the parts belong to the process, not to the thread.
    thread = threading.Thread(target=own.start)
    thread.start()
    thread.join()
    own.kubectl("create", "configmap", "kept", "--from-literal=a=b")
    url, before = own.url, own.pids["apiserver"]

    own.kill_apiserver()
    assert set(own.dead()) == {"apiserver"}
    with pytest.raises(KubectlError, match="refused"):
        own.kubectl("get", "configmap", "kept")
    own.restart_apiserver()

    assert (own.url, own.dead()) == (url, {})
    assert own.pids["apiserver"] != before
    assert own.kubectl.json("get", "configmap", "kept")["data"] == {"a": "b"}
    # The controllers have found the new API server.
    own.kubectl("create", "namespace", "brief")
    own.kubectl("delete", "namespace", "brief", "--timeout=60s")


def test_a_port_lost_to_another_process_is_replaced(own: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as thief:
        ports = iter([thief.getsockname()[1], free_port()])
        monkeypatch.setattr(module, "free_port", lambda: next(ports))
        own.start()
        assert own.port != thief.getsockname()[1]
        assert own.kubectl("get", "--raw", "/readyz").stdout == "ok"


def test_a_start_that_fails_says_why_and_leaves_nothing(binary: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text(f'#!/bin/sh\n[ "$1" = apiserver ] && set -- "$@" --no-such-flag\nexec {binary} "$@"\n')
    broken.chmod(0o700)
    with pytest.raises(ClusterError, match=r"apiserver ended while starting: .*no-such-flag") as failure:
        ControlPlane(tmp_path / "it", broken, logs=tmp_path / "logs").start()
    assert str(tmp_path / "logs" / "apiserver.log") in str(failure.value)
    assert not (tmp_path / "it").exists()
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(broken) in (p.info["cmdline"] or [])]


def test_kubectl_gets_and_explains_and_names_unknown_fields(kubectl: Kubectl) -> None:
    kubectl.apply(yaml.safe_dump(WIDGETS))
    kubectl("wait", "--for=condition=Established", "crd/widgets.test.secondsite.dev", "--timeout=30s")
    widget = {"apiVersion": "test.secondsite.dev/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 3}}
    kubectl.apply(yaml.safe_dump(widget))
    assert kubectl.json("get", "widgets")["items"][0]["spec"] == {"size": 3}
    eventually("explained", lambda: "How large it is." in kubectl("explain", "widget.spec", check=False).stdout)
    with pytest.raises(KubectlError, match=r"spec\.sise"):
        kubectl("create", "-f", "-", stdin=yaml.safe_dump({**widget, "spec": {"sise": 3}}))
    assert kubectl("version").stdout.count("v1.36.") == 2


def test_the_products_crds_are_served(cluster: ControlPlane, kubectl: Kubectl) -> None:
    names = cluster.kubectl("api-resources", "--api-group=secondsite.dev", "-o", "name").stdout.split()
    files = list((ROOT / "crds").glob("*.yaml"))
    assert sorted(names) == sorted(yaml.safe_load(file.read_text())["metadata"]["name"] for file in files)
    assert kubectl("get", "secondsite").stderr.startswith("No resources found")


def test_a_service_account_is_bound_by_its_rbac(control_plane: ControlPlane, kubectl: Kubectl) -> None:
    namespace, name = OPERATOR
    operator = kubectl.with_kubeconfig(control_plane.kubeconfig_for_service_account(namespace, name))
    who = operator.json("auth", "whoami")["status"]["userInfo"]
    assert who["username"] == f"system:serviceaccount:{namespace}:{name}"
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]
    assert sorted(who["groups"]) == sorted(groups)
    with pytest.raises(KubectlError, match=r"(?i)forbidden"):
        operator("get", "configmaps")
    kubectl("create", "role", "reader", "--verb=get,list", "--resource=configmaps")
    kubectl("create", "rolebinding", "reader", "--role=reader", f"--serviceaccount={namespace}:{name}")
    eventually("allowed", lambda: operator("get", "configmaps", check=False).returncode == 0)
    with pytest.raises(KubectlError, match=r"(?i)forbidden"):
        operator("create", "configmap", "no")
    with pytest.raises(KeyError):
        control_plane.kubeconfig_for_service_account(namespace, "stranger")


def test_a_deleted_namespace_goes_away(control_plane: ControlPlane) -> None:
    kubectl = control_plane.kubectl
    kubectl("create", "namespace", "short-lived")
    kubectl("create", "configmap", "inside", "--namespace=short-lived")
    kubectl("delete", "namespace", "short-lived", "--timeout=60s")
    assert "short-lived" not in kubectl("get", "namespaces", "-o", "name").stdout


def test_aggregated_roles_are_filled(control_plane: ControlPlane) -> None:
    kubectl = control_plane.kubectl
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole"}
    rule = {"apiGroups": ["test.secondsite.dev"], "resources": ["gadgets"], "verbs": ["get"]}
    part = {**role, "metadata": {"name": "part", "labels": {"test.secondsite.dev/aggregate": "yes"}}, "rules": [rule]}
    selector = {"matchLabels": {"test.secondsite.dev/aggregate": "yes"}}
    whole = {**role, "metadata": {"name": "whole"}, "aggregationRule": {"clusterRoleSelectors": [selector]}}
    kubectl.apply(yaml.safe_dump_all([part, whole]))
    eventually("rules", lambda: kubectl.json("get", "clusterrole", "whole").get("rules") == [rule])


def test_the_installed_kubectl_needs_no_environment(control_plane: ControlPlane) -> None:
    done = subprocess.run(
        [control_plane.bin / "kubectl", "get", "namespaces", "-o", "name"],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "namespace/kube-system" in done.stdout.split()


def test_an_existing_cluster_serves_as_well(
    control_plane: ControlPlane, binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(control_plane.kubeconfig()))
    directory = tmp_path / "existing"
    with ExistingCluster(directory, binary, "secondsite-sandbox", users={"carol": ["auditors"]}) as existing:
        assert "namespace/default" in existing.kubectl("get", "namespaces", "-o", "name").stdout
        carol = existing.kubectl.with_kubeconfig(existing.kubeconfig("carol")).json("auth", "whoami")
        assert carol["status"]["userInfo"]["username"] == "carol"
        assert "auditors" in carol["status"]["userInfo"]["groups"]
        eventually("account", lambda: "default" in existing.kubectl("get", "sa", "-n", "default", "-o", "name").stdout)
        account = existing.kubectl.with_kubeconfig(existing.kubeconfig_for_service_account("default", "default"))
        answer = account.json("auth", "whoami")["status"]["userInfo"]["username"]
        assert answer == "system:serviceaccount:default:default"
        assert open_to_others(directory / "users") == []
    assert not directory.exists()
    with pytest.raises(ClusterError, match=r"no context 'nowhere'.*It has: secondsite-sandbox"):
        ExistingCluster(directory, binary, "nowhere").start()
    assert not directory.exists()


def test_what_dies_is_started_again_and_keeps_its_data(tmp_path: Path, binary: Path) -> None:
    with ControlPlane(tmp_path / "it", binary) as own:
        own.kubectl("create", "configmap", "kept", "--from-literal=a=b")
        for name in ("etcd", "apiserver", "controller-manager"):
            os.kill(own.pids[name], signal.SIGKILL)
        keeper = Keeper(own)
        keeper.start()
        try:

            def kept() -> bool:
                return own.kubectl("get", "configmap", "kept", check=False).returncode == 0

            eventually("everything is there again", lambda: not own.dead() and kept(), 60)
        finally:
            keeper.stop()
