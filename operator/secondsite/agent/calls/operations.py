"""Commands."""

from __future__ import annotations

from functools import partial

from aiohttp import web

from secondsite.agent import messages
from secondsite.agent.calls import http


async def put_operation(request: web.Request) -> web.Response:
    agent, key = request.app[http.AGENT], http.path_id(request, "key")
    asked = messages.operation(await request.read())
    agent.require_driver()
    await agent.fences.admit(asked.fence)
    return http.reply(await agent.operations.put(key, asked, partial(agent.fences.require, asked.fence)))


async def get_operation(request: web.Request) -> web.Response:
    agent = request.app[http.AGENT]
    return http.reply(await agent.operations.get(http.path_id(request, "key")))


async def delete_operation(request: web.Request) -> web.Response:
    agent, key = request.app[http.AGENT], http.path_id(request, "key")
    await agent.fences.admit(http.fence_of(request))
    return http.reply(await agent.operations.abandon(key))
