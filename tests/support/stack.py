"""The whole of Secondsite as it runs: the operator under its own RBAC, two lab agents, a real API server."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

import yaml

from secondsite.controller.kube import LEASES, NAMESPACES
from secondsite.controller.lease import NAME as LEASE
from secondsite.controller.vaultkeys import VaultKeys, bundle_secret_name
from secondsite.errors import SecondsiteError
from secondsite.sandbox import addresses, assets
from secondsite.sandbox.control_plane import ControlPlane
from secondsite.sandbox.kubectl import Kubectl
from secondsite.wire.facts import Relation
from support import stack_centres as centres
from support import stack_failures as failures
from support.control_plane import OPERATOR as SERVICE_ACCOUNT
from support.stack_api import KINDS, MAPPING, POLICY, SITE, TEST, VAULT, VM, Api, Body, Refused, condition
from support.stack_centres import SOURCE, TARGET
from support.stack_operator import Operator
from support.stack_process import Process
from support.stack_sites import Settling, SiteReader, Told

T = TypeVar("T")
_SITES = (SOURCE, TARGET)
# What a look may meet while something restarts: look again.
_FLEETING = (OSError, Settling, SecondsiteError)


@dataclass
class Options:
    """How a stack differs from the usual one."""

    vms: int = 3
    hurry: float = 30
    keep_every_cycle: bool = False
    bandwidth: int | None = None
    """Bytes per second that the source may send."""
    centre: Mapping[str, Any] = field(default_factory=dict)
    """For `source_centre`."""
    policy: Mapping[str, Any] = field(default_factory=dict)


class Stack:
    """Use with `with`. It has namespaces of its own in the control plane, and addresses of its own."""

    def __init__(self, control_plane: ControlPlane, folder: Path, options: Options | None = None) -> None:
        self.options = options or Options()
        self.folder = folder
        self.control_plane = control_plane
        self.api = Api(control_plane.kubeconfig())
        self.namespace = f"recovery-{uuid.uuid4().hex[:8]}"
        self.system = f"{self.namespace}-system"
        self.endpoints = {site: f"https://{addresses.free_loopback()}:8443" for site in _SITES}
        self.operator = self.make_operator("operator")
        self.agents = {site: self._make_agent(site) for site in _SITES}
        self._keys: VaultKeys | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def kubectl(self) -> Kubectl:
        return self.control_plane.kubectl.within(self.namespace)

    def start(self) -> None:
        """Return when both sites are Ready."""
        for name in (self.namespace, self.system):
            self.api.create(NAMESPACES, "", {"metadata": {"name": name}})
        self.control_plane.kubectl.apply(assets.dump(_rbac(self.system)))
        self.operator.start()
        self.api.create(VAULT, self.namespace, centres.vault())
        limits = {SOURCE: self.options.bandwidth, TARGET: None}
        for site, endpoint in self.endpoints.items():
            self.api.create(SITE, self.namespace, centres.site(site, endpoint, limits[site]))
        self._start_agents()
        self.api.create(POLICY, self.namespace, centres.policy(**self.options.policy))
        self.api.create(MAPPING, self.namespace, centres.mapping())
        for site in _SITES:
            self.await_condition(SITE, site, "Ready")

    def stop(self) -> None:
        """End everything; the namespaces' deletion is begun, and nothing keeps it from ending."""
        for process in (self.operator, *self.agents.values()):
            process.stop()
        with suppress(Refused, OSError):
            for kind in KINDS:
                for item in self.api.list(kind, self.namespace):
                    with suppress(Refused):
                        self.api.patch(kind, self.namespace, item["metadata"]["name"], {"metadata": {"finalizers": []}})
            for name in (self.namespace, self.system):
                self.api.delete(NAMESPACES, "", name)

    # What a person does.

    def protect(self, *numbers: int, **spec: Any) -> None:
        for number in numbers:
            self.api.create(VM, self.namespace, centres.protected_vm(number, **spec))

    def change(self, kind: Any, name: str, **spec: Any) -> None:
        """Merge into a spec."""
        self.api.patch(kind, self.namespace, name, {"spec": spec})

    def delete(self, kind: Any, name: str) -> None:
        self.api.delete(kind, self.namespace, name)

    def test(self, name: str, *numbers: int, **spec: Any) -> None:
        self.api.create(TEST, self.namespace, centres.test_failover(name, list(numbers), **spec))

    # What one sees.

    def object(self, kind: Any, name: str) -> Body | None:
        return self.api.find(kind, self.namespace, name)

    def vm(self, number: int) -> Body:
        found = self.object(VM, centres.vm_name(number))
        assert found, f"there is no ProtectedVM {centres.vm_name(number)}"
        return found

    def condition(self, kind: Any, name: str, type_: str) -> Body:
        return condition(self.object(kind, name), type_)

    def lease(self) -> Body:
        return (self.api.find(LEASES, self.system, LEASE) or {"spec": {}})["spec"]  # type: ignore[no-any-return]  # JSON

    def site(self, name: str) -> SiteReader:
        # Read once: sites can be looked at while the API server is down.
        self._keys = self._keys or self.api.keys(self.system, self.namespace, centres.VAULT)
        return SiteReader(name, self.endpoints[name], self.folder / name, self.folder / f"{name}.yaml", self._keys)

    def tell(self, name: str) -> Told:
        """All that a site says now; waits while it settles."""
        return self.until(self.site(name).tell, f"{name} answers")

    def relation(self, site: str, number: int) -> Relation | None:
        return self.tell(site).relation(centres.vm_id(number))

    def begun(self) -> dict[str, int]:
        """How many operations each site ever began."""
        return {name: self.until(self.site(name).info, f"{name} answers").operations_begun for name in _SITES}

    def site_metric(self, name: str, site: str) -> float | None:
        return self.operator.metrics().get(name, site=site, site_namespace=self.namespace)

    def vm_metric(self, name: str, number: int) -> float | None:
        return self.operator.metrics().get(name, vm=centres.vm_name(number), vm_namespace=self.namespace)

    # Waiting.

    def until(self, ask: Callable[[], T | None], what: str, seconds: float = 30) -> T:
        """The first true answer. What is only restarting is asked again; fails with all that helps to see why."""
        deadline, last = time.monotonic() + seconds, ""
        while True:
            try:
                answer = ask()
                if answer:
                    return answer
                last = repr(answer)
            except _FLEETING as error:
                last = repr(error)
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds:g} s: {what}; last: {last}\n{failures.dump(self)}")
            time.sleep(0.1)

    def await_condition(
        self, kind: Any, name: str, type_: str, status: str = "True", reason: str | None = None, seconds: float = 30
    ) -> Body:
        """The condition, once it is so."""

        def holds() -> Body | None:
            found = self.condition(kind, name, type_)
            return found if found["status"] == status and reason in (None, found["reason"]) else None

        return self.until(holds, f"{kind.kind} {name} {type_}={status} {reason or ''}", seconds)

    def await_protected(self, *numbers: int, seconds: float = 45) -> None:
        for number in numbers:
            self.await_condition(VM, centres.vm_name(number), "Protected", seconds=seconds)

    def await_gone(self, kind: Any, name: str, seconds: float = 30) -> None:
        self.until(lambda: self.object(kind, name) is None, f"{kind.kind} {name} is gone", seconds)

    def await_cycles(self, number: int, more: int = 2, seconds: float = 30) -> None:
        """So many further cycles of a VM at the target; their points may be merged meanwhile."""
        id_, site = centres.vm_id(number), self.site(TARGET)
        seen = {point["id"] for point in self.until(lambda: site.points(id_), f"a recovery point of {id_}")}
        enough = len(seen) + more

        def counted() -> bool:
            seen.update(point["id"] for point in site.points(id_))
            return len(seen) >= enough

        self.until(counted, f"{more} more recovery points of {id_}", seconds)

    def settle(self, *numbers: int, seconds: float = 30) -> dict[str, int]:
        """Wait until everything about these VMs is in order, and nothing is under way: operations begun by then."""
        for number in numbers:
            self.await_condition(VM, centres.vm_name(number), "Ready", seconds=seconds)
            self.await_condition(VM, centres.vm_name(number), "SettingsApplied", seconds=seconds)
        return self.begun()

    @contextmanager
    def second_operator(self) -> Iterator[Operator]:
        other = self.make_operator("operator-2")
        other.start()
        try:
            yield other
        finally:
            other.stop()

    def make_operator(self, name: str) -> Operator:
        kubeconfig = self.control_plane.kubeconfig_for_service_account(*SERVICE_ACCOUNT)
        return Operator(name, self.folder / f"{name}.log", kubeconfig, self.system)

    def _make_agent(self, site: str) -> Process:
        centre = (
            centres.source_centre(self.options.vms, **self.options.centre)
            if site == SOURCE
            else centres.target_centre()
        )
        file = self.folder / f"{site}.yaml"
        file.write_text(yaml.safe_dump(centre), encoding="utf-8")
        arguments = ["agent", "run", "--data", str(self.folder / site), "--site-file", str(file)]
        arguments += ["--bundle", str(self.folder / f"{site}.bundle"), "--hurry", f"{self.options.hurry:g}"]
        arguments += ["--keep-every-cycle"] if self.options.keep_every_cycle else []
        return Process(site, self.folder / f"{site}.log", arguments)

    def _start_agents(self) -> None:
        for site, agent in self.agents.items():
            secret = bundle_secret_name(self.namespace, site)
            bundle = self.until(
                lambda secret=secret: self.api.secret(self.system, secret, "bundle.json"),  # type: ignore[misc]  # bound early
                f"the operator writes {secret}",
            )
            (self.folder / f"{site}.bundle").write_bytes(bundle)
            agent.start()


def _rbac(system: str) -> list[Body]:
    """What deploy/base grants, but in this stack's own namespace; who it is granted to stays the same."""
    documents = assets.load(assets.ROOT / "deploy" / "base" / "rbac-operator.yaml")
    for document in documents:
        if "namespace" in document["metadata"]:
            document["metadata"]["namespace"] = system
    return documents
