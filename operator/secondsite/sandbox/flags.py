"""The command lines of the control plane's parts. All paths are relative to the folder that the parts run in."""

from __future__ import annotations

from pathlib import Path

TOKENS = "tokens.csv"
SERVICE_ACCOUNT_KEY = "service-account.key"
CERTIFICATES = "certificates"

# Sockets in a folder that only its owner can enter, because etcd asks nobody who they are. The port is part of the
# file's name: etcd insists on one.
_ETCD = "unix://etcd:2379"
_ETCD_PEER = "unix://etcd:2380"

# Without these a deleted namespace stays for ever, dependants outlive their owners, and aggregated roles are empty.
_CONTROLLERS = (
    "namespace-controller",
    "garbage-collector-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "clusterrole-aggregation-controller",
)


def etcd() -> list[str]:
    """One member, no peers."""
    return ["--data-dir=etcd", f"--listen-client-url={_ETCD}", f"--listen-peer-url={_ETCD_PEER}"]


def apiserver(port: int) -> list[str]:
    """Loopback only; users by token, RBAC; it signs its own certificate at its first start."""
    return [
        f"--etcd-servers={_ETCD}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={CERTIFICATES}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={SERVICE_ACCOUNT_KEY}",
        f"--service-account-signing-key-file={SERVICE_ACCOUNT_KEY}",
        "--service-cluster-ip-range=10.0.0.0/24",
        f"--token-auth-file={TOKENS}",
        "--authorization-mode=RBAC",
        # There are no nodes: a Deployment may be applied, its pods will never run.
        "--disable-admission-plugins=ServiceAccount",
        "--endpoint-reconciler-type=none",
    ]


def controller_manager(kubeconfig: Path) -> list[str]:
    """Only the controllers that objects without nodes need; one instance, so no election."""
    return [
        f"--kubeconfig={kubeconfig}",
        f"--controllers={','.join(_CONTROLLERS)}",
        f"--service-account-private-key-file={SERVICE_ACCOUNT_KEY}",
        "--leader-elect=false",
        "--secure-port=0",
    ]
