"""The agent as a process: start, serve until told to stop, leave cleanly."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from secondsite import __version__, logs
from secondsite.agent.address import Address
from secondsite.agent.core import Agent
from secondsite.agent.driver import Driver
from secondsite.agent.listener import Listener
from secondsite.errors import SecondsiteError
from secondsite.trust.bundle import RegistrationBundle
from secondsite.trust.contexts import shrink_tls_buffers

_log = logs.get(__name__)


@dataclass(frozen=True)
class Options:
    """What `secondsite agent run` was told. `listen` is `https://IP:PORT`, empty for the VMMSite's endpoint."""

    data: Path
    bundle: Path | None = None
    listen: str = ""


def run(options: Options, driver: Driver, say: Callable[[str], None] = print) -> None:
    """Serve until SIGTERM or SIGINT. `say` gets the lines for a person, the last of them `ready URL`.

    Raises SecondsiteError for what a person has to put right.
    """
    shrink_tls_buffers()
    asyncio.run(_serve(options, driver, say))


async def _serve(options: Options, driver: Driver, say: Callable[[str], None]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        if sys.platform == "win32":
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
        else:
            loop.add_signal_handler(number, stop.set)
    agent = await Agent.open(options.data, _read_bundle(options.bundle), driver)
    listener = Listener(agent)
    try:
        address = await listener.open(Address.parse(options.listen or agent.endpoint))
        agent.begin(address.url)
        _introduce(agent, address, say)
        await _until(stop, agent.failed)
    finally:
        agent.close_polls()
        await listener.close()
        await agent.stop()
    _log.info("agent stopped", site=agent.identity.site)


def _introduce(agent: Agent, address: Address, say: Callable[[str], None]) -> None:
    identity = agent.identity
    state = "registered" if identity.registered else "waiting for registration"
    say(f"secondsite agent {__version__}: site {identity.site}, driver {agent.driver.name}, {state}")
    say(f"key fingerprint {identity.key_fingerprint}")
    warning = identity.warning(datetime.now(UTC))
    if warning:
        _log.warning("the agent may not be reachable", detail=warning)
        say(f"warning: {warning}")
    say(f"ready {address.url}")


def _read_bundle(file: Path | None) -> RegistrationBundle | None:
    if file is None:
        return None
    try:
        document = file.read_bytes()
    except OSError as error:
        raise SecondsiteError(f"Reading the registration bundle {file} failed: {error.strerror or error}") from error
    return RegistrationBundle.parse(document)


async def _until(stop: asyncio.Event, failed: asyncio.Future[None]) -> None:
    """Raises what `failed` got."""
    stopped = asyncio.create_task(stop.wait())
    either: set[asyncio.Future[Any]] = {stopped, failed}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if failed.done():
        failed.result()
