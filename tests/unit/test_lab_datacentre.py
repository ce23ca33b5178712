"""Data-centre files: the examples load, and each mistake is named by its field."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from secondsite.agent.lab.datacentre import DataCentre, load
from secondsite.errors import SecondsiteError
from support.lab_centres import source_centre, target_centre

EXAMPLES = Path(__file__).parents[2] / "examples" / "sites"
Break = Callable[[dict[str, Any]], object]


def test_the_examples_hold_a_company_worth_protecting() -> None:
    newyork, chicago = load(EXAMPLES / "newyork.yaml"), load(EXAMPLES / "chicago.yaml")
    protected = [vm for vm in newyork.vms if vm.name in {"web01", "app01", "db01"}]
    assert [len(vm.disks) for vm in protected] == [1, 1, 2]
    assert sum(int(disk.size) for vm in protected for disk in vm.disks) > 2**30
    assert min(int(disk.data) for vm in protected for disk in vm.disks) >= 20 * 2**20
    assert [vm.name for vm in newyork.vms if any(disk.pass_through for disk in vm.disks)] == ["legacy01"]
    assert sum(len(network.subnets) for network in chicago.networks if network.name == "Test") == 1
    assert not {vm.id for vm in newyork.vms} & {vm.id for vm in chicago.vms}


BREAKS: dict[str, tuple[Break, str]] = {
    "unknown field": (lambda c: c["vms"][0].update(colour="red"), r"vms\[0\].colour: Extra inputs"),
    "missing field": (lambda c: c["vmm"].pop("name"), r"vmm.name: Field required"),
    "bad id": (lambda c: c["vms"][1].update(id="42"), r"vms\[1\].id: "),
    "bad mac": (lambda c: c["vms"][0]["adapters"][0].update(mac="00:15"), r"vms\[0\].adapters\[0\].mac: "),
    "small disk": (lambda c: c["vms"][0]["disks"][0].update(size="1MiB"), r"vms\[0\].disks\[0\].size: "),
    "odd disk": (lambda c: c["vms"][0]["disks"][0].update(size=8_000_001), r"multiple of 65536"),
    "too much data": (lambda c: c["vms"][0]["disks"][0].update(data="7MiB"), r"at most half"),
    "unknown host": (lambda c: c["vms"][0].update(host="hv9"), r"vms\[web\]: cloud Production has no host hv9"),
    "unknown storage": (lambda c: c["vms"][0].update(storage="Tin"), r"vms\[web\]: no storage Tin"),
    "unknown subnet": (lambda c: c["vms"][0]["adapters"][0].update(subnet="X"), r"no subnet Front/X"),
    "twice": (lambda c: c["vms"][1].update(id=c["vms"][0]["id"]), r"vms.id: .* stands there twice"),
    "host bits": (lambda c: c["networks"][0]["subnets"][0].update(cidr="10.1.0.9/24"), r"subnets\[0\].cidr: "),
    "gateway outside": (lambda c: c["networks"][0]["subnets"][0].update(gateway="10.7.0.1"), r"not in 10.1.0.0/24"),
    "no hosts": (lambda c: c["hostGroups"][0].update(hosts=[]), r"hostGroups\[0\].hosts: "),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_mistake_is_named_by_its_field(name: str, tmp_path: Path) -> None:
    breaks, says = BREAKS[name]
    centre = source_centre()
    breaks(centre)
    file = tmp_path / "site.yaml"
    file.write_text(yaml.safe_dump(centre), encoding="utf-8")
    with pytest.raises(SecondsiteError, match=says) as error:
        load(file)
    assert "site.yaml" in str(error.value)


def test_a_pool_runs_forwards_inside_its_subnet() -> None:
    centre = target_centre()
    centre["networks"][0]["subnets"][0]["pool"] = {"start": "10.2.0.20", "end": "10.2.0.10"}
    with pytest.raises(ValueError, match="after its end"):
        DataCentre.model_validate(centre)


def test_a_file_that_is_missing_or_no_yaml_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(SecondsiteError, match="No such file"):
        load(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("vmm: [", encoding="utf-8")
    with pytest.raises(SecondsiteError, match="not YAML"):
        load(tmp_path / "bad.yaml")
