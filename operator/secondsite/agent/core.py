"""The agent behind its listener: identity, store, feed, fences, operations and the driver, put together."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from secondsite import __version__, logs
from secondsite.agent import fences, ledger, meta, records
from secondsite.agent.changes import Feed
from secondsite.agent.driver import Driver, SiteContext
from secondsite.agent.fences import Fences
from secondsite.agent.identity import SiteIdentity
from secondsite.agent.ledger import Ledgers, Reporter
from secondsite.agent.operations import Operations
from secondsite.agent.store import Store
from secondsite.agent.tls import LiveTLS
from secondsite.agent.turns import Turns
from secondsite.trust.bundle import RegistrationBundle, endpoint_host
from secondsite.wire.agent import AgentInfo, Settings
from secondsite.wire.facts import Ledger
from secondsite.wire.operations import digest
from secondsite.wire.problems import Code, Refusal

_log = logs.get(__name__)

_AGENT_ID = "agent_id"
_SETTINGS = "settings"
_TIDY_SECONDS = 3600


class Connection(Protocol):
    """A caller's connection."""

    @property
    def transport(self) -> asyncio.Transport | None: ...


class Agent:
    """One site's agent. `failed` gets the error that makes going on pointless."""

    def __init__(self, data: Path, identity: SiteIdentity, store: Store, driver: Driver) -> None:
        self.data = data
        self.identity = identity
        self.tls = LiveTLS(identity)
        self.driver = driver
        self.store = store
        self.feed = Feed()
        self.id = ""
        self.endpoint = identity.endpoint
        self.closing = False
        self.turns = Turns()
        # Who is connected; the listener knows.
        self.connections: Callable[[], Iterable[Connection]] = tuple
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.fences = Fences(store, None)
        self._ledgers = Ledgers(())
        self.reporter = Reporter(self.feed, self._ledgers)
        self.operations = Operations(store, driver, self.feed, self._ledgers, self.reporter)
        self._opened = self._started = False
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    async def open(cls, data: Path, bundle: RegistrationBundle | None, driver: Driver) -> Agent:
        """Take up what the data folder holds. Raises SecondsiteError for what a person has to put right."""
        store = Store(data / "agent.db")
        try:
            agent = cls(data, SiteIdentity(data / "identity", bundle), store, driver)
            await agent._load()
        except BaseException:
            await store.close()
            raise
        return agent

    def begin(self, endpoint: str = "") -> None:
        """Start what needs no caller. `endpoint` is the address listened on, if not the one that the VMMSite names."""
        self.endpoint = endpoint or self.endpoint
        self._tasks.append(asyncio.create_task(self._tidy_now_and_then()))
        if self.identity.registered:
            self.start_driver()

    def start_driver(self) -> None:
        """Once, as soon as the agent is registered."""
        self._tasks.append(asyncio.create_task(self._start_driver()))

    def close_polls(self) -> None:
        """Answer everybody who waits at the feed."""
        self.closing = True
        self.feed.rouse()

    async def stop(self) -> None:
        """Leave nothing half written; operations that run are taken up again at the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.operations.stop()
        if self._opened:
            self._opened = self._started = False
            await self.driver.stop()
        await self.store.close()

    def settled(self) -> bool:
        """Whether relations can be read."""
        return self._started and self.driver.settled()

    def require_driver(self) -> Driver:
        """The driver, once it has started. Raises Refusal (Settling)."""
        if not self._started:
            raise Refusal(Code.SETTLING, "The agent is starting: its driver cannot be asked yet")
        return self.driver

    def info(self) -> AgentInfo:
        return AgentInfo(
            id=self.id,
            site=self.identity.site if self.identity.registered else "",
            version=__version__,
            driver=self.driver.name,
            capabilities=tuple(sorted(self.driver.capabilities)),
            registered=self.identity.registered,
            key_fingerprint=self.identity.key_fingerprint,
            time=self.driver.now(),
            hurry=self.driver.hurry,
            fence=self.fences.highest,
            operations_begun=self.operations.begun,
        )

    async def apply(self, settings: Settings) -> None:
        """Take over the site's settings and remember them."""
        await self.require_driver().apply(settings)
        await self.store.run(lambda connection: meta.put(connection, _SETTINGS, settings.to_json().decode()))
        self.reporter.settings_applied(digest(settings))

    async def _load(self) -> None:
        now = datetime.now(UTC)
        self.id = await self.store.run(_agent_id)
        self.fences.highest = await self.store.run(fences.load)
        for kept in await self.store.run(ledger.load):
            self._ledgers.put(kept)
        for kept in self._ledgers.vms():
            self.feed.publish(Ledger, kept.vm_id, kept)
        self.operations.load(
            await self.store.run(records.count_begun),
            await self.store.run(records.running),
            await self.store.run(partial(records.newest, now=now)),
        )

    async def _start_driver(self) -> None:
        folder = self.data / "driver"
        folder.mkdir(mode=0o700, exist_ok=True)
        address = endpoint_host(self.endpoint)
        context = SiteContext(self.identity.site, folder, self.reporter, self.tls, address)
        try:
            await self.driver.start(context)
            self._opened = True
            await self._reapply()
        except Exception as error:  # noqa: BLE001 - whatever it is, the process ends with it
            if not self.failed.done():
                self.failed.set_exception(error)
            return
        self.operations.resume()
        # Last: nobody commands or reads a site whose interrupted operations are not taken up yet.
        self._started = True
        self.feed.rouse()
        _log.info("driver started", driver=self.driver.name, site=self.identity.site)

    async def _reapply(self) -> None:
        text = await self.store.run(lambda connection: meta.get(connection, _SETTINGS))
        if text is None:
            return
        settings = Settings.model_validate_json(text)
        try:
            await self.driver.apply(settings)
        except Refusal as refusal:
            _log.warning("the site's settings no longer apply", detail=refusal.detail)
            return
        self.reporter.settings_applied(digest(settings))

    async def _tidy_now_and_then(self) -> None:
        while True:
            try:
                await self.operations.tidy(datetime.now(UTC))
            except sqlite3.Error as error:
                _log.warning("old operations cannot be forgotten, trying again in an hour", error=str(error))
            await asyncio.sleep(_TIDY_SECONDS)


def _agent_id(connection: sqlite3.Connection) -> str:
    known = meta.get(connection, _AGENT_ID)
    if known is None:
        known = str(uuid4())
        meta.put(connection, _AGENT_ID, known)
    return known
