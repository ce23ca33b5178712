"""Our own HTTP server: whether the operator lives, whether it is ready, and its metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Answer = tuple[bool, str]
"""Whether it is so, and why not."""


@dataclass(slots=True)
class Probes:
    """Answers `/healthz`, `/readyz` and `/metrics`. `port` is the real one once it listens, also where 0 was asked."""

    healthy: Callable[[], Answer]
    ready: Callable[[], Answer]
    metrics: Callable[[], Awaitable[bytes]]
    host: str
    port: int
    _runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen. Raises OSError when the port is taken."""
        app = web.Application()
        app.router.add_get("/healthz", self._probe(self.healthy))
        app.router.add_get("/readyz", self._probe(self.ready))
        app.router.add_get("/metrics", self._serve_metrics)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host or None, self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    @staticmethod
    def _probe(ask: Callable[[], Answer]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(_request: web.Request) -> web.Response:
            good, text = ask()
            return web.Response(status=200 if good else 503, text=f"{text}\n")

        return answer

    async def _serve_metrics(self, _request: web.Request) -> web.Response:
        response = web.Response(body=await self.metrics(), headers={"Content-Type": CONTENT_TYPE})
        response.enable_compression()
        return response
