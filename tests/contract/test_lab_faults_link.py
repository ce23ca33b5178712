"""Faults of the way between two sites and of who is served at its end: what both halves say, and how it heals."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from secondsite.wire.agent import NO_FENCE, Settings
from secondsite.wire.operations import Verb
from secondsite.wire.problems import Code, Refusal
from support.lab import LabPair, LabSite, running_pair
from support.lab_centres import DB, WEB, large_source_centre
from support.patience import until


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[LabPair]:
    async with running_pair(tmp_path) as found:
        yield found


async def break_(site: LabSite, fault: str, **more: Any) -> None:
    await site.ask(ask="fault", fault=fault, **more)


async def mend(site: LabSite, fault: str, **more: Any) -> None:
    await site.ask(ask="fault", fault=fault, off=True, **more)


def source_says(pair: LabPair, reason: str, words: str) -> bool:
    fact = pair.source.relation()
    return reason in fact.health_reasons and words in fact.message


async def heals(pair: LabPair, vm_id: str = WEB) -> None:
    await pair.more_cycles(2, vm_id)
    fact = pair.source.relation(vm_id)
    assert pair.states(vm_id) == ("Replicating", "Replicating")
    assert not {"cannot-deliver", "error-fix-and-resume"} & set(fact.health_reasons)
    assert all(verdict["identical"] for verdict in await pair.replay(vm_id))


@pytest.mark.parametrize("where", ["source", "target"])
async def test_fault_link_down_at_either_end_stops_delivery_and_heals_by_itself(pair: LabPair, where: str) -> None:
    await pair.protect()
    site: LabSite = getattr(pair, where)
    await break_(site, "LinkDown")
    words = "unreachable" if where == "source" else "TLS with"
    await until(lambda: source_says(pair, "cannot-deliver", words))
    fact = pair.source.relation()
    assert (fact.state, fact.health) == ("Replicating", "Critical")
    cycles = pair.target.relation().cycles
    await pair.target.do(Verb.PREPARE_REPLICA, DB, pair.prepare_arguments("db"))
    with pytest.raises(Refusal) as refused:
        await pair.source.do(Verb.ENABLE_REPLICATION, DB, pair.enable_arguments(2))
    assert refused.value.code is Code.PEER_UNREACHABLE
    assert pair.target.relation().cycles == cycles
    await mend(site, "LinkDown")
    await heals(pair)


async def test_fault_link_down_ends_what_is_on_its_way_and_ends_by_its_time_over_a_restart(tmp_path: Path) -> None:
    async with running_pair(tmp_path, source=large_source_centre()) as pair:
        await break_(pair.source, "LinkSlow", value=262144)
        await pair.enable()
        await until(lambda: (pair.source.relation().bytes_per_second or 0) > 0)
        await break_(pair.source, "LinkDown", seconds=2.5)
        await pair.source.restart()
        assert [item["fault"] for item in (await pair.source.ask(ask="faults"))["faults"]] == ["LinkDown", "LinkSlow"]
        await until(lambda: pair.source.relation().message.count("unreachable") > 0)
        await mend(pair.source, "LinkSlow")
        await until(lambda: pair.states() == ("Replicating", "Replicating"))
        assert (await pair.source.ask(ask="faults"))["faults"] == []


async def test_fault_link_slow_holds_transfers_to_its_rate(tmp_path: Path) -> None:
    async with running_pair(tmp_path, source=large_source_centre()) as pair:
        # Below the limit that the site has itself: twelve mebibytes take a second and a half.
        await pair.source.driver.apply(site_settings(64 << 20))
        await break_(pair.source, "LinkSlow", value=8 << 20)
        began = time.monotonic()
        await pair.protect()
        assert time.monotonic() - began > 1.0
        await mend(pair.source, "LinkSlow")
        await heals(pair)


def site_settings(bandwidth: int) -> Settings:
    return Settings(fence=NO_FENCE, bandwidth_limit_bytes_per_second=bandwidth)


@pytest.mark.parametrize("where", ["source", "target"])
async def test_fault_link_lossy_breaks_connections_and_transfers_resume(tmp_path: Path, where: str) -> None:
    async with running_pair(tmp_path, source=large_source_centre()) as pair:
        site: LabSite = getattr(pair, where)
        await break_(site, "LinkLossy", value=100)
        await pair.enable()
        await until(lambda: "broke" in pair.source.relation().message or "TLS" in pair.source.relation().message)
        assert pair.source.relation().state == "InitialReplicationInProgress"
        await break_(site, "LinkLossy", value=30)
        await until(lambda: pair.states() == ("Replicating", "Replicating"))
        await mend(site, "LinkLossy")
        await heals(pair)


@pytest.mark.parametrize("where", ["source", "target"])
async def test_fault_certificate_expired_ends_the_handshake_and_heals_by_itself(pair: LabPair, where: str) -> None:
    await pair.protect()
    site: LabSite = getattr(pair, where)
    await break_(site, "CertificateExpired")
    await until(lambda: source_says(pair, "cannot-deliver", "certificate"))
    assert "expired" in pair.source.relation().message
    assert pair.source.relation().state == "Replicating"
    await mend(site, "CertificateExpired")
    await heals(pair)


async def test_fault_broker_offline_refuses_new_work_in_its_own_words_and_heals_by_itself(pair: LabPair) -> None:
    await pair.protect()
    await break_(pair.target, "BrokerOffline")
    await until(lambda: source_says(pair, "cannot-deliver", "Replica Broker hv1.west is offline"))
    await pair.target.do(Verb.PREPARE_REPLICA, DB, pair.prepare_arguments("db"))
    with pytest.raises(Refusal, match=r"Replica Broker hv1\.west is offline") as refused:
        await pair.source.do(Verb.ENABLE_REPLICATION, DB, pair.enable_arguments(2))
    assert refused.value.code is Code.PEER_UNREACHABLE
    await mend(pair.target, "BrokerOffline")
    await heals(pair)
    await pair.source.do(Verb.ENABLE_REPLICATION, DB, pair.enable_arguments(2))


async def test_fault_authorization_revoked_ends_in_error_until_somebody_resumes(pair: LabPair) -> None:
    await pair.protect()
    await break_(pair.target, "AuthorizationRevoked", vmID="web")
    await until(lambda: pair.source.driver.state(WEB) == "Error")
    fact = pair.source.relation()
    assert (fact.health, fact.health_reasons[0]) == ("Critical", "error-fix-and-resume")
    assert "authorization entry" in fact.message
    assert pair.target.driver.state(WEB) == "Replicating"
    await mend(pair.target, "AuthorizationRevoked", vmID="web")
    await pair.source.do(Verb.RESUME, WEB)
    await heals(pair)


async def test_fault_replica_disk_full_keeps_every_point_and_heals_by_itself(pair: LabPair) -> None:
    await pair.protect()
    await break_(pair.target, "ReplicaDiskFull", vmID=WEB)
    await until(lambda: source_says(pair, "cannot-deliver", "no room"))
    points = {point.id for point in await pair.target.driver.points(WEB)}
    replica = pair.target.relation()
    assert (replica.health, "out-of-space" in replica.health_reasons) == ("Critical", True)
    assert (await pair.target.driver.detail(WEB)).replica_free_bytes == 0
    await until(lambda: pair.source.relation().message.count("no room") > 0)
    assert {point.id for point in await pair.target.driver.points(WEB)} == points
    await mend(pair.target, "ReplicaDiskFull", vmID=WEB)
    await heals(pair)
    assert "out-of-space" not in pair.target.relation().health_reasons


async def test_fault_replica_paused_fails_the_primary_until_it_is_resumed(pair: LabPair) -> None:
    await pair.protect()
    await break_(pair.target, "ReplicaPaused", vmID=WEB)
    await until(lambda: pair.states() == ("Error", "Suspended"))
    assert "paused" in pair.target.relation().health_reasons
    assert "suspended" in pair.source.relation().message
    await mend(pair.target, "ReplicaPaused", vmID=WEB)
    assert pair.states() == ("Error", "Replicating")
    await pair.source.do(Verb.RESUME, WEB)
    await heals(pair)
