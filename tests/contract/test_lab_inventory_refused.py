"""What a real pair of lab sites refuses to replicate, from both ends, and what its inventory says of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from secondsite.wire.arguments import AdapterPlan, ConfigureReplica
from secondsite.wire.inventory import VM, Site
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Code, Refusal
from support.lab import SETTINGS, make_pair, running_pair
from support.lab_centres import DB, LEGACY, WEB, source_centre, target_centre


async def test_what_only_the_other_side_knows_comes_back_with_its_remedy(tmp_path: Path) -> None:
    target = target_centre()
    target["hostGroups"][0]["hosts"] = [{"name": f"hv{n}.west", "configurationVersions": ["9.0"]} for n in (1, 2)]
    async with running_pair(tmp_path, target=target) as pair:
        await pair.target.do(Verb.PREPARE_REPLICA, WEB, pair.prepare_arguments())
        with pytest.raises(Refusal, match="ConfigurationVersion") as refused:
            await pair.source.do(Verb.ENABLE_REPLICATION, WEB, pair.enable_arguments(1))
        assert refused.value.code is Code.UNSUPPORTED
        assert "Update the hosts there" in refused.value.detail
        assert pair.states() == ("Disabled", "Disabled")


async def test_a_replica_is_not_replicated_further(tmp_path: Path) -> None:
    async with running_pair(tmp_path) as pair:
        await pair.enable()
        with pytest.raises(Refusal, match="ReplicaVM") as refused:
            await pair.target.do(Verb.ENABLE_REPLICATION, WEB, pair.enable_arguments(1))
        assert refused.value.code is Code.UNSUPPORTED
        fact = pair.target.sink.get(VM, WEB)
        assert fact is not None
        assert fact.role == "Replica"


async def test_replicas_go_to_hosts_that_respond(tmp_path: Path) -> None:
    target = target_centre()
    target["hostGroups"][0]["hosts"][0] = {"name": "hv1.west", "state": "NotResponding"}
    async with running_pair(tmp_path, target=target) as pair:
        for vm_id, name in ((WEB, "web"), (DB, "db"), (LEGACY, "legacy")):
            answer = await pair.target.do(Verb.PREPARE_REPLICA, vm_id, pair.prepare_arguments(name))
            assert answer["host"] == "hv2.west"


async def test_a_group_without_a_host_that_responds_gets_no_replica(tmp_path: Path) -> None:
    target = target_centre()
    target["hostGroups"] += [
        {"name": "Silent", "hosts": [{"name": "hv8.west", "state": "NotResponding"}]},
        {"name": "Other", "hosts": ["hv9.west"]},
    ]
    target["clouds"][0]["hostGroups"].append("Silent")
    async with running_pair(tmp_path, target=target) as pair:
        for group, code in (("Silent", Code.SETTLING), ("Other", Code.NOT_FOUND), ("None", Code.NOT_FOUND)):
            wish = pair.prepare_arguments().model_copy(update={"host_group": group})
            with pytest.raises(Refusal) as refused:
                await pair.target.do(Verb.PREPARE_REPLICA, WEB, wish)
            assert refused.value.code is code
            assert refused.value.remedy


async def test_gateway_and_name_servers_are_facts_of_the_replica(tmp_path: Path) -> None:
    async with running_pair(tmp_path) as pair:
        await pair.enable()
        for gateway in ("10.2.0.1", "10.2.0.254"):
            plan = AdapterPlan(
                adapter="00:15:5D:00:00:01",
                network="Front-DR",
                addresses=("10.2.0.10",),
                gateway=gateway,
                dns_servers=("10.2.0.2", "10.2.0.3"),
            )
            wish = ConfigureReplica(adapters=(plan,), settings=SETTINGS)
            await pair.target.do(Verb.CONFIGURE_REPLICA, WEB, wish)
            [setting] = pair.target.relation().adapters
            assert (setting.gateway, setting.dns_servers) == (gateway, ("10.2.0.2", "10.2.0.3"))


async def test_an_obstacle_that_goes_is_news(tmp_path: Path) -> None:
    centre = source_centre()
    centre["vms"][0]["status"] = "MergingDrives"
    pair = make_pair(tmp_path, source=centre)
    await pair.source.start()
    fact = pair.source.sink.get(VM, WEB)
    assert fact is not None
    assert fact.unsupported == ("MergingDrives",)
    with pytest.raises(Refusal, match="MergingDrives"):
        await pair.source.do(Verb.ENABLE_REPLICATION, WEB, pair.enable_arguments(1))
    pair.source.file.write_text(yaml.safe_dump(source_centre()), encoding="utf-8")
    await pair.source.do(Verb.REFRESH_INVENTORY, "")
    fact = pair.source.sink.get(VM, WEB)
    assert fact is not None
    assert (fact.unsupported, fact.status, fact.configuration_version) == ((), "", "10.0")
    site = pair.source.sink.get(Site, "site")
    assert site is not None
    assert [host.name for host in site.hosts] == ["hv1.east"]
    await pair.source.driver.stop()
