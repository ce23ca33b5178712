"""A lab site with the large example's 500 VMs: it starts at once, and tells everything."""

from __future__ import annotations

import time
from pathlib import Path

import yaml

from secondsite.agent.driver import SiteContext
from secondsite.agent.lab.driver import LabDriver
from secondsite.wire.inventory import VM, Network, Pool, Site
from support.lab import HURRY, RecordingSink, SiteTLS
from support.vault import Vault

LARGE = Path(__file__).parents[2] / "examples" / "sites" / "large" / "hamburg.yaml"


async def test_five_hundred_vms_are_told_within_three_seconds_of_work(tmp_path: Path) -> None:
    vault, sink, spent = Vault(), RecordingSink(), time.process_time()
    driver = LabDriver(LARGE, hurry=HURRY)
    tls = SiteTLS(vault.agent("hamburg"), vault.trust())
    await driver.start(SiteContext(site="hamburg", data=tmp_path, sink=sink, tls=tls))
    try:
        # Of the processor's time, so that a busy machine fails nothing.
        assert time.process_time() - spent < 3
        body = yaml.load(LARGE.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        assert {vm.id for vm in sink.all(VM)} == {vm["id"] for vm in body["vms"]}
        assert len(sink.all(Network)) == len(body["networks"])
        assert len(sink.all(Pool)) > len(body["networks"]) - 3
        site = sink.get(Site, "site")
        assert site is not None
        assert sum(cloud.vms for cloud in site.clouds) == 500
        assert (len(site.hosts), len(site.clusters)) == (44, 5)
        used = sum(file.stat().st_blocks * 512 for file in tmp_path.rglob("*.raw"))
        assert used < 256 << 20
    finally:
        await driver.stop()
