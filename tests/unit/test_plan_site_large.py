"""A VMMSite with the large example's inventory: what its status shows of it, and how large that is."""

import json
from datetime import UTC, datetime
from pathlib import Path

from secondsite.agent.lab.datacentre import load
from secondsite.agent.lab.inventory import machine_facts, network_facts, pool_facts, site_fact
from secondsite.agent.lab.state import SiteSettings
from secondsite.api.recoveryvault import RecoveryVaultSpec
from secondsite.api.vmmsite_status import VMMSiteStatus
from secondsite.plan import site_report
from secondsite.plan.actions import Plan
from secondsite.plan.observed import Identity, SiteView, SiteWorld
from support.worlds import obj, reachable, site_object

LARGE = Path(__file__).parents[2] / "examples" / "sites" / "large" / "antwerp.yaml"


def test_the_inventory_of_five_hundred_vms_fits_into_a_status() -> None:
    centre, settings = load(LARGE), SiteSettings()
    view = SiteView(
        name="antwerp",
        contact=reachable(),
        synced=True,
        site=site_fact(centre, settings, []),
        vms={vm.id: vm for vm in machine_facts(centre, settings, {})},
        networks={network.name: network for network in network_facts(centre)},
        pools={f"{pool.network}/{pool.subnet}": pool for pool in pool_facts(centre, [])},
    )
    now = datetime(2026, 11, 21, tzinfo=UTC)
    world = SiteWorld(now, site_object("antwerp"), obj("vault", RecoveryVaultSpec()), Identity("v", "c"), view)
    shown = site_report.judge(world, Plan(), ()).status
    status = VMMSiteStatus.model_validate(shown)
    assert {cloud.name: cloud.vms for cloud in status.clouds}["Production"] == 270
    branches = next(network for network in status.networks if network.name == "Branches")
    assert branches.isolation == "None"
    assert [subnet.name for subnet in branches.subnets] == [f"Branch-{number}" for number in range(1, 7)]
    assert all(subnet.pool and subnet.pool.free > 50 for subnet in branches.subnets)
    assert len(status.networks) == len(centre.networks)
    assert status.unprotected_vms == 500
    assert len(json.dumps(shown)) < 32 << 10
