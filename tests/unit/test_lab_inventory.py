"""The inventory as VMM shows it: facts from a data centre."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from secondsite.agent.lab.datacentre import DataCentre, load
from secondsite.agent.lab.inventory import machine_facts, network_facts, pool_facts, site_fact
from secondsite.agent.lab.state import Reservation, SiteSettings
from secondsite.wire.inventory import VM, Cluster, Host
from support.lab_centres import DB, WEB, source_centre

EXAMPLES = Path(__file__).parents[2] / "examples" / "sites"
POOL = {"start": "10.9.0.10", "end": "10.9.0.12", "dnsServers": ["10.9.0.2"]}
OPEN = {
    "name": "Corp",
    "sites": [
        {"name": "East-A", "subnets": [{"name": "A", "cidr": "10.9.0.0/24", "gateway": "10.9.0.1", "pool": POOL}]},
        {"name": "East-B", "hostGroups": ["East"], "subnets": [{"name": "B", "cidr": "2001:db8:9::/64", "vlan": 9}]},
    ],
}


def centre(**fields: Any) -> DataCentre:
    return DataCentre.model_validate(source_centre() | fields)


def fabric() -> DataCentre:
    """Two groups, one of them a cluster; one host of the other is silent, another is old."""
    made = source_centre()
    made["hostGroups"] = [
        {"name": "East", "parent": "Europe\\London", "hosts": ["hv1.east", "hv2.east"]},
        {
            "name": "Branch",
            "hosts": [
                {"name": "hv8.east", "state": "NotResponding", "configurationVersions": ["5.0"]},
                {"name": "hv9.east", "hyperVVersion": "10.0.17763.1", "configurationVersions": ["8.0", "9.0"]},
                "hv10.east",
            ],
        },
    ]
    made["clusters"] = [{"name": "cl1", "nodes": ["hv1.east", "hv2.east"], "broker": "broker.east"}]
    made["clouds"].append({"name": "Branch", "hostGroups": ["Branch"]})
    made["vms"][1] |= {"cloud": "Branch", "host": "hv8.east", "configurationVersion": 5.0}
    return DataCentre.model_validate(made)


def vm(made: DataCentre, vm_id: str = WEB) -> VM:
    return next(fact for fact in machine_facts(made, SiteSettings(), {}) if fact.id == vm_id)


def test_hosts_stand_in_groups_and_clusters() -> None:
    site = site_fact(fabric(), SiteSettings(), [])
    assert site.hosts[0] == Host("hv1.east", "All Hosts\\Europe\\London\\East", "cl1", True, "10.0.20348.2527")
    assert site.hosts[2] == Host("hv8.east", "All Hosts\\Branch", "", False, "10.0.20348.2527")
    assert site.hosts[3].version == "10.0.17763.1"
    assert site.clusters == (Cluster("cl1", ("hv1.east", "hv2.east"), "broker.east"),)


def test_the_small_examples_have_clusters_with_brokers_and_one_vm_that_cannot_be_protected() -> None:
    for name in ("newyork", "chicago"):
        made = load(EXAMPLES / f"{name}.yaml")
        [cluster] = site_fact(made, SiteSettings(), []).clusters
        assert cluster.broker.endswith(f"{name}.example")
        refused = {
            fact.name: [disk.unsupported for disk in fact.disks if disk.unsupported]
            for fact in machine_facts(made, SiteSettings(), {})
            if fact.unsupported or any(disk.unsupported for disk in fact.disks)
        }
        assert refused == ({"legacy01": ["PassThrough"]} if name == "newyork" else {})


def test_only_what_is_served_is_shown() -> None:
    site = site_fact(fabric(), SiteSettings(clouds=("Branch",)), [])
    assert [cloud.name for cloud in site.clouds] == ["Branch"]
    assert [host.name for host in site.hosts] == ["hv8.east", "hv9.east", "hv10.east"]
    assert site.clusters == ()


def test_a_cloud_runs_the_versions_that_all_its_responding_hosts_run() -> None:
    clouds = {cloud.name: cloud.configuration_versions for cloud in site_fact(fabric(), SiteSettings(), []).clouds}
    assert clouds["Branch"] == ("8.0", "9.0")
    assert clouds["Production"][-1] == "10.0"


def test_a_vm_whose_host_is_silent_is_in_no_state_that_anybody_knows() -> None:
    fact = vm(fabric(), DB)
    assert (fact.state, fact.status, fact.unsupported) == ("Unknown", "HostNotResponding", ("HostNotResponding",))
    assert vm(fabric()).highly_available


def test_without_isolation_subnets_are_those_of_the_network_sites() -> None:
    flat = {"name": "Flat", "logicalNetwork": "Corp", "isolation": "None"}
    base = source_centre()
    base["networks"].append(flat)
    adapters = base["vms"][0]["adapters"]
    adapters += [
        {"mac": "00:15:5D:00:01:01", "network": "Flat", "addresses": ["10.9.0.11"]},
        {"mac": "00:15:5D:00:01:02", "network": "Flat", "addresses": ["2001:db8:9::7"]},
        {"mac": "00:15:5D:00:01:03", "network": "Flat"},
    ]
    made = DataCentre.model_validate(base | {"logicalNetworks": [OPEN]})
    fact = next(item for item in network_facts(made) if item.name == "Flat")
    assert (fact.isolation, [subnet.name for subnet in fact.subnets]) == ("None", ["A", "B"])
    assert [adapter.subnet for adapter in vm(made).adapters] == ["F", "A", "B", ""]
    reserved = Reservation(DB, "00:15:5D:00:00:02", "Flat", ("10.9.0.10",))
    [pool] = pool_facts(made, [reserved])
    assert (pool.network, pool.subnet, pool.gateway, pool.dns_servers) == ("Flat", "A", "10.9.0.1", ("10.9.0.2",))
    assert (pool.free, pool.reserved) == (1, ((DB, "00:15:5D:00:00:02", "10.9.0.10"),))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"networks": [{"name": "N", "logicalNetwork": "Corp", "isolation": "None", "subnets": [
            {"name": "x", "cidr": "10.0.0.0/24"}]}], "vms": []}, r"no isolation, so its subnets stand in logicalNet"),
        ({"networks": [{"name": n, "logicalNetwork": "Corp", "isolation": "None"} for n in "AB"], "vms": []},
         r"networks.logicalNetwork without isolation: Corp stands there twice"),
        ({"logicalNetworks": [{"name": "L", "sites": [{"name": "S", "hostGroups": ["West"]}]}]},
         r"logicalNetworks\[L\].sites\[S\]: no host group West"),
        ({"clusters": [{"name": "c", "nodes": ["hv7.east"]}]}, r"clusters\[c\]: no host hv7.east"),
        ({"clusters": [{"name": c, "nodes": ["hv1.east"]} for c in "cd"]}, r"clusters.nodes: hv1.east stands there"),
    ],
)  # fmt: skip
def test_what_vmm_would_not_show_is_a_mistake(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        centre(**fields)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"highlyAvailable": True}, r"vms\[web\]: it is highly available, and host hv1.east is in no cluster"),
        ({"adapters": [{"mac": "00:15:5D:00:00:01", "legacy": True}]}, "generation 2 has no IDE"),
        ({"configurationVersion": "new"}, "configurationVersion"),
        ({"configurationVersion": "12.0"}, r"vms\[web\]: host hv1.east runs no VM of configuration version 12.0"),
        ({"status": "Sleepy"}, "status"),
    ],
)
def test_a_vm_that_cannot_be_is_a_mistake(fields: dict[str, Any], says: str) -> None:
    base = source_centre()
    base["vms"][0] |= fields
    with pytest.raises(ValueError, match=says):
        DataCentre.model_validate(base)


def test_a_vm_is_shown_with_all_that_somebody_asks_for() -> None:
    base = source_centre()
    disk = {"slot": {"controllerType": "IDE", "controllerLocation": 0}, "size": "8MiB", "format": "VHD", "chain": 3}
    base["vms"][0] |= {
        "generation": 1,
        "configurationVersion": 9.0,
        "state": "Saved",
        "status": "UnderMigration",
        "disks": [disk, {"slot": {"controllerLocation": 0}, "size": "8MiB"}],
        "adapters": [
            {"mac": "00:15:5D:00:00:01", "legacy": True, "macType": "Dynamic"},
            {"mac": "00:15:5D:00:00:0A"},
        ],
        "checkpoints": 3,
        "dvd": "setup.iso",
        "virtualTpm": True,
        "guardian": True,
    }
    fact = vm(DataCentre.model_validate(base))
    assert (fact.generation, fact.configuration_version, fact.state, fact.status) == (
        1, "9.0", "Saved", "UnderMigration")  # fmt: skip
    assert (fact.checkpoints, fact.dvd, fact.virtual_tpm, fact.highly_available) == (3, "setup.iso", True, False)
    assert [(disk.format, disk.chain, disk.operating_system) for disk in fact.disks] == [
        ("VHD", 3, True), ("VHDX", 0, False)]  # fmt: skip
    assert [(each.name, each.legacy, each.dynamic_mac) for each in fact.adapters] == [
        ("Network Adapter", True, True), ("Network Adapter", False, False)]  # fmt: skip
