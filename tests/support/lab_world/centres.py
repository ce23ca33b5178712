"""The data centres of the two sites in memory, read once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from secondsite.agent.lab.datacentre import DataCentre

VM = "11111111-0000-4000-8000-000000000001"
BETTER = ("ResyncKeepsRecoveryPoints", "ScanAfterCrash", "Synchronize")


@cache
def centre(site: str, capabilities: Sequence[str] = ()) -> DataCentre:
    """East runs a VM with two disks, west has room for it; each could be the other's replica."""
    content: dict[str, Any] = {
        "vmm": {"name": f"vmm.{site}"},
        "storage": [{"classification": "Gold", "capacity": "1GiB"}],
        "hostGroups": [{"name": site, "hosts": [f"hv1.{site}", f"hv2.{site}"]}],
        "clouds": [{"name": "Cloud", "hostGroups": [site], "storageClassifications": ["Gold"]}],
        "networks": [
            {
                "name": "Front",
                "logicalNetwork": "Corp",
                "subnets": [{"name": "F", "cidr": "10.1.0.0/24", "gateway": "10.1.0.1"}],
            }
        ],
        "knobs": {"retrySeconds": 300, "initialRetries": 3},
    }
    if capabilities:
        content["capabilities"] = list(capabilities)
    if site == "east":
        content["vms"] = [_vm()]
    return DataCentre.model_validate(content)


def _vm() -> dict[str, Any]:
    return {
        "id": VM,
        "name": "web",
        "cloud": "Cloud",
        "host": "hv1.east",
        "storage": "Gold",
        "disks": [{"slot": {"controllerLocation": index}, "size": "8MiB"} for index in range(2)],
        "adapters": [{"mac": "00:15:5D:00:00:01", "network": "Front", "subnet": "F", "addresses": ["10.1.0.2"]}],
        "guest": {"seed": 1, "writesPerSecond": 1},
    }
