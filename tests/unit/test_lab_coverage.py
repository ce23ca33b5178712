"""What the lab's hypervisor refuses to replicate: one test for each code, and a remedy with each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from secondsite.agent.lab.counters import Window
from secondsite.agent.lab.coverage import (
    disk_limit,
    machine_limits,
    require_disks,
    require_production,
    require_runnable,
)
from secondsite.agent.lab.datacentre import DataCentre
from secondsite.agent.lab.inventory import machine_facts
from secondsite.agent.lab.state import Half, Replica, SiteSettings
from secondsite.wire.arguments import Slot
from secondsite.wire.facts import Replication, TestVM
from secondsite.wire.limits import LIMITS, Limit, explain
from secondsite.wire.problems import Code, Refusal
from support.lab_centres import WEB, source_centre
from support.worlds import NOW

DOCS = Path(__file__).parents[2] / "docs" / "limits.md"
Change = Callable[[dict[str, Any]], object]
GIBIBYTE = 1 << 30
CLUSTERS = [{"name": "c1", "nodes": ["hv1.east"], "broker": "broker.east"}]
TEST_VM = "22222222-0000-4000-8000-000000000001"
REPLICA = Replica(WEB, "web", "a", "east", "Production", "hv1.east", "Gold")


def centre(change: Change | None = None) -> DataCentre:
    """The source's, its first VM with a second disk, changed."""
    made = source_centre()
    vm = made["vms"][0]
    vm["disks"].append({"slot": {"controllerLocation": 1}, "size": "8MiB"})
    if change:
        change(made)
    return DataCentre.model_validate(made)


def vm(**fields: Any) -> Change:
    return lambda made: made["vms"][0].update(fields)


def second_disk(**fields: Any) -> Change:
    return lambda made: made["vms"][0]["disks"][1].update(fields)


def vhd(made: dict[str, Any]) -> None:
    vm(generation=1)(made)
    second_disk(format="VHD", size=2041 * GIBIBYTE)(made)


def clustered(made: dict[str, Any]) -> None:
    made["clusters"] = CLUSTERS
    vm(highlyAvailable=False)(made)


def silent_host(made: dict[str, Any]) -> None:
    made["hostGroups"][0]["hosts"] = [{"name": "hv1.east", "state": "NotResponding"}]


WHOLE: dict[Limit, Change] = {
    Limit.SHIELDED: vm(shielded=True, virtualTpm=True),
    Limit.VIRTUAL_TPM: vm(virtualTpm=True),
    Limit.GUEST_CLUSTER: vm(guestCluster="sql-cluster"),
    Limit.NOT_HIGHLY_AVAILABLE: clustered,
    Limit.HOST_NOT_RESPONDING: silent_host,
    Limit.MERGING_DRIVES: vm(status="MergingDrives"),
    Limit.UNDER_MIGRATION: vm(status="UnderMigration"),
    Limit.CREATING_CHECKPOINT: vm(status="CreatingCheckpoint"),
    Limit.VM_MISSING: vm(status="Missing"),
    Limit.UNSUPPORTED_CONFIGURATION: vm(status="UnsupportedCluster"),
    Limit.FOREIGN_REPLICATION: vm(protectionProvider="HVRAzure"),
}
DISKS: dict[Limit, Change] = {
    Limit.PASS_THROUGH: second_disk(passThrough=True),
    Limit.SHARED: second_disk(shared=True),
    Limit.VHD_SET: second_disk(format="VHDSet", shared=True),
    Limit.DISK_TOO_LARGE: vhd,
}


def slots(*locations: int) -> list[Slot]:
    return [Slot(controller_type="SCSI", controller_number=0, controller_location=number) for number in locations]


def refused(change: Change | None, *locations: int) -> Refusal:
    made = centre(change)
    with pytest.raises(Refusal) as caught:
        require_disks(made, made.vms[0], slots(*locations))
    return caught.value


def is_said(refusal: Refusal, limit: Limit) -> None:
    assert refusal.code is Code.UNSUPPORTED
    assert f"({limit.value})" in refusal.detail
    assert refusal.remedy == LIMITS[limit].remedy


def test_a_vm_with_nothing_against_it_is_taken() -> None:
    made = centre()
    assert machine_limits(made, made.vms[0]) == ()
    assert list(require_disks(made, made.vms[0], slots(0, 1)).values()) == [8 << 20, 8 << 20]


@pytest.mark.parametrize("limit", WHOLE, ids=lambda limit: limit.value)
def test_a_whole_vm_is_refused_and_its_fact_says_so(limit: Limit) -> None:
    made = centre(WHOLE[limit])
    assert machine_limits(made, made.vms[0]) == (limit,)
    assert machine_facts(made, SiteSettings(), {})[0].unsupported == (limit.value,)
    is_said(refused(WHOLE[limit], 0, 1), limit)


@pytest.mark.parametrize("limit", DISKS, ids=lambda limit: limit.value)
def test_a_disk_is_refused_its_fact_says_so_and_the_others_are_taken(limit: Limit) -> None:
    made = centre(DISKS[limit])
    assert [disk_limit(disk) for disk in made.vms[0].disks] == [None, limit]
    fact = machine_facts(made, SiteSettings(), {})[0]
    assert (fact.unsupported, [disk.unsupported for disk in fact.disks]) == ((), ["", limit.value])
    is_said(refused(DISKS[limit], 0, 1), limit)
    assert len(require_disks(made, made.vms[0], slots(0))) == 1


def test_a_key_protector_with_a_guardian_of_the_other_site_is_enough() -> None:
    made = centre(vm(shielded=True, virtualTpm=True, guardian=True))
    assert machine_limits(made, made.vms[0]) == ()


def test_a_role_of_the_cluster_is_taken() -> None:
    made = centre(lambda c: (c.update(clusters=CLUSTERS), vm(highlyAvailable=True)(c)))
    assert machine_limits(made, made.vms[0]) == ()
    assert machine_facts(made, SiteSettings(), {})[0].highly_available


def test_a_vhd_of_the_largest_size_is_taken() -> None:
    made = centre(lambda c: (vm(generation=1)(c), second_disk(format="VHD", size=2040 * GIBIBYTE)(c)))
    assert disk_limit(made.vms[0].disks[1]) is None


def test_the_system_disk_cannot_be_left_out() -> None:
    is_said(refused(None, 1), Limit.SYSTEM_DISK_EXCLUDED)


def test_disks_that_are_not_there_or_none_at_all() -> None:
    for refusal, code in ((refused(None, 0, 7), Code.NOT_FOUND), (refused(None), Code.INVALID_REQUEST)):
        assert refusal.code is code
        assert refusal.remedy


def test_replicas_and_test_vms_are_no_production() -> None:
    half = Half(WEB, "web", "Replica", "Replicating", "east", "a", Replication(30), (), Window(start=NOW))
    tested = msgspec.structs.replace(half, test_vm=TestVM(TEST_VM, "web - Test", "hv1", "dr/drill", "Running"))
    for vm_id, limit in ((WEB, Limit.REPLICA_VM), (TEST_VM, Limit.TEST_VM)):
        with pytest.raises(Refusal) as caught:
            require_production(vm_id, [WEB], [tested])
        is_said(caught.value, limit)
    require_production("33333333-0000-4000-8000-000000000001", [WEB], [tested])


def test_a_configuration_version_that_the_host_does_not_run() -> None:
    made = source_centre() | {"vms": []}
    made["hostGroups"][0]["hosts"] = [{"name": "hv1.east", "configurationVersions": [8.0, 9.0]}]
    old = DataCentre.model_validate(made)
    with pytest.raises(Refusal) as caught:
        require_runnable(old, REPLICA, "10.0", 2)
    is_said(caught.value, Limit.CONFIGURATION_VERSION)
    assert "hv1.east" in caught.value.detail
    require_runnable(old, REPLICA, "9.0", 2)


def test_a_kept_replica_of_another_generation() -> None:
    kept = msgspec.structs.replace(REPLICA, generation=1, disks=((next(iter(_slot_facts())), 1),))
    with pytest.raises(Refusal) as caught:
        require_runnable(centre(), kept, "10.0", 2)
    is_said(caught.value, Limit.GENERATION_MISMATCH)
    require_runnable(centre(), kept, "10.0", 1)


def _slot_facts() -> list[Any]:
    made = centre()
    return list(require_disks(made, made.vms[0], slots(0)))


def test_every_code_is_explained_with_a_remedy_and_an_unknown_one_is_shown() -> None:
    assert set(LIMITS) == set(Limit)
    assert all(explained.message and explained.remedy.endswith(".") for explained in LIMITS.values())
    assert "Sideways" in explain("Sideways")[0]


def test_every_code_has_a_test_here_or_with_the_operator() -> None:
    elsewhere = {Limit.SYSTEM_DISK_EXCLUDED, Limit.REPLICA_VM, Limit.TEST_VM, Limit.NAME_NOT_UNIQUE}
    assert set(WHOLE) | set(DISKS) | elsewhere | {Limit.CONFIGURATION_VERSION, Limit.GENERATION_MISMATCH} == set(Limit)


def test_the_documentation_lists_them_all_in_these_words() -> None:
    rows = [line for line in DOCS.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert rows == [f"| `{limit}` | {e.refuses} | {e.message} | {e.remedy} |" for limit, e in LIMITS.items()]
