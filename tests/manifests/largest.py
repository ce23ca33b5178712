"""The largest spec and status of each kind that its bounds allow."""

from __future__ import annotations

from typing import Any

from secondsite.api.kind import Kind
from secondsite.api.structural import structural

# Addresses of the greatest length: no group of an IPv6 address here can be shortened.
_LONGEST = "2001:1db8:1111:{subnet:04x}:{side}111:1111:1111:{host:04x}"
_NETWORK = "2001:1db8:1111:{subnet:04x}:{side}111:1111:1111:1000/118"


def status(kind: Kind[Any, Any]) -> dict[str, Any]:
    """Every list full, every text as long as it may be."""
    filled: dict[str, Any] = _fill(structural(kind.status))
    for number, condition in enumerate(filled["conditions"]):
        condition["type"] = _numbered(number, 64)
    return filled


def _fill(node: dict[str, Any]) -> Any:
    if "enum" in node:
        return max(node["enum"], key=lambda value: len(str(value)))
    match node["type"]:
        case "object":
            return {name: _fill(field) for name, field in node["properties"].items()}
        case "array":
            return [_fill(node["items"]) for _ in range(node["maxItems"])]
        case "integer":
            return node["maximum"]
        case "boolean":
            return False
        case _:
            return "2026-11-21T12:00:00Z" if node.get("format") == "date-time" else "x" * node["maxLength"]


def spec(kind: Kind[Any, Any]) -> dict[str, Any]:
    """A patch of the base that makes the spec as large as its rules allow."""
    return _SPECS[kind.name]()


def _numbered(number: int, length: int) -> str:
    return f"{number}x".rjust(length, "x")


def _ref(number: int = 0) -> dict[str, str]:
    return {"name": _numbered(number, 50)}


def _vault() -> dict[str, Any]:
    return {"requests": {"takeOver": "x" * 64}}


def _site() -> dict[str, Any]:
    return {
        "vaultRef": _ref(),
        "endpoint": f"https://{'x' * 253}:65535",
        "agentKeyFingerprint": f"sha256:{'a' * 64}",
        "clouds": [_numbered(number, 128) for number in range(64)],
        "replicationBandwidth": {"limitBytesPerSecond": 10**12},
        "requests": dict.fromkeys(("issueRegistration", "refreshInventory", "sweepTestVMs"), "x" * 64),
    }


def _policy() -> dict[str, Any]:
    window = {"start": "00:00", "end": "23:59", "timeZone": "America/Argentina/ComodRivadavia"}
    storage = [
        {"sourceClassification": _numbered(number, 128), "targetClassification": "x" * 128} for number in range(64)
    ]
    return {
        "cloudPairs": [
            {
                "source": {"siteRef": _ref(1), "cloud": _numbered(number, 128)},
                "target": {"siteRef": _ref(2), "cloud": "x" * 128},
                "storage": storage,
            }
            for number in range(16)
        ],
        "rpo": {"targetSeconds": 604800},
        "initialReplication": {
            "method": "Offline",
            "window": window,
            "exportPath": "x" * 512,
            "importPath": "x" * 512,
        },
        "resynchronization": {"window": window},
    }


def _address(side: int, subnet: int, host: int) -> str:
    return _LONGEST.format(side=side, subnet=0x1000 + subnet, host=0x1000 + host)


def _subnet(side: int, subnet: int) -> str:
    return _NETWORK.format(side=side, subnet=0x1000 + subnet)


def _mapping() -> dict[str, Any]:
    return {
        "source": {"siteRef": _ref(1), "network": "x" * 128},
        "target": {"siteRef": _ref(2), "network": "x" * 128},
        "testNetwork": "x" * 128,
        "addressMode": "Offset",
        "subnets": [
            {
                "source": _subnet(1, subnet),
                "target": _subnet(2, subnet),
                "gateway": _address(2, subnet, 99),
                "explicit": [
                    {"source": _address(1, subnet, host), "target": _address(2, subnet, host)} for host in range(64)
                ],
            }
            for subnet in range(64)
        ],
        "dnsServers": [_address(2, 0, host) for host in range(8)],
    }


def _protected_vm() -> dict[str, Any]:
    adapters = [
        {
            "adapter": {"name": _numbered(number, 128)}
            if number % 2
            else {"macAddress": f"00:15:5D:0A:0B:{number:02X}"},
            "targetNetwork": "x" * 128,
            "targetSubnet": _subnet(2, number),
            "addresses": [_address(2, number, host) for host in range(16)],
            "testNetwork": "x" * 128,
        }
        for number in range(12)
    ]
    return {
        "vm": {"siteRef": _ref(), "cloud": "x" * 128, "name": "x" * 128},
        "policyRef": _ref(),
        "excludedDisks": [
            {"controllerType": "SCSI", "controllerNumber": 3, "controllerLocation": location} for location in range(64)
        ],
        "target": {"storageClassification": "x" * 128, "hostGroup": "x" * 256, "existingVM": {"name": "x" * 128}},
        "networkAdapters": adapters,
        "requests": dict.fromkeys(("synchronize", "resynchronize", "importInitialReplication"), "x" * 64),
    }


def _test_failover() -> dict[str, Any]:
    checks = [
        {
            "name": _numbered(number, 50),
            "type": "HTTP",
            "vm": _ref(19)["name"],
            "port": 65535,
            "scheme": "HTTPS",
            "host": "x" * 253,
            "path": "/".ljust(1024, "x"),
            "expectedStatus": 599,
            "bodyContains": "x" * 256,
        }
        for number in range(16)
    ]
    return {
        "protectedVMRefs": [_ref(number) for number in range(20)],
        "recoveryPoint": {"type": "Named", "name": "x" * 128},
        "network": {"type": "Existing", "name": "x" * 128},
        "checks": checks,
        "cleanup": {"notes": "x" * 2048},
        "ttlSecondsAfterFinished": 31536000,
    }


_SPECS = {
    "RecoveryVault": _vault,
    "VMMSite": _site,
    "ReplicationPolicy": _policy,
    "NetworkMapping": _mapping,
    "ProtectedVM": _protected_vm,
    "TestFailover": _test_failover,
}
