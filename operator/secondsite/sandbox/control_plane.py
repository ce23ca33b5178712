"""Starts and stops a real Kubernetes control plane of our own: etcd, API server and a few controllers on loopback."""

from __future__ import annotations

import base64
import http.client
import random
import shutil
import socket
import ssl
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from secondsite.sandbox import credentials, flags
from secondsite.sandbox.cluster import ADMIN, ClusterError
from secondsite.sandbox.component import Component, Lifeline
from secondsite.sandbox.kubectl import Kubectl

_READY_SECONDS = 90.0
_POLL_SECONDS = 0.05
_PORT_ATTEMPTS = 5
# Below the range from which kernels take the ports of outgoing connections: nobody gets ours by chance meanwhile.
_PORTS = range(20000, 32000)
_LOST_PORT = "address already in use"
_SYSTEM_NAMESPACES = ("default", "kube-system")


class ControlPlane:
    """A control plane under one folder, which must be absent or empty.

    `users` (name → groups) and `service_accounts` ((namespace, name) pairs) are whom the API server knows besides
    the administrator: it reads its tokens only at its start. `logs` is where the parts log (default: below the folder).
    Anybody on the machine can reach the API server's port, but only holders of a token get in; etcd has no port.
    """

    def __init__(
        self,
        directory: Path,
        binary: Path,
        *,
        users: Mapping[str, Sequence[str]] | None = None,
        service_accounts: Iterable[tuple[str, str]] = (),
        logs: Path | None = None,
    ) -> None:
        self.directory = directory.absolute()
        self.logs = (logs or self.directory / "logs").absolute()
        self.port = 0
        self._binary = binary.absolute()
        self._state = self.directory / "state"
        self._identities = credentials.identities({ADMIN: ["system:masters"], **(users or {})}, service_accounts)
        self._components: dict[str, Component] = {}
        self._lifeline: Lifeline | None = None
        self._made_directory = False

    @property
    def url(self) -> str:
        """Where the API server listens."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def bin(self) -> Path:
        """A folder with an executable `kubectl`, for somebody's PATH."""
        return self.directory / "bin"

    @property
    def kubectl(self) -> Kubectl:
        """Calls kubectl as the administrator."""
        return Kubectl(self._binary, self.kubeconfig(), self.directory / "cache")

    @property
    def pids(self) -> dict[str, int]:
        """The process id of each part that was started."""
        return {name: component.pid for name, component in self._components.items()}

    def kubeconfig(self, user: str = ADMIN) -> Path:
        """The kubeconfig file of a user; raises KeyError for one who was not named at construction."""
        if user == ADMIN:
            return self.directory / "kubeconfig"
        return self.directory / "users" / credentials.file_name(self._identities[user].name)

    def kubeconfig_for_service_account(self, namespace: str, name: str) -> Path:
        """The kubeconfig file of a service account; raises KeyError for one that was not named at construction."""
        return self.kubeconfig(credentials.service_account(namespace, name))

    def start(self) -> None:
        """Start all parts; about three seconds. Raises ClusterError, after having removed everything again."""
        self._claim_directory()
        try:
            self._lifeline = Lifeline()
            self._write_secrets()
            self._start("etcd", flags.etcd())
            self._start_on_free_port()
            self._write_kubeconfigs()
            self._start("controller-manager", flags.controller_manager(self.kubeconfig()))
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End all parts and remove all files; the folder itself only if `start` made it."""
        # etcd last: an API server without etcd never finishes its shutdown.
        for name in ("controller-manager", "apiserver", "etcd"):
            if component := self._components.pop(name, None):
                component.stop()
        if self._lifeline:
            self._lifeline.close()
            self._lifeline = None
            self._remove_files()

    def kill_apiserver(self) -> None:
        """SIGKILL the API server; its data and its port stay reserved for `restart_apiserver`."""
        self._components["apiserver"].kill()

    def restart_apiserver(self) -> None:
        """Stop the API server if it runs, and start it on the same port; returns when it is ready."""
        self._components["apiserver"].stop()
        self._start_apiserver(time.monotonic() + _READY_SECONDS)

    def revive(self) -> list[str]:
        """Start again what has ended by itself, in the order in which the parts need each other; names them.

        Raises ClusterError when the API server does not become ready again.
        """
        dead: list[str] = [name for name in ("etcd", "apiserver", "controller-manager") if name in self.dead()]
        for name in dead:
            match name:
                case "etcd":
                    self._start("etcd", flags.etcd())
                case "apiserver":
                    self._start_apiserver(time.monotonic() + _READY_SECONDS)
                case _:
                    self._start(name, flags.controller_manager(self.kubeconfig()))
        return dead

    def dead(self) -> dict[str, str]:
        """The parts that have ended by themselves, each with the last lines of its log."""
        return {name: part.tail() for name, part in self._components.items() if part.wait(0)}

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    def _claim_directory(self) -> None:
        self._made_directory = not self.directory.exists()
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(self.directory.iterdir()):
            raise ClusterError(f"{self.directory} is not empty", "Name a folder for the control plane alone.")
        self.directory.chmod(0o700)

    def _write_secrets(self) -> None:
        for folder in (self._state, self.directory / "cache", self.logs):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        credentials.write_private(self._state / flags.TOKENS, credentials.token_file(self._identities.values()))
        credentials.write_private(self._state / flags.SERVICE_ACCOUNT_KEY, credentials.service_account_key())

    def _write_kubeconfigs(self) -> None:
        authority = base64.b64encode(self._certificate.read_bytes()).decode()
        cluster = {"server": self.url, "certificate-authority-data": authority}
        for who in self._identities.values():
            credentials.write_private(self.kubeconfig(who.name), credentials.kubeconfig(cluster, {"token": who.token}))
        self.kubectl.install(self.bin)

    @property
    def _certificate(self) -> Path:
        # The API server makes it at its first start; it is its own authority.
        return self._state / flags.CERTIFICATES / "apiserver.crt"

    def _start(self, name: str, arguments: Sequence[str]) -> Component:
        assert self._lifeline
        component = Component(
            name,
            [str(self._binary), name, *arguments],
            log=self.logs / f"{name}.log",
            cwd=self._state,
            lifeline=self._lifeline,
        )
        self._components[name] = component
        return component

    def _start_on_free_port(self) -> None:
        for _ in range(_PORT_ATTEMPTS):
            self.port = free_port()
            if self._start_apiserver():
                return
        raise ClusterError(f"The API server lost its port to another process {_PORT_ATTEMPTS} times", "Try again.")

    def _start_apiserver(self, retry_until: float = 0) -> bool:
        """Whether the API server got its port (tried again until then) and is ready; raises ClusterError otherwise."""
        while True:
            component = self._start("apiserver", flags.apiserver(self.port))
            if self._await_ready(component):
                return True
            if time.monotonic() > retry_until:
                return False

    def _await_ready(self, component: Component) -> bool:
        deadline = time.monotonic() + _READY_SECONDS
        while not self._ready():
            if component.wait(_POLL_SECONDS) and _LOST_PORT in component.tail():
                return False
            for name, last_lines in self.dead().items():
                raise ClusterError(f"The control plane's {name} ended while starting: {last_lines}", self._advice(name))
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"The API server was not ready within {_READY_SECONDS:.0f} s: {component.tail()}",
                    self._advice("apiserver"),
                )
        return True

    def _advice(self, name: str) -> str:
        return f"The whole log is {self.logs / name}.log" if self.directory not in self.logs.parents else ""

    def _ready(self) -> bool:
        """Ready, and the namespaces that everything else needs are there."""
        try:
            trust = ssl.create_default_context(cafile=str(self._certificate))
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=2, context=trust)
        except (OSError, ssl.SSLError):
            return False
        try:
            paths = ("/readyz", *(f"/api/v1/namespaces/{name}" for name in _SYSTEM_NAMESPACES))
            return all(self._answers(connection, path) for path in paths)
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _answers(self, connection: http.client.HTTPSConnection, path: str) -> bool:
        connection.request("GET", path, headers={"Authorization": f"Bearer {self._identities[ADMIN].token}"})
        answer = connection.getresponse()
        answer.read()
        return answer.status == http.client.OK

    def _remove_files(self) -> None:
        for entry in self.directory.iterdir():
            # A kubectl that somebody still runs may write into its cache meanwhile.
            shutil.rmtree(entry, ignore_errors=True)
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink(missing_ok=True)
        if self._made_directory:
            self.directory.rmdir()


def free_port() -> int:
    """A loopback port that nobody listens on at this moment; another process may be quicker."""
    for port in random.sample(_PORTS, 50):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ClusterError("No free port was found on 127.0.0.1", f"Free one from {_PORTS.start} to {_PORTS.stop - 1}.")
