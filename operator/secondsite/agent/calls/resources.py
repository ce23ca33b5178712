"""The site's own resources: associations, address reservations, test networks, tombstones."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
from aiohttp import web

from secondsite.agent.calls import http
from secondsite.agent.core import Agent
from secondsite.agent.driver import Driver
from secondsite.wire.agent import Fence
from secondsite.wire.facts import Fact
from secondsite.wire.inventory import Association, Pool, TestNetwork, Tombstone
from secondsite.wire.problems import Code, Refusal
from secondsite.wire.resources import (
    AssociationWish,
    ReservationAnswer,
    ReservationWish,
    TestNetworkWish,
    TombstoneWish,
)

T = TypeVar("T")


async def put_association(request: web.Request) -> web.Response:
    agent, id_ = request.app[http.AGENT], http.path_id(request, "id")
    wish = await http.read(request, AssociationWish)
    answer = await _change(agent, "associations", wish.fence, lambda driver: driver.associate(id_, wish))
    seen = {"revision": agent.feed.revision, "instance": agent.feed.instance}
    return http.reply(answer.model_copy(update=seen))


async def delete_association(request: web.Request) -> web.Response:
    agent, id_ = request.app[http.AGENT], http.path_id(request, "id")
    await _change(agent, "associations", http.fence_of(request), lambda driver: driver.dissociate(id_))
    return http.done(agent)


async def get_association(request: web.Request) -> web.Response:
    return _fact(request, Association)


async def put_reservation(request: web.Request) -> web.Response:
    agent, (vm_id, adapter) = request.app[http.AGENT], _adapter(request)
    wish = await http.read(request, ReservationWish)
    addresses = await _change(agent, "reservations", wish.fence, lambda driver: driver.reserve(vm_id, adapter, wish))
    return _addresses(agent, addresses)


async def delete_reservation(request: web.Request) -> web.Response:
    agent, (vm_id, adapter) = request.app[http.AGENT], _adapter(request)
    await _change(agent, "reservations", http.fence_of(request), lambda driver: driver.release(vm_id, adapter))
    return http.done(agent)


async def get_reservation(request: web.Request) -> web.Response:
    agent, (vm_id, adapter) = request.app[http.AGENT], _adapter(request)
    agent.require_driver()
    pools = [pool for id_ in agent.feed.ids(Pool) if isinstance(pool := agent.feed.fact(Pool, id_), Pool)]
    reserved = [address for pool in pools for vm, of, address in pool.reserved if (vm, of) == (vm_id, adapter)]
    if not reserved:
        raise Refusal(Code.NOT_FOUND, f"Nothing is reserved for adapter {adapter} of VM {vm_id}")
    return _addresses(agent, reserved)


async def put_test_network(request: web.Request) -> web.Response:
    agent, id_ = request.app[http.AGENT], http.path_id(request, "id")
    wish = await http.read(request, TestNetworkWish)
    await _change(agent, "test networks", wish.fence, lambda driver: driver.make_test_network(id_, wish))
    return http.done(agent)


async def delete_test_network(request: web.Request) -> web.Response:
    agent, id_ = request.app[http.AGENT], http.path_id(request, "id")
    await _change(agent, "test networks", http.fence_of(request), lambda driver: driver.remove_test_network(id_))
    return http.done(agent)


async def get_test_network(request: web.Request) -> web.Response:
    return _fact(request, TestNetwork)


async def put_tombstone(request: web.Request) -> web.Response:
    agent, id_ = request.app[http.AGENT], http.path_id(request, "id")
    wish = await http.read(request, TombstoneWish)
    await _change(agent, "tombstones", wish.fence, lambda driver: driver.leave_tombstone(id_, wish))
    return http.done(agent)


async def delete_tombstone(request: web.Request) -> web.Response:
    agent, id_ = request.app[http.AGENT], http.path_id(request, "id")
    await _change(agent, "tombstones", http.fence_of(request), lambda driver: driver.remove_tombstone(id_))
    return http.done(agent)


async def get_tombstone(request: web.Request) -> web.Response:
    return _fact(request, Tombstone)


async def _change(agent: Agent, kind: str, fence: Fence, change: Callable[[Driver], Awaitable[T]]) -> T:
    """Have the driver change something, in turn, for who may command it. Raises Refusal."""
    driver = agent.require_driver()

    async def admitted() -> T:
        # At its turn, not before: a newer fence may have come while it waited.
        await agent.fences.admit(fence)
        return await change(driver)

    return await agent.turns.run(kind, admitted)


def _adapter(request: web.Request) -> tuple[str, str]:
    return http.path_id(request, "vmID"), http.path_id(request, "adapter")


def _addresses(agent: Agent, addresses: list[str]) -> web.Response:
    answer = ReservationAnswer(addresses=addresses, revision=agent.feed.revision, instance=agent.feed.instance)
    return http.reply(answer)


def _fact(request: web.Request, kind: type[Fact]) -> web.Response:
    agent, id_ = request.app[http.AGENT], http.path_id(request, "id")
    agent.require_driver()
    fact = agent.feed.fact(kind, id_)
    if fact is None:
        raise Refusal(Code.NOT_FOUND, f"This site has no {kind.__name__} {id_}")
    return http.reply_json(msgspec.json.encode(fact))
