"""The types of the API as the operator uses them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from typing import Any

import pytest
from pydantic import ValidationError

from manifests import largest
from manifests.cases import Case, base, load
from secondsite.api.base import Model, camel
from secondsite.api.condition import CommonReason, Condition, find
from secondsite.api.kind import Kind, parse
from secondsite.api.kinds import ALL_KINDS
from secondsite.api.networkmapping import MappingReason
from secondsite.api.protectedvm import PROTECTED_VM, ProtectedVMSpec
from secondsite.api.protectedvm_reasons import ProtectedVMReason
from secondsite.api.protectedvm_status import LastRecoveryPoint, ProtectedVMStatus
from secondsite.api.recoveryvault import RECOVERY_VAULT, VaultReason
from secondsite.api.replicationpolicy_status import PolicyReason
from secondsite.api.testfailover import TEST_FAILOVER
from secondsite.api.testfailover_status import TestFailoverReason
from secondsite.api.vmmsite import SiteReason

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)

each_kind = pytest.mark.parametrize("kind", ALL_KINDS, ids=lambda kind: kind.name)


def body(kind: Kind[Any, Any], **metadata: Any) -> dict[str, Any]:
    """An object as the API server returns it."""
    whole = base(kind)
    there = {"namespace": "shop", "uid": "u1", "generation": 3, "creationTimestamp": "2026-11-21T12:00:00Z"}
    return {**whole, "metadata": {**whole["metadata"], **there, **metadata}}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vm", "vm"),
        ("vm_id", "vmID"),
        ("rpo_target_seconds", "rpoTargetSeconds"),
        ("within_rpo", "withinRPO"),
        ("protected_vm_refs", "protectedVMRefs"),
        ("unprotected_vms", "unprotectedVMs"),
        ("sweep_test_vms", "sweepTestVMs"),
        ("existing_vm", "existingVM"),
        ("dns_servers", "dnsServers"),
        ("mac_address", "macAddress"),
        ("ttl_seconds_after_finished", "ttlSecondsAfterFinished"),
    ],
)
def test_json_names(name: str, expected: str) -> None:
    assert camel(name) == expected


@each_kind
def test_an_object_is_parsed_with_what_the_operator_keeps(kind: Kind[Any, Any]) -> None:
    parsed = parse(kind, body(kind))
    assert (parsed.namespace, parsed.uid, parsed.generation) == ("shop", "u1", 3)
    assert parsed.name == base(kind)["metadata"]["name"]
    assert parsed.creation_timestamp == NOON
    assert not parsed.deleting
    assert parsed.finalizers == ()
    assert isinstance(parsed.spec, kind.spec)


def test_an_object_that_is_being_deleted() -> None:
    parsed = parse(
        PROTECTED_VM,
        body(PROTECTED_VM, deletionTimestamp="2026-11-21T13:00:00Z", finalizers=["secondsite.dev/release"]),
    )
    assert parsed.deleting
    assert parsed.deletion_timestamp == NOON + timedelta(hours=1)
    assert parsed.finalizers == ("secondsite.dev/release",)


def test_a_vault_without_spec_has_all_defaults() -> None:
    assert parse(RECOVERY_VAULT, body(RECOVERY_VAULT)).spec == RECOVERY_VAULT.spec()


@pytest.mark.parametrize("case", [case for case in load() if not case.refused], ids=str)
def test_what_the_api_server_accepts_can_be_read_hashed_and_compared(case: Case) -> None:
    spec = case.manifest.get("spec", {})
    parsed = case.kind.spec.model_validate(spec)
    assert hash(parsed) == hash(case.kind.spec.model_validate(spec))
    assert case.kind.spec.model_validate(parsed.manifest()) == parsed


def test_a_field_of_a_newer_version_is_ignored_and_a_newer_value_is_an_error_of_that_object() -> None:
    newer = body(PROTECTED_VM)
    newer["spec"]["colour"] = "blue"
    assert parse(PROTECTED_VM, newer).spec == parse(PROTECTED_VM, body(PROTECTED_VM)).spec
    newer["spec"]["replication"] = "Paused"
    with pytest.raises(ValueError, match="replication"):
        parse(PROTECTED_VM, newer)


def test_a_spec_cannot_be_changed() -> None:
    spec = parse(PROTECTED_VM, body(PROTECTED_VM)).spec
    with pytest.raises(ValidationError, match="frozen"):
        spec.replication = "Suspended"  # type: ignore[misc]  # what mypy refuses must fail at run time too


def test_a_hyperv_id_is_compared_in_lower_case() -> None:
    spec = ProtectedVMSpec.model_validate(
        {
            "vm": {"siteRef": {"name": "a"}, "cloud": "b", "id": "0F8FAD5B-D9CB-469F-A165-70867728950E"},
            "policyRef": {"name": "gold"},
        }
    )
    assert spec.vm.id == "0f8fad5b-d9cb-469f-a165-70867728950e"


def test_defaults_that_the_api_server_does_not_write_are_there_when_read() -> None:
    check = {"name": "shop", "type": "HTTP"}
    (parsed,) = TEST_FAILOVER.spec.model_validate({"protectedVMRefs": [{"name": "a"}], "checks": [check]}).checks
    assert (parsed.scheme, parsed.path, parsed.expected_status) == ("HTTP", "/", 200)


def test_times_are_written_in_utc_and_never_too_young() -> None:
    taken = datetime(2026, 11, 21, 13, 0, 0, 999_999, tzinfo=timezone(timedelta(hours=1)))
    point = LastRecoveryPoint(source_time=taken, basis="Freeze", type="Regular")
    assert point.manifest()["sourceTime"] == "2026-11-21T12:00:00Z"
    assert hash(point)


def test_a_time_without_zone_is_refused_before_the_api_server_refuses_the_whole_status() -> None:
    with pytest.raises(ValidationError, match="timezone"):
        LastRecoveryPoint(source_time=datetime(2026, 11, 21), basis="Freeze", type="Regular")  # noqa: DTZ001 - the case


def test_a_status_leaves_out_what_is_unset() -> None:
    assert ProtectedVMStatus(vm_name="WEB01").manifest() == {
        "vmName": "WEB01",
        "conditions": [],
        "networkAdapters": [],
        "errors": [],
    }


def condition(kind: str, message: str = "", reason: str = "Ready") -> Condition:
    return Condition(type=kind, status="True", reason=reason, message=message, last_transition_time=NOON)


def test_a_status_is_cut_to_its_bounds() -> None:
    status = ProtectedVMStatus(
        vm_name="x" * 200, conditions=tuple(condition(f"C{number}", "y" * 3000) for number in range(20))
    )
    assert status.vm_name == "x" * 127 + "…"
    assert len(status.conditions) == 16
    assert [len(one.message) for one in status.conditions] == [2048] * 16


def test_a_condition_is_found_by_its_type() -> None:
    conditions = (condition("Ready"), condition("Protected"))
    assert find(conditions, "Protected") is conditions[1]
    assert find(conditions, "WithinRPO") is None


@each_kind
def test_the_largest_status_is_read_and_written_unchanged(kind: Kind[Any, Any]) -> None:
    whole = largest.status(kind)
    assert kind.status.model_validate(whole).manifest() == whole


def test_json_names_are_unique_and_reversible() -> None:
    def models(model: type[Model]) -> list[type[Model]]:
        return [model, *(below for sub in model.__subclasses__() for below in models(sub))]

    for model in models(Model):
        aliases = [camel(name) for name in model.model_fields]
        assert len(set(aliases)) == len(aliases)
        assert aliases == [field.alias for field in model.model_fields.values()]


@pytest.mark.parametrize(
    "reasons",
    [CommonReason, VaultReason, SiteReason, PolicyReason, MappingReason, ProtectedVMReason, TestFailoverReason],
)
def test_reasons_fit_a_condition_and_no_kind_redefines_a_common_one(reasons: type[StrEnum]) -> None:
    for reason in reasons:
        assert condition("Ready", reason=reason).reason == reason
        assert camel(reason.name.lower()).lower() == reason.lower()
    if reasons is not CommonReason:
        assert not set(reasons) & set(CommonReason)
