"""The large example: generated from a seed, plausible, with every obstacle in it, and what protects it fits it."""

from __future__ import annotations

import ipaddress
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from secondsite.agent.lab.company.manifests import POLICIES, manifests
from secondsite.agent.lab.company.text import flow
from secondsite.agent.lab.datacentre import DataCentre, load
from secondsite.agent.lab.generate import centres, files, main
from secondsite.agent.lab.inventory import machine_facts, network_facts, pool_facts, site_fact
from secondsite.agent.lab.state import SiteSettings
from secondsite.api.networkmapping import NetworkMappingSpec
from secondsite.api.protectedvm import ProtectedVMSpec
from secondsite.api.recoveryvault import RecoveryVaultSpec
from secondsite.api.replicationpolicy import ReplicationPolicySpec
from secondsite.api.vmmsite import VMMSiteSpec
from secondsite.plan.network.adapters import Subject, plan_adapters
from secondsite.plan.observed import SiteView
from secondsite.wire.inventory import VM
from secondsite.wire.limits import LIMITS, Limit
from support.worlds import obj, reachable

LARGE = Path(__file__).parents[2] / "examples" / "sites" / "large"
SPECS: dict[str, Any] = {
    "RecoveryVault": RecoveryVaultSpec,
    "VMMSite": VMMSiteSpec,
    "ReplicationPolicy": ReplicationPolicySpec,
    "NetworkMapping": NetworkMappingSpec,
    "ProtectedVM": ProtectedVMSpec,
}
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@pytest.fixture(scope="module")
def sites() -> dict[str, DataCentre]:
    return {name: load(LARGE / f"{name}.yaml") for name in ("hamburg", "antwerp")}


@pytest.fixture(scope="module")
def objects() -> list[dict[str, Any]]:
    """Every manifest, as kubectl would read it."""
    texts = manifests(centres()).values()
    return [item for text in texts for item in yaml.load_all(text, Loader=_Loader)]


def facts(centre: DataCentre) -> list[VM]:
    return machine_facts(centre, SiteSettings(), {})


def codes(vm: VM) -> list[str]:
    return [*vm.unsupported, *(disk.unsupported for disk in vm.disks if disk.unsupported)]


def test_the_seed_gives_the_very_files() -> None:
    made = files()
    assert {path.name: path.read_text(encoding="utf-8") for path in LARGE.iterdir()} == made
    assert files(6).keys() == made.keys()
    assert files(6) != made


def test_the_command_writes_both_kinds_of_files(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["--out", str(tmp_path / "a"), "--manifests", str(tmp_path / "b")])
    assert done.exit_code == 0
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"hamburg.yaml", "antwerp.yaml"}
    assert len(list((tmp_path / "b").iterdir())) == 6


def test_the_text_means_what_was_made() -> None:
    made = centres()
    for name, text in files().items():
        assert yaml.load(text, Loader=_Loader) == made[name.removesuffix(".yaml")]


@pytest.mark.parametrize(
    "value", ["10.0", "2026-11-21", "no", "00:15:5D", "a ", "", "1e5", "x: y", "Europe\\Ham", "64MiB"]
)
def test_text_stays_text(value: str) -> None:
    assert yaml.safe_load(f"{{k: {flow(value)}}}") == {"k": value}


def test_a_company_of_two_times_five_hundred(sites: dict[str, DataCentre]) -> None:
    ids = [vm.id for centre in sites.values() for vm in centre.vms]
    macs = [adapter.mac for centre in sites.values() for vm in centre.vms for adapter in vm.adapters]
    assert (len(ids), len(set(ids)), len(set(macs))) == (1000, 1000, len(macs))
    for centre in sites.values():
        assert (len(centre.clouds), len(centre.clusters)) == (6, 5)
        assert {network.isolation for network in centre.networks} == {"None", "VLAN", "NetworkVirtualization"}
        families = {
            ipaddress.ip_address(text).version for vm in centre.vms for a in vm.adapters for text in a.addresses
        }
        assert families == {4, 6}
        assert any(len({a.name for a in vm.adapters}) < len(vm.adapters) for vm in centre.vms)
        assert {vm.generation for vm in centre.vms} == {1, 2}
        assert any(adapter.legacy for vm in centre.vms for adapter in vm.adapters)
        assert any(adapter.mac_type == "Dynamic" for vm in centre.vms for adapter in vm.adapters)
        assert any(count > 1 for count in Counter((vm.cloud, vm.name) for vm in centre.vms).values())


def test_a_laptop_can_run_it(sites: dict[str, DataCentre]) -> None:
    for centre in sites.values():
        assert sum(vm.guest.writes_per_second for vm in centre.vms) <= 10
        assert sum(disk.data for vm in centre.vms for disk in vm.disks) == 0
        sizes = sorted(int(disk.size) for vm in centre.vms for disk in vm.disks)
        assert sum(sizes[:-1]) < 48 << 30
        assert sizes[-2] <= 128 << 20


def test_one_in_twenty_cannot_be_protected_each_in_its_way(sites: dict[str, DataCentre]) -> None:
    elsewhere = {Limit.REPLICA_VM, Limit.TEST_VM, Limit.SYSTEM_DISK_EXCLUDED, Limit.GENERATION_MISMATCH}
    late = {Limit.CONFIGURATION_VERSION, Limit.NAME_NOT_UNIQUE}
    for centre in sites.values():
        found = [codes(vm) for vm in facts(centre)]
        assert {code for each in found for code in each} == {limit.value for limit in set(LIMITS) - elsewhere - late}
        assert 20 <= sum(1 for each in found if each) <= 30


def test_some_are_newer_than_the_other_site_can_run(sites: dict[str, DataCentre]) -> None:
    for name, peer in (("hamburg", "antwerp"), ("antwerp", "hamburg")):
        clouds = {cloud.name: cloud for cloud in site_fact(sites[peer], SiteSettings(), []).clouds}
        versions = clouds["Recovery"].configuration_versions
        assert sum(vm.configuration_version not in versions for vm in facts(sites[name])) == 2


def test_manifests_are_what_the_api_takes(objects: list[dict[str, Any]], sites: dict[str, DataCentre]) -> None:
    specs = {(item["kind"], item["metadata"]["name"]): item.get("spec") for item in objects}
    assert len(specs) == len(objects)
    for (kind, name), spec in specs.items():
        assert len(name) <= 50
        if kind in SPECS:
            SPECS[kind].model_validate(spec)
    wanted = sum(vm.cloud in POLICIES for centre in sites.values() for vm in centre.vms)
    assert Counter(kind for kind, _ in specs)["ProtectedVM"] == wanted > 700


def test_every_adapter_that_is_to_be_protected_finds_its_place(
    objects: list[dict[str, Any]], sites: dict[str, DataCentre]
) -> None:
    mappings = tuple(
        obj(item["metadata"]["name"], NetworkMappingSpec.model_validate(item["spec"]))
        for item in objects
        if item["kind"] == "NetworkMapping"
    )
    views = {name: _view(name, centre) for name, centre in sites.items()}
    for name, peer in (("hamburg", "antwerp"), ("antwerp", "hamburg")):
        for vm in views[name].vms.values():
            if vm.cloud in POLICIES:
                planned = plan_adapters(Subject(vm, name, views[peer], mappings))
                assert [each.message for each in planned if each.resolution not in ("Mapping", "Pending")] == []
                assert all(each.addresses or each.wanted for each in planned)


def _view(name: str, centre: DataCentre) -> SiteView:
    return SiteView(
        name=name,
        contact=reachable(),
        synced=True,
        vms={vm.id: vm for vm in facts(centre)},
        networks={network.name: network for network in network_facts(centre)},
        pools={f"{pool.network}/{pool.subnet}": pool for pool in pool_facts(centre, [])},
    )
