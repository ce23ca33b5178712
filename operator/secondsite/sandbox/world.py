"""One world: a control plane or the user's cluster, the operator, and the two lab agents of `examples/`."""

from __future__ import annotations

import base64
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from secondsite.errors import SecondsiteError
from secondsite.sandbox import addresses, assets, guest_cluster
from secondsite.sandbox.build import build
from secondsite.sandbox.cluster import Cluster
from secondsite.sandbox.control_plane import ControlPlane, free_port
from secondsite.sandbox.credentials import write_private
from secondsite.sandbox.existing_cluster import ExistingCluster
from secondsite.sandbox.keeper import Keeper
from secondsite.sandbox.steps import Progress, silent
from secondsite.sandbox.supervisor import Program, Supervisor

SYSTEM_NAMESPACE = "secondsite-system"
SERVICE_ACCOUNT = "secondsite-operator"
OPERATOR = "operator"

_JANITOR = Path(__file__).with_name("janitor.py")
_POLL_SECONDS = 0.2
_BUNDLE_SECONDS = 60.0
_AGENT_SECONDS = 30.0
_HOPELESS_RESTARTS = 5


@dataclass(frozen=True)
class Plan:
    """What the world shall be. `endpoints` (by VMMSite) replace those of the manifests; `hurry` divides intervals."""

    manifests: Path = assets.MANIFESTS
    sites: Path = assets.SITES
    endpoints: Mapping[str, str] = field(default_factory=dict)
    hurry: float = 10.0
    context: str | None = None

    @property
    def documents(self) -> list[assets.Manifest]:
        """The manifests to apply."""
        return assets.with_endpoints(assets.load(self.manifests), self.endpoints)


class World:
    """Everything under one folder of mode 0700 in the temporary directory; `stop` leaves nothing.

    Also when this process is killed nothing stays: programs die with it, and a janitor removes the folder.
    """

    def __init__(self, plan: Plan | None = None, progress: Progress = silent) -> None:
        self.plan = plan or Plan()
        self.documents = self.plan.documents
        self.sites = {name: site["spec"]["endpoint"] for name, site in assets.named(self.documents, "VMMSite").items()}
        self.namespace = next(iter(assets.named(self.documents, "RecoveryVault").values()))["metadata"]["namespace"]
        self.metrics_port = 0
        self.supervisor = Supervisor()
        self._progress = progress
        self._cluster: Cluster | None = None
        self._guest = False
        self._keeper: Keeper | None = None
        # Last: whatever is wrong with the plan leaves no folder.
        self.directory = Path(tempfile.mkdtemp(prefix="secondsite-"))
        self._janitor = _hire_janitor(self.directory)

    @property
    def cluster(self) -> Cluster:
        """The Kubernetes API of this world; only after `start_cluster`."""
        assert self._cluster
        return self._cluster

    @property
    def logs(self) -> Path:
        """Where every program logs."""
        return self.directory / "logs"

    @property
    def operator(self) -> Program:
        """The operator's process."""
        return self.supervisor.programs[OPERATOR]

    @property
    def metrics_url(self) -> str:
        """Where the operator's metrics and probes are."""
        return f"http://127.0.0.1:{self.metrics_port}"

    def data(self, site: str) -> Path:
        """The data folder of a site's agent."""
        return self.directory / "sites" / site

    def site_file(self, site: str) -> Path:
        """The data-centre file of a site."""
        return self.plan.sites / f"{site}.yaml"

    def start(self) -> None:
        """All of it; raises SecondsiteError."""
        self.start_cluster()
        self.start_operator()
        self.apply()
        self.start_agents()

    def start_cluster(self) -> None:
        """Build the control plane if need be and start it, or find the user's; then install CRDs and RBAC."""
        for endpoint in self.sites.values():
            host, port = addresses.split(endpoint)
            for number in (port, *addresses.DATA_PORTS):
                addresses.require_free(host, number)
        self.logs.mkdir(mode=0o700)
        binary = build(self._progress)
        self._progress("starting the control plane")
        self._cluster = self._make_cluster(binary)
        self._cluster.start()
        if isinstance(self._cluster, ControlPlane):
            self._keeper = Keeper(self._cluster)
            self._keeper.start()
        self._progress("installing CRDs and roles")
        if self.plan.context:
            guest_cluster.require_untouched(self._cluster.kubectl, self.namespace)
            # From here on, and not before, what is found there is ours to remove.
            self._guest = True
        documents = assets.install()
        crds = assets.dump(assets.named(documents, "CustomResourceDefinition").values())
        self._cluster.kubectl.apply(assets.dump(documents))
        self._cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", "-", stdin=crds)

    def start_operator(self) -> None:
        """Start the operator as its service account, under exactly the RBAC of `deploy/`."""
        self.metrics_port = free_port()
        kubeconfig = self.cluster.kubeconfig_for_service_account(SYSTEM_NAMESPACE, SERVICE_ACCOUNT)
        self._run(
            OPERATOR,
            *("operator", "run", "--kubeconfig", str(kubeconfig), "--namespace", SYSTEM_NAMESPACE),
            *("--listen", "127.0.0.1", "--metrics-port", str(self.metrics_port)),
        )

    def apply(self) -> None:
        """Apply the manifests."""
        self._progress("applying the manifests")
        self.cluster.kubectl.apply(assets.dump(self.documents))

    def start_agents(self) -> None:
        """Start each site's agent with the bundle that the operator wrote for it; returns when they listen."""
        for site in self.sites:
            bundle = self._await_bundle(site)
            self.data(site).mkdir(mode=0o700, parents=True)
            path = write_private(self.directory / f"{site}.bundle.json", bundle)
            self._run(
                site,
                *("agent", "run", "--data", str(self.data(site)), "--bundle", str(path)),
                *("--site-file", str(self.site_file(site)), "--hurry", f"{self.plan.hurry:g}"),
            )
        for site, endpoint in self.sites.items():
            self.until(partial(_listens, self.supervisor.programs[site].log), f"{site} listens", _AGENT_SECONDS)
            self._progress(f"agent of {site} listens at {endpoint}")

    def until(self, true: Callable[[], object], what: str, seconds: float) -> None:
        """Wait for a condition, but not for a program that keeps dying; raises SecondsiteError with the logs' ends."""
        deadline = time.monotonic() + seconds
        while not true():
            dying = any(program.restarts >= _HOPELESS_RESTARTS for program in self.supervisor.programs.values())
            if dying or time.monotonic() > deadline:
                said = "; ".join(f"{name}: {program.tail()}" for name, program in self.supervisor.programs.items())
                raise SecondsiteError(f"Waited in vain: {what}. Last in the logs: {said}")
            time.sleep(_POLL_SECONDS)

    def keep_logs(self) -> Path:
        """Copy the logs to a folder that stays, and say where it is."""
        kept = Path(tempfile.mkdtemp(prefix="secondsite-logs-"))
        if self.logs.is_dir():
            shutil.copytree(self.logs, kept, dirs_exist_ok=True)
        return kept

    def stop(self) -> None:
        """End everything and remove the folder. May be called more than once."""
        try:
            if self._cluster and self._guest:
                self._progress("removing what the sandbox made in your cluster")
                guest_cluster.clean(self._cluster.kubectl, self.namespace, self.documents)
        finally:
            self.supervisor.stop()
            if self._keeper:
                self._keeper.stop()
            if self._cluster:
                self._cluster.stop()
            shutil.rmtree(self.directory, ignore_errors=True)
            self._janitor.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _make_cluster(self, binary: Path) -> Cluster:
        folder = self.directory / "control-plane"
        if self.plan.context:
            return ExistingCluster(folder, binary, self.plan.context)
        operator = (SYSTEM_NAMESPACE, SERVICE_ACCOUNT)
        return ControlPlane(folder, binary, service_accounts=[operator], logs=self.logs)

    def _run(self, name: str, *arguments: str) -> Program:
        # -P: what lies in the folder where somebody starts this must not be taken for a library.
        command = [sys.executable, "-P", "-m", "secondsite.cli.main", *arguments]
        return self.supervisor.start(Program(name, command, log=self.logs / f"{name}.log"))

    def _await_bundle(self, site: str) -> str:
        self._progress(f"waiting for the registration bundle of {site}")
        secret, found = f"{self.namespace}.{site}-registration", ""

        def written() -> bool:
            nonlocal found
            kubectl = self.cluster.kubectl.within(SYSTEM_NAMESPACE)
            path = "jsonpath={.data.bundle\\.json}"
            found = kubectl("get", "secret", secret, "--ignore-not-found", "-o", path).stdout
            return bool(found)

        self.until(written, f"the operator writes the Secret {secret}", _BUNDLE_SECONDS)
        return base64.b64decode(found).decode()


def _listens(log: Path) -> bool:
    return any(line.startswith("ready https://") for line in log.read_text().splitlines())


def _hire_janitor(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(_JANITOR), str(folder)],
        stdin=subprocess.PIPE,
        process_group=0,
        cwd="/",
    )
