"""Associations, reservations, tombstones, and who may enable what: refusals and repetitions."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from secondsite.agent.lab import state
from secondsite.wire.agent import NO_FENCE
from secondsite.wire.inventory import Association, Pool, Tombstone
from secondsite.wire.operations import Verb, digest
from secondsite.wire.problems import Code, Refusal
from secondsite.wire.resources import ReservationWish, TombstoneWish
from support.lab import ASSOCIATION, LabPair, free_port, make_pair, running_pair
from support.lab_centres import DB, LEGACY, WEB
from support.patience import until
from support.vault import Vault

MAC = "00:15:5D:00:00:01"
SUBNET = "10.2.0.0/24"


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[LabPair]:
    async with running_pair(tmp_path) as found:
        yield found


def reservation(**wish: Any) -> ReservationWish:
    return ReservationWish(**({"fence": NO_FENCE, "network": "Front-DR", "subnets": [SUBNET]} | wish))


async def test_an_association_is_a_fact_with_the_digest_of_its_wish(pair: LabPair) -> None:
    fact = pair.target.sink.get(Association, ASSOCIATION)
    assert fact is not None
    assert fact.digest == digest(pair.wish("Target"))
    assert (fact.data_host, fact.data_address, fact.data_port) == ("hv1.west", "127.0.0.1", pair.port)
    await pair.source.driver.dissociate(ASSOCIATION)
    await pair.source.driver.dissociate(ASSOCIATION)
    assert pair.source.sink.get(Association, ASSOCIATION) is None


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"hurry": 2.0}, Code.INVALID_REQUEST),
        ({"cloud": "Nowhere"}, Code.NOT_FOUND),
        ({"storage": ({"source": "Gold", "target": "Platinum"},)}, Code.NOT_FOUND),
    ],
)
async def test_an_association_that_cannot_work_is_refused(pair: LabPair, changes: dict[str, Any], code: Code) -> None:
    with pytest.raises(Refusal) as refused:
        await pair.target.driver.associate("other", pair.wish("Target", **changes))
    assert refused.value.code is code
    assert pair.target.sink.get(Association, "other") is None


async def test_one_host_takes_data_at_one_port(pair: LabPair) -> None:
    with pytest.raises(Refusal) as refused:
        await pair.target.driver.associate("other", pair.wish("Target", port=free_port()))
    assert refused.value.code is Code.TRANSPORT_CONFLICT


async def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    pair = make_pair(tmp_path)
    await pair.target.start()
    with socket.create_server(("127.0.0.1", pair.port)), pytest.raises(Refusal) as refused:
        await pair.target.driver.associate(ASSOCIATION, pair.wish("Target"))
    assert refused.value.code is Code.TRANSPORT_CONFLICT
    assert f"127.0.0.1:{pair.port}" in refused.value.detail
    await pair.target.driver.stop()


async def test_an_association_in_use_is_not_removed(pair: LabPair) -> None:
    await pair.protect()
    for site in (pair.source, pair.target):
        with pytest.raises(Refusal) as refused:
            await site.driver.dissociate(ASSOCIATION)
        assert refused.value.code is Code.IN_USE


async def test_addresses_are_given_once_and_for_good(pair: LabPair) -> None:
    driver = pair.target.driver
    first = await driver.reserve(WEB, MAC, reservation())
    assert first == ["10.2.0.10"]
    await pair.target.restart()
    driver = pair.target.driver
    assert await driver.reserve(WEB, MAC, reservation()) == first
    assert await driver.reserve(DB, MAC, reservation(addresses=("10.2.0.12",))) == ["10.2.0.12"]
    with pytest.raises(Refusal) as refused:
        await driver.reserve(LEGACY, MAC, reservation(addresses=("10.2.0.12",)))
    assert refused.value.code is Code.IN_USE
    await driver.reserve(LEGACY, MAC, reservation())
    with pytest.raises(Refusal) as refused:
        await driver.reserve(LEGACY, "00:15:5D:00:00:99", reservation())
    assert refused.value.code is Code.POOL_EXHAUSTED
    pool = pair.target.sink.get(Pool, "Front-DR/F")
    assert pool is not None
    assert (pool.free, len(pool.reserved)) == (0, 3)
    for _ in range(2):
        await driver.release(WEB, MAC)
    pool = pair.target.sink.get(Pool, "Front-DR/F")
    assert pool is not None
    assert pool.free == 1


async def test_tombstones_stay_until_they_are_served(pair: LabPair) -> None:
    wish = TombstoneWish(fence=NO_FENCE, vault="v", vm_id=WEB, epoch=3, steps=("DisableReplication",))
    await pair.target.driver.leave_tombstone("t1", wish)
    await pair.target.restart()
    fact = pair.target.sink.get(Tombstone, "t1")
    assert fact is not None
    assert (fact.vm_id, fact.epoch, fact.steps) == (WEB, 3, ("DisableReplication",))
    await pair.target.driver.remove_tombstone("t1")
    await pair.target.driver.remove_tombstone("t1")
    assert pair.target.sink.get(Tombstone, "t1") is None


async def test_nothing_is_replicated_where_no_place_was_prepared(pair: LabPair) -> None:
    with pytest.raises(Refusal) as refused:
        await pair.source.do(Verb.ENABLE_REPLICATION, WEB, pair.enable_arguments(1))
    assert refused.value.code is Code.NOT_AUTHORIZED
    assert pair.states() == ("Disabled", "Disabled")


async def test_a_disk_that_cannot_be_replicated_is_refused_before_anything_happens(pair: LabPair) -> None:
    await pair.target.do(Verb.PREPARE_REPLICA, LEGACY, pair.prepare_arguments("legacy"))
    with pytest.raises(Refusal, match="PassThrough") as refused:
        await pair.source.do(Verb.ENABLE_REPLICATION, LEGACY, pair.enable_arguments(1))
    assert refused.value.code is Code.UNSUPPORTED
    assert pair.target.driver.relation(LEGACY) is None


async def test_an_unreachable_peer_is_said_so(tmp_path: Path) -> None:
    pair = make_pair(tmp_path)
    await pair.source.start()
    with pytest.raises(Refusal) as refused:
        await pair.source.do(Verb.ENABLE_REPLICATION, WEB, pair.enable_arguments(1))
    assert refused.value.code is Code.PEER_UNREACHABLE
    await pair.source.driver.stop()


async def test_a_site_without_an_association_may_send_nothing(pair: LabPair) -> None:
    await pair.protect()
    await pair.target.driver.associate("other", pair.wish("Target", peer_site="north"))
    pair.target.driver._at.estate.documents.remove(state.Association, ASSOCIATION)
    await until(lambda: pair.source.relation().state == "Error")
    assert "no association lets site east" in pair.source.relation().message


async def test_a_site_of_another_vault_does_not_get_past_the_handshake(pair: LabPair) -> None:
    await pair.target.do(Verb.PREPARE_REPLICA, WEB, pair.prepare_arguments())
    stranger = Vault()
    pair.source.tls._identity, pair.source.tls._trust = stranger.agent("east"), stranger.trust()
    with pytest.raises(Refusal) as refused:
        await pair.source.do(Verb.ENABLE_REPLICATION, WEB, pair.enable_arguments(1))
    assert refused.value.code is Code.PEER_UNREACHABLE
    assert pair.states() == ("Disabled", "Disabled")
