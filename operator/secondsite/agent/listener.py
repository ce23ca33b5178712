"""The agent's one listener: HTTPS with certificates both ways."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import cast

from aiohttp import web

from secondsite.agent import app
from secondsite.agent.address import Address, cannot_listen
from secondsite.agent.core import Agent, Connection

_HANDSHAKE_SECONDS = 10.0
# Open polls are roused before; whoever is left has this long to finish.
_FAREWELL_SECONDS = 0.5


class Listener:
    """Serves one agent. `address` has the real port once it is open."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._runner = web.AppRunner(app.build(agent), access_log=None, shutdown_timeout=_FAREWELL_SECONDS)
        self._server: asyncio.Server | None = None

    async def open(self, address: Address) -> Address:
        """Listen there; port 0 takes a free one. Raises SecondsiteError."""
        await self._runner.setup()
        # aiohttp's own site cannot limit how long a handshake may take.
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                cast("web.Server", self._runner.server),
                address.host,
                address.port,
                ssl=self._agent.tls.contract,
                ssl_handshake_timeout=_HANDSHAKE_SECONDS,
                reuse_address=True,
            )
        except OSError as error:
            await self._runner.cleanup()
            raise cannot_listen(address, error) from error
        self._agent.connections = self._connections
        return Address(address.host, self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Take no more calls, let those that run end."""
        if self._server is not None:
            self._server.close()
        await self._runner.cleanup()

    def _connections(self) -> Iterable[Connection]:
        server = self._runner.server
        return tuple(cast("list[Connection]", server.connections)) if server else ()
