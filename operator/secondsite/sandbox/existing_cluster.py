"""A cluster that the user has (kind, k3d, a test cluster), reached through a context of the user's kubeconfig."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from secondsite.sandbox import credentials
from secondsite.sandbox.cluster import ADMIN, ClusterError
from secondsite.sandbox.kubectl import Kubectl, KubectlError

# The CRDs' CEL rules need what 1.33 brought.
_NEEDED_MINOR = 33
_TOKEN_DURATION = "24h"  # noqa: S105 - a duration, not a secret


class ExistingCluster:
    """The cluster of `context`, with our own kubectl and with kubeconfig files of our own below `directory`.

    Nothing in the cluster is started, stopped or removed. `users` (name → groups) are impersonated.
    """

    def __init__(
        self, directory: Path, binary: Path, context: str, *, users: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        self.directory = directory.absolute()
        self.context = context
        self._binary = binary.absolute()
        self._users = dict(users or {})

    @property
    def bin(self) -> Path:
        """A folder with an executable `kubectl`, for somebody's PATH."""
        return self.directory / "bin"

    @property
    def kubectl(self) -> Kubectl:
        """Calls kubectl as the user of the context."""
        return Kubectl(self._binary, self.kubeconfig(), self.directory / "cache")

    def kubeconfig(self, user: str = ADMIN) -> Path:
        """A kubeconfig file of the context's own user, or of a user who was named at construction (else KeyError)."""
        if user == ADMIN:
            return self.directory / "kubeconfig"
        view = self._view()
        person = {**view["user"], "as": user, "as-groups": list(self._users[user])}
        return self._write(user, credentials.kubeconfig(view["cluster"], person))

    def kubeconfig_for_service_account(self, namespace: str, name: str) -> Path:
        """A kubeconfig file with a token of this service account, valid for at most 24 hours.

        Raises KubectlError if the service account does not exist.
        """
        made = self.kubectl("create", "token", name, "--namespace", namespace, "--duration", _TOKEN_DURATION)
        person = {"token": made.stdout.strip()}
        user = credentials.service_account(namespace, name)
        return self._write(user, credentials.kubeconfig(self._view()["cluster"], person))

    def start(self) -> None:
        """Check that the cluster answers and is new enough; raises ClusterError."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            credentials.write_private(self.kubeconfig(), self._own_kubeconfig())
            self._check_version()
            self.kubectl.install(self.bin)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Remove the kubeconfig files; the cluster goes on."""
        for entry in (self.bin, self.directory / "cache", self.directory / "users"):
            shutil.rmtree(entry, ignore_errors=True)
        self.kubeconfig().unlink(missing_ok=True)
        if self.directory.exists() and not any(self.directory.iterdir()):
            self.directory.rmdir()

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    def _own_kubeconfig(self) -> str:
        """The context alone, with everything that it refers to, so that a later `use-context` changes nothing."""
        users_own = Kubectl(self._binary, None, self.directory / "cache")
        try:
            return users_own("config", "view", "--minify", "--flatten", "--raw", "--context", self.context).stdout
        except KubectlError as error:
            known = users_own("config", "get-contexts", "-o", "name", check=False).stdout.split()
            raise ClusterError(
                f"The kubeconfig has no context {self.context!r}",
                f"It has: {', '.join(known) or 'none'}. Set KUBECONFIG if it is another file.",
            ) from error

    def _check_version(self) -> None:
        try:
            server = json.loads(self.kubectl("get", "--raw", "/version", "--request-timeout=10s").stdout)
        except KubectlError as error:
            raise ClusterError(
                f"The cluster of context {self.context!r} does not answer: {error.stderr.strip()}",
                "Start it, or name another context.",
            ) from error
        if int(server["minor"].rstrip("+")) < _NEEDED_MINOR:
            raise ClusterError(
                f"The cluster of context {self.context!r} is Kubernetes {server['gitVersion']}",
                f"Secondsite needs 1.{_NEEDED_MINOR} or newer.",
            )

    def _view(self) -> dict[str, Any]:
        whole = self.kubectl.json("config", "view", "--raw")
        return {"cluster": whole["clusters"][0]["cluster"], "user": whole["users"][0]["user"]}

    def _write(self, user: str, text: str) -> Path:
        return credentials.write_private(self.directory / "users" / credentials.file_name(user), text)
