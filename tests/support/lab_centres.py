"""Small data centres for the lab driver's tests: "east" is the source, "west" the target."""

from __future__ import annotations

from typing import Any

WEB = "11111111-0000-4000-8000-000000000001"
DB = "11111111-0000-4000-8000-000000000002"
LEGACY = "11111111-0000-4000-8000-000000000003"


def large_source_centre() -> dict[str, Any]:
    """The same with 12 MiB of content in the first VM: several frames."""
    centre = source_centre()
    centre["vms"][0]["disks"][0] |= {"size": "32MiB", "data": "12MiB"}
    return centre


def source_centre() -> dict[str, Any]:
    """A cloud with a VM of one disk, one of two, and one that cannot be replicated."""
    return {
        "vmm": {"name": "vmm.east"},
        "storage": [{"classification": "Gold", "capacity": "1GiB"}],
        "hostGroups": [{"name": "East", "hosts": ["hv1.east"]}],
        "clouds": [{"name": "Production", "hostGroups": ["East"], "storageClassifications": ["Gold"]}],
        "networks": [
            {
                "name": "Front",
                "logicalNetwork": "Corp",
                "subnets": [{"name": "F", "cidr": "10.1.0.0/24", "gateway": "10.1.0.1"}],
            }
        ],
        "vms": [
            _vm(WEB, "web", 1, ["8MiB"], services=[{"port": 80, "path": "/", "body": "welcome"}]),
            _vm(DB, "db", 2, ["8MiB", "12MiB"], services=[{"port": 1433}]),
            _vm(LEGACY, "legacy", 3, ["8MiB"], passThrough=True),
        ],
        "knobs": {"retrySeconds": 30},
    }


def target_centre(capacity: str = "1GiB") -> dict[str, Any]:
    """A cloud with room, a network with a pool of three addresses, a test network."""
    return {
        "vmm": {"name": "vmm.west"},
        "storage": [{"classification": "Silver", "capacity": capacity}],
        "hostGroups": [{"name": "West", "hosts": ["hv1.west", "hv2.west"]}],
        "clouds": [{"name": "Recovery", "hostGroups": ["West"], "storageClassifications": ["Silver"]}],
        "networks": [
            {
                "name": "Front-DR",
                "logicalNetwork": "Corp",
                "subnets": [
                    {
                        "name": "F",
                        "cidr": "10.2.0.0/24",
                        "gateway": "10.2.0.1",
                        "pool": {"start": "10.2.0.10", "end": "10.2.0.12"},
                    }
                ],
            },
            {"name": "Test", "logicalNetwork": "Corp", "subnets": [{"name": "T", "cidr": "10.9.0.0/24"}]},
        ],
        "knobs": {"retrySeconds": 30},
    }


def _vm(id_: str, name: str, seed: int, sizes: list[str], **more: Any) -> dict[str, Any]:
    disks = [
        {"slot": {"controllerLocation": index}, "size": size, "seed": seed * 10 + index, "data": "1MiB"}
        for index, size in enumerate(sizes)
    ]
    disks[-1] |= {"passThrough": True} if "passThrough" in more else {}
    return {
        "id": id_,
        "name": name,
        "cloud": "Production",
        "host": "hv1.east",
        "storage": "Gold",
        "disks": disks,
        "adapters": [
            {"mac": f"00:15:5D:00:00:0{seed}", "network": "Front", "subnet": "F", "addresses": [f"10.1.0.{seed + 1}"]}
        ],
        "guest": {"seed": seed, "writesPerSecond": 100, "services": more.get("services", [])},
    }
