"""What the sandbox asks of a cluster, be it our own control plane or one that the user has."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from secondsite.errors import SecondsiteError
from secondsite.sandbox.kubectl import Kubectl

ADMIN = "admin"


class ClusterError(SecondsiteError):
    """A cluster did not start, died, or cannot be used."""


class Cluster(Protocol):
    """A Kubernetes API to run the sandbox in. `start` and `stop` do nothing that the cluster does not need."""

    @property
    def kubectl(self) -> Kubectl:
        """Calls kubectl as the administrator."""
        ...

    @property
    def bin(self) -> Path:
        """A folder with an executable `kubectl`, for somebody's PATH."""
        ...

    def kubeconfig(self, user: str = ADMIN) -> Path:
        """A kubeconfig file of the administrator, or of a user who was named at construction."""
        ...

    def kubeconfig_for_service_account(self, namespace: str, name: str) -> Path:
        """A kubeconfig file with which a process runs under the RBAC of this service account."""
        ...

    def start(self) -> None:
        """Return when the API answers; raises ClusterError."""
        ...

    def stop(self) -> None:
        """Remove what `start` made. May be called more than once."""
        ...

    def __enter__(self) -> Self:
        """Start."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        ...


def install_crds(kubectl: Kubectl, folder: Path) -> None:
    """Apply all CRDs of `folder` and return when the API server serves them. Raises KubectlError."""
    kubectl.apply(folder)
    kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", str(folder))
