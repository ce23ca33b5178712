"""What an administrator sees of the API in kubectl."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from manifests.cases import base, merged
from secondsite.api.kind import Kind
from secondsite.api.kinds import ALL_KINDS
from secondsite.sandbox.control_plane import ControlPlane
from secondsite.sandbox.kubectl import Kubectl

pytestmark = [pytest.mark.xdist_group("manifests"), pytest.mark.usefixtures("cluster")]

THEN = "2026-01-01T00:00:00Z"


def condition(name: str, status: str, reason: str) -> dict[str, str]:
    return {"type": name, "status": status, "reason": reason, "message": "", "lastTransitionTime": THEN}


READY = condition("Ready", "False", "RPOExceeded")

STATUS: dict[str, dict[str, Any]] = {
    "vault": {
        "conditions": [condition("Ready", "True", "Ready")],
        "sites": {"total": 2, "ready": 1},
        "protectedVMs": {"total": 9, "healthy": 5, "warning": 1, "critical": 3},
    },
    "site": {
        "conditions": [condition("Reachable", "True", "Reachable"), condition("Ready", "False", "PrerequisiteFailed")],
        "agent": {"id": "a", "version": "1", "driver": "lab"},
        "lastContactTime": THEN,
    },
    "rpol": {
        "conditions": [condition("Ready", "True", "Ready")],
        "rpoTargetSeconds": 900,
        "protectedVMs": 12,
        "withinRPO": 11,
        "lastTestFailoverTime": THEN,
    },
    "netmap": {"conditions": [condition("Ready", "False", "TargetNetworkNotFound")]},
    "pvm": {
        "conditions": [READY],
        "state": "Protected",
        "vmName": "WEB01",
        "activeSite": "newyork",
        "rpoTargetSeconds": 900,
        "lastRecoveryPoint": {"sourceTime": THEN, "basis": "Freeze", "type": "Regular"},
        "recoveryPoints": {"count": 7},
        "initialReplicationPercent": 100,
    },
    "tfo": {
        "conditions": [
            condition("Ready", "True", "ChecksPassed"),
            condition("ChecksPassed", "True", "ChecksPassed"),
            condition("CleanedUp", "False", "WaitingForCleanup"),
        ],
        "state": "WaitingForCleanup",
        "recoveryTimeSeconds": 41,
    },
}

# The cells before AGE, then the wide ones; times are ages, which differ from run to run.
CELLS = {
    "vault": (["True", "2", "9", "3"], []),
    "site": (["lab", "True", "False", "<age>"], ["https://127.0.10.1:8443", "PrerequisiteFailed"]),
    "rpol": (["300", "900", "12", "11", "True", "<age>"], []),
    "netmap": (["newyork", "Production", "chicago", "Recovery", "False", "TargetNetworkNotFound"], ["Isolated"]),
    "pvm": (["WEB01", "newyork", "Protected", "False", "900", "<age>", "RPOExceeded"], ["gold", "7", "100"]),
    "tfo": (["WaitingForCleanup", "True", "True", "41", "False"], []),
}

SELECTED = {
    "vault": "status.protectedVMs.critical!=0",
    "site": "spec.vaultRef.name=vault,status.agent.driver=lab,spec.suspended=false",
    "rpol": "spec.replicationIntervalSeconds=300",
    "netmap": "spec.source.siteRef.name=newyork,spec.target.siteRef.name=chicago,spec.addressMode=Pool",
    "pvm": "spec.policyRef.name=gold,status.state=Protected,status.activeSite=newyork,spec.vm.cloud=Production",
    "tfo": "status.state=WaitingForCleanup,spec.cleanup.mode=Automatic",
}

each_kind = pytest.mark.parametrize("kind", ALL_KINDS, ids=lambda kind: kind.name)


def create(kubectl: Kubectl, kind: Kind[Any, Any]) -> str:
    extra = {"spec": {"testNetwork": "Isolated"}} if kind.short_name == "netmap" else {}
    manifest = merged(base(kind), extra)
    kubectl("create", "-f", "-", stdin=yaml.safe_dump(manifest))
    name: str = manifest["metadata"]["name"]
    return name


@each_kind
def test_columns_and_field_selectors_show_the_status(kind: Kind[Any, Any], kubectl: Kubectl) -> None:
    name = create(kubectl, kind)
    patch = yaml.safe_dump({"status": STATUS[kind.short_name]})
    kubectl("patch", kind.short_name, name, "--subresource=status", "--type=merge", "-p", patch)
    found = kubectl(
        *("get", kind.short_name, "-o", "wide", "--no-headers", "--field-selector", SELECTED[kind.short_name])
    )
    before, wide = CELLS[kind.short_name]
    cells = found.stdout.split()
    assert cells[0] == name
    ages = {index for index, cell in enumerate(before, start=1) if cell == "<age>"} | {len(before) + 1}
    assert [("<age>" if index in ages else cell) for index, cell in enumerate(cells)] == [
        name,
        *before,
        "<age>",
        *wide,
    ]
    assert all(cells[index].endswith(("s", "m", "h", "d")) for index in ages)
    assert name not in kubectl("get", kind.plural, "--field-selector", _other(kind)).stdout


def _other(kind: Kind[Any, Any]) -> str:
    field = kind.selectable[0].removeprefix(".")
    return f"{field}=1"


def test_the_category_lists_all_kinds_from_the_first_moment(kubectl: Kubectl) -> None:
    names = {f"{kind.singular}.secondsite.dev/{create(kubectl, kind)}" for kind in ALL_KINDS}
    listed = kubectl("get", "secondsite", "--no-headers").stdout
    assert {line.split()[0] for line in listed.splitlines() if line} == names
    assert listed.count(" Unknown ") == len(ALL_KINDS)


@each_kind
def test_explain_describes_every_field(kind: Kind[Any, Any], control_plane: ControlPlane) -> None:
    for path, fields in (("spec", kind.spec.model_fields), ("status", kind.status.model_fields)):
        text = " ".join(control_plane.kubectl("explain", f"{kind.short_name}.{path}").stdout.split())
        assert "<no description>" not in text
        for field in fields.values():
            assert f"{field.alias} <" in text
            assert " ".join((field.description or "").split()[:4]) in text


def test_kubectl_refuses_an_unknown_field_before_anything_is_stored(kubectl: Kubectl) -> None:
    (kind,) = (kind for kind in ALL_KINDS if kind.short_name == "pvm")
    manifest = yaml.safe_dump(merged(base(kind), {"spec": {"replicationPolicy": "gold"}}))
    for server_side in ("--server-side=true", "--server-side=false"):
        refused = kubectl("apply", server_side, "-f", "-", stdin=manifest, check=False)
        assert refused.returncode == 1
        assert "replicationPolicy" in refused.stderr
    assert kubectl("get", "pvm", "--no-headers").stdout == ""


def test_wait_sees_a_condition(kubectl: Kubectl) -> None:
    (kind,) = (kind for kind in ALL_KINDS if kind.short_name == "pvm")
    name = create(kubectl, kind)
    status = {"conditions": [READY, condition("Protected", "True", "Replicating")]}
    patch = yaml.safe_dump({"status": status})
    kubectl("patch", "pvm", name, "--subresource=status", "--type=merge", "-p", patch)
    assert "condition met" in kubectl("wait", f"pvm/{name}", "--for=condition=Protected", "--timeout=10s").stdout


def test_server_side_apply_of_two_managers_merges_lists_by_key(kubectl: Kubectl) -> None:
    (kind,) = (kind for kind in ALL_KINDS if kind.short_name == "netmap")
    name = base(kind)["metadata"]["name"]
    for manager, number in (("one", 1), ("two", 2)):
        subnets = [{"source": f"10.1.{number}.0/24", "target": f"10.2.{number}.0/24"}]
        manifest = yaml.safe_dump(merged(base(kind), {"spec": {"subnets": subnets}}))
        kubectl("apply", "--server-side", f"--field-manager={manager}", "-f", "-", stdin=manifest)
    subnets = kubectl.json("get", "netmap", name)["spec"]["subnets"]
    assert [subnet["source"] for subnet in subnets] == ["10.1.1.0/24", "10.1.2.0/24"]
