"""Two data centres small enough for a test, and what is declared for them."""

from __future__ import annotations

from typing import Any

SOURCE, TARGET = "newyork", "chicago"
VAULT, POLICY, MAPPING = "vault", "gold", "front"

Body = dict[str, Any]


def vm_id(number: int) -> str:
    return f"11111111-0000-4000-8000-{number:012d}"


def vm_name(number: int) -> str:
    return f"vm{number:02d}"


def source_centre(vms: int, *, size: str = "8MiB", data: str = "2MiB", writes_per_second: float = 20) -> Body:
    """`vms` machines; every third has two disks. All serve TCP and HTTP, with their name as the page."""
    return {
        "vmm": {"name": "vmm.newyork"},
        "storage": [{"classification": "Gold", "capacity": "4GiB"}],
        "hostGroups": [{"name": "East", "hosts": ["hv1.newyork"]}],
        "clouds": [{"name": "Production", "hostGroups": ["East"], "storageClassifications": ["Gold"]}],
        "networks": [_network("Front", "10.1.0")],
        "vms": [_machine(n, size, data, writes_per_second) for n in range(1, vms + 1)],
        "knobs": _KNOBS,
    }


def target_centre() -> Body:
    """Room for them."""
    return {
        "vmm": {"name": "vmm.chicago"},
        "storage": [{"classification": "Silver", "capacity": "8GiB"}],
        "hostGroups": [{"name": "West", "hosts": ["hv1.chicago"]}],
        "clouds": [{"name": "Recovery", "hostGroups": ["West"], "storageClassifications": ["Silver"]}],
        "networks": [_network("Front-DR", "10.2.0"), _network("Test", "10.9.0")],
        "knobs": _KNOBS,
    }


# A failed cycle is tried again soon: a test waits for many of them.
_KNOBS = {"retrySeconds": 15}


def _network(name: str, prefix: str) -> Body:
    pool = {"start": f"{prefix}.100", "end": f"{prefix}.150"}
    subnet = {"name": name, "cidr": f"{prefix}.0/24", "gateway": f"{prefix}.1", "pool": pool}
    return {"name": name, "logicalNetwork": "Corporate", "subnets": [subnet]}


def _machine(number: int, size: str, data: str, writes_per_second: float) -> Body:
    disks = 2 if number % 3 == 0 else 1
    name = vm_name(number)
    return {
        "id": vm_id(number),
        "name": name,
        "cloud": "Production",
        "host": "hv1.newyork",
        "storage": "Gold",
        "disks": [
            {"slot": {"controllerLocation": at}, "size": size, "seed": number * 10 + at, "data": data}
            for at in range(disks)
        ],
        "adapters": [
            {"mac": f"00:15:5D:00:00:{number:02X}", "network": "Front", "subnet": "Front", "addresses": [_ip(number)]}
        ],
        "guest": {
            "seed": number,
            "writesPerSecond": writes_per_second,
            "services": [{"port": 80, "path": "/", "body": f"this is {name}"}, {"port": 1433}],
        },
    }


def _ip(number: int) -> str:
    return f"10.1.0.{10 + number}"


def _meta(name: str) -> Body:
    return {"metadata": {"name": name}}


def vault() -> Body:
    return {**_meta(VAULT), "spec": {"limits": {"initialReplications": 2}}}


def site(name: str, endpoint: str, bandwidth: int | None = None) -> Body:
    limited = {"replicationBandwidth": {"limitBytesPerSecond": bandwidth}} if bandwidth else {}
    return {**_meta(name), "spec": {"vaultRef": {"name": VAULT}, "endpoint": endpoint, **limited}}


def policy(**spec: Any) -> Body:
    pair = {
        "source": {"siteRef": {"name": SOURCE}, "cloud": "Production"},
        "target": {"siteRef": {"name": TARGET}, "cloud": "Recovery"},
        "storage": [{"sourceClassification": "Gold", "targetClassification": "Silver"}],
    }
    return {**_meta(POLICY), "spec": {"cloudPairs": [pair], "replicationIntervalSeconds": 30, **spec}}


def mapping() -> Body:
    spec = {
        "source": {"siteRef": {"name": SOURCE}, "network": "Front"},
        "target": {"siteRef": {"name": TARGET}, "network": "Front-DR"},
        "addressMode": "Offset",
        "subnets": [{"source": "10.1.0.0/24", "target": "10.2.0.0/24"}],
    }
    return {**_meta(MAPPING), "spec": spec}


def protected_vm(number: int, **spec: Any) -> Body:
    vm = {"siteRef": {"name": SOURCE}, "cloud": "Production", "name": vm_name(number)}
    return {**_meta(vm_name(number)), "spec": {"vm": vm, "policyRef": {"name": POLICY}, **spec}}


def test_failover(name: str, numbers: list[int], **spec: Any) -> Body:
    """An isolated test that cleans up after itself at once, with one check of each kind for the first VM."""
    checks = [
        {"name": "page", "type": "HTTP", "vm": vm_name(numbers[0]), "port": 80, "bodyContains": "this is"},
        {"name": "port", "type": "TCP", "vm": vm_name(numbers[0]), "port": 1433},
    ]
    quick = {"periodSeconds": 1, "timeoutSeconds": 30}
    wish = {
        "protectedVMRefs": [{"name": vm_name(number)} for number in numbers],
        "network": {"type": "Isolated"},
        "checks": [{**check, **quick} for check in checks],
        "cleanup": {"mode": "Automatic", "afterMinutes": 0},
    }
    return {**_meta(name), "spec": {**wish, **spec}}
