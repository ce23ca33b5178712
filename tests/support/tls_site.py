"""A small site behind TLS: it answers with the name of whoever asks."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from secondsite.trust.gate import PeerRefused, require_role
from secondsite.trust.handshake import peer_of
from secondsite.trust.names import Role

HOST = "127.0.0.1"


@web.middleware
async def roles(request: web.Request, handler: Handler) -> web.StreamResponse:
    peer = peer_of(request.get_extra_info("ssl_object"))
    try:
        require_role(peer, (Role.OPERATOR,) if request.method != "GET" else (Role.OPERATOR, Role.READER))
    except PeerRefused as refused:
        return web.json_response({"code": refused.reason, "detail": refused.what}, status=403)
    return await handler(request)


class Site:
    """A site that answers with the name of whoever asks, and holds `/hold` open until it is released."""

    def __init__(self) -> None:
        self.served: list[str] = []
        self.waiting = asyncio.Event()
        self.release = asyncio.Event()

    async def who(self, request: web.Request) -> web.Response:
        self.served.append(request.method)
        await request.read()
        return web.Response(text=peer_of(request.get_extra_info("ssl_object")).name.uri)

    async def hold(self, _request: web.Request) -> web.Response:
        self.waiting.set()
        await self.release.wait()
        return web.Response(text="kept")


@asynccontextmanager
async def listening(context: ssl.SSLContext) -> AsyncIterator[tuple[str, Site]]:
    site, app = Site(), web.Application(middlewares=[roles], client_max_size=1 << 24)
    app.router.add_get("/hold", site.hold)
    app.router.add_route("*", "/", site.who)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, 0, ssl_context=context).start()
        yield f"https://{HOST}:{runner.addresses[0][1]}", site
    finally:
        await runner.cleanup()


async def fetch(context: ssl.SSLContext, url: str, method: str = "GET") -> tuple[int, str]:
    connector = aiohttp.TCPConnector(ssl=context, force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session, session.request(method, url) as answer:
        return answer.status, await answer.text()


async def refusal(context: ssl.SSLContext, server: ssl.SSLContext) -> aiohttp.ClientError:
    """What a client gets that is not let in. The server must not have served anything."""
    async with listening(server) as (url, site):
        with pytest.raises(aiohttp.ClientError) as caught:
            await fetch(context, url)
        assert site.served == []
    return caught.value
