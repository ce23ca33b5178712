"""The site as a whole: the agent itself, its checks, its settings, the feed, one VM."""

from __future__ import annotations

import asyncio
import contextlib
import math

import msgspec
from aiohttp import web

from secondsite.agent import checks, messages
from secondsite.agent.calls import http
from secondsite.agent.poll import LONGEST_WAIT_SECONDS, poll
from secondsite.wire.agent import Checks, Settings


async def get_agent(request: web.Request) -> web.Response:
    return http.reply(request.app[http.AGENT].info())


async def get_checks(request: web.Request) -> web.Response:
    agent = request.app[http.AGENT]
    now = agent.driver.now()
    newest = await agent.operations.newest_end()
    own = await asyncio.to_thread(checks.of_agent, agent.data, agent.identity.identity.peer, newest, now)
    return http.reply(Checks(time=now, checks=[*own, *await agent.require_driver().checks()]))


async def get_changes(request: web.Request) -> web.Response:
    agent = request.app[http.AGENT]
    cursor, wait = request.query.get("cursor", ""), _wait(request.query.get("wait", "0"))
    body = await poll(
        agent.feed, cursor, wait, settled=agent.settled, closing=lambda: agent.closing, now=agent.driver.now
    )
    return http.reply_json(body)


async def get_vm(request: web.Request) -> web.Response:
    agent, vm_id = request.app[http.AGENT], http.path_id(request, "vmID")
    detail = await agent.require_driver().detail(vm_id)
    relation = agent.reporter.relation(detail.relation) if detail.relation else None
    whole = msgspec.structs.replace(detail, relation=relation, operations=await agent.operations.of_vm(vm_id))
    return http.reply_json(msgspec.json.encode(whole))


async def put_settings(request: web.Request) -> web.Response:
    agent, settings = request.app[http.AGENT], await http.read(request, Settings)
    agent.require_driver()

    async def admitted() -> None:
        await agent.fences.admit(settings.fence)
        await agent.apply(settings)

    await agent.turns.run("settings", admitted)
    return http.done(agent)


def _wait(text: str) -> float:
    with contextlib.suppress(ValueError):
        seconds = float(text)
        if math.isfinite(seconds) and seconds >= 0:
            return min(seconds, LONGEST_WAIT_SECONDS)
    raise messages.invalid("wait", f"{text!r} is not a number of seconds from 0 to {LONGEST_WAIT_SECONDS:.0f}")
