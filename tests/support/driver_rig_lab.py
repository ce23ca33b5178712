"""The lab as a rig: two agents in processes of their own, killed for real; everything else by the contract."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from secondsite.agent.identity import SiteIdentity
from secondsite.agent.lab.faults import Fault
from secondsite.agent.lab.socket import ask
from secondsite.trust.authority import CertificateAuthority
from secondsite.trust.keys import requested_key
from secondsite.trust.names import Name, Role
from secondsite.wire.agent import Capability
from secondsite.wire.arguments import Endpoint
from secondsite.wire.identity import CertificateInstall, IdentityRequest
from support.agents import HOST, Caller, bundle
from support.driver_rig import Rig
from support.driver_rig_site import Line, Place, RigSite
from support.vault import DAY, Vault

HURRY = 60
VMS = 8
EAST = Place("east", "Production", "Gold", "Front", "10.1.0.0/24", "Rehearsal")
WEST = Place("west", "Recovery", "Silver", "Front-DR", "10.2.0.0/24", "Rehearsal")
_MINIMUM = frozenset({Capability.FREEZE_TIME, Capability.PROBE_ISOLATED})


class LabSite(RigSite):
    """An agent with the lab driver: `data` is its folder, `file` its data centre."""

    def __init__(self, place: Place, folder: Path, centre: dict[str, Any], vault: Vault, patience: float) -> None:
        super().__init__(place, patience)
        self.data, self.file = folder / place.site, folder / f"{place.site}.yaml"
        self.file.write_text(yaml.safe_dump(centre), encoding="utf-8")
        self.line = Line(Caller("", vault, site=place.site))
        self._process: subprocess.Popen[str] | None = None
        _enrol(self.data, vault, place.site)

    def launch(self) -> None:
        """Begin to start it."""
        with self.file.with_suffix(".log").open("ab") as log:
            self._process = subprocess.Popen(
                [*_PROGRAM, "--data", str(self.data), "--site-file", str(self.file)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            )

    def wait(self) -> None:
        """Returns when it answers."""
        assert self._process is not None
        assert self._process.stdout is not None
        line = ""
        while not line.startswith("ready "):
            line = self._process.stdout.readline()
            assert line, f"{self.place.site} did not start: {self.file.with_suffix('.log').read_text()}"
        self.line.url = line.split()[1]

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


_PROGRAM = [
    sys.executable,
    "-m",
    "secondsite.cli.agent",
    "run",
    "--listen",
    f"https://{HOST}:0",
    "--hurry",
    str(HURRY),
]


class LabRig(Rig):
    """Two lab sites; `capabilities` are those beyond what Hyper-V can do."""

    def __init__(self, name: str, folder: Path, capabilities: tuple[Capability, ...] = ()) -> None:
        vault, self.patience = Vault(), 20.0
        self.name, self.port, self.back_port = name, _free_port(), _free_port()
        self.trickle = 1_000_000
        self.default_profile = not capabilities
        self.expected = _MINIMUM | frozenset(capabilities)
        # Neither said nor parsed where there is none: the default profile is that of a file without them.
        profile = {"capabilities": [item.value for item in capabilities]} if capabilities else {}
        self._folder = folder
        self._east = LabSite(EAST, folder, _east() | profile, vault, self.patience)
        self._west = LabSite(WEST, folder, _west() | profile, vault, self.patience)
        self.source, self.target = self._east, self._west

    def start(self) -> None:
        self.revive(self._east, self._west)

    def stop(self) -> None:
        self._east.kill()
        self._west.kill()

    def kill(self, *sites: RigSite) -> None:
        for site in sites:
            self._lab(site).kill()

    def revive(self, *sites: RigSite) -> None:
        for site in sites:
            self._lab(site).launch()
        for site in sites:
            self._lab(site).wait()

    @asynccontextmanager
    async def silent_endpoint(self) -> AsyncIterator[Endpoint]:
        with socket.create_server((HOST, 0)) as server:
            yield Endpoint(host="silent", address=HOST, port=int(server.getsockname()[1]))

    def cut(self) -> None:
        self._fault(self._east, Fault.LINK_DOWN)

    def mend(self) -> None:
        self._fault(self._east, Fault.LINK_DOWN, off=True)

    def hang(self, site: RigSite, vm_id: str) -> None:
        self._fault(self._lab(site), Fault.COMMAND_HANGS, vmID=vm_id)

    def let_go(self, site: RigSite, vm_id: str) -> None:
        self._fault(self._lab(site), Fault.COMMAND_HANGS, vmID=vm_id, off=True)

    def restart_service(self, site: RigSite) -> None:
        self._fault(self._lab(site), Fault.VMMS_RESTART, value=2)

    def lose_tracking(self, vm_id: str) -> None:
        self._fault(self._east, Fault.DISK_TOUCHED_OFFLINE, vmID=vm_id)

    def media(self, vm_id: str) -> str:
        folder = self._folder / "media" / vm_id
        folder.mkdir(parents=True, exist_ok=True)
        return str(folder)

    def _fault(self, site: LabSite, fault: Fault, **more: Any) -> None:
        ask(site.data / "driver", {"ask": "fault", "fault": fault.value, **more})

    def _lab(self, site: RigSite) -> LabSite:
        return self._east if site is self._east else self._west


def _enrol(data: Path, vault: Vault, site: str) -> None:
    """Make `data` the folder of a registered agent."""
    data.mkdir()
    identity = SiteIdentity(data / "identity", bundle(vault, site=site))
    request = identity.request(IdentityRequest(vault_id=vault.vault_id, site=site))
    authority: CertificateAuthority = vault.authority
    name = Name(vault.vault_id, Role.AGENT, site)
    pem = authority.issue(name, requested_key(request), datetime.now(UTC), 90 * DAY)
    identity.install(CertificateInstall(certificate=pem, authorities=[authority.certificate_pem]))


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as server:
        return int(server.getsockname()[1])


def _east() -> dict[str, Any]:
    return _centre(EAST, "10.1.0", [_vm(number) for number in range(1, VMS + 1)])


def _west() -> dict[str, Any]:
    return _centre(WEST, "10.2.0", [])


def _centre(place: Place, prefix: str, vms: list[dict[str, Any]]) -> dict[str, Any]:
    host = f"hv1.{place.site}"
    pool = {"start": f"{prefix}.100", "end": f"{prefix}.120"}
    subnet = {"name": "F", "cidr": place.subnet, "gateway": f"{prefix}.1", "pool": pool}
    rehearsal = {"name": "R", "cidr": "10.9.0.0/24"}
    return {
        "vmm": {"name": f"vmm.{place.site}"},
        "storage": [{"classification": place.storage, "capacity": "4GiB"}],
        "hostGroups": [{"name": "All", "hosts": [host, f"hv2.{place.site}"]}],
        "clouds": [{"name": place.cloud, "hostGroups": ["All"], "storageClassifications": [place.storage]}],
        "networks": [
            {"name": place.network, "logicalNetwork": "Corp", "subnets": [subnet]},
            {"name": place.test_network, "logicalNetwork": "Corp", "subnets": [rehearsal]},
        ],
        "vms": vms,
        "knobs": {"retrySeconds": 30},
    }


def _vm(number: int) -> dict[str, Any]:
    disks = [
        {"slot": {"controllerLocation": 0}, "size": "16MiB", "seed": number, "data": "6MiB"},
        {"slot": {"controllerLocation": 1}, "size": "8MiB", "seed": number + 100},
    ]
    adapter = {
        "mac": f"00:15:5D:00:01:{number:02X}",
        "network": EAST.network,
        "subnet": "F",
        "addresses": [f"10.1.0.{number + 10}"],
    }
    return {
        "id": f"22222222-0000-4000-8000-{number:012d}",
        "name": f"vm{number}",
        "cloud": EAST.cloud,
        "host": f"hv{1 + number % 2}.east",
        "storage": EAST.storage,
        "disks": disks,
        "adapters": [adapter],
        "guest": {"seed": number, "writesPerSecond": 5, "services": [{"port": 80, "body": "welcome"}]},
    }
