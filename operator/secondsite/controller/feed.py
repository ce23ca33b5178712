"""Follows every site: one task each, which dials, measures the clock, and takes in the change feed while it lasts."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Mapping
from datetime import timedelta

from secondsite import logs
from secondsite.api.kind import Object
from secondsite.api.vmmsite import VMMSiteSpec
from secondsite.controller.agents import UNREGISTERED, Unreached
from secondsite.controller.clients import Clients, Dialled
from secondsite.controller.ports import SiteKey
from secondsite.controller.probe import vault_at
from secondsite.controller.sites import Sites
from secondsite.errors import NotYet, SecondsiteError
from secondsite.trust.certificates import utc_now
from secondsite.wire.agent import AgentInfo, Verdict

POLL_SECONDS = 25.0
"""How long one poll waits for news; every poll that ends tells that the site still answers."""
CHECKS_SECONDS = 60.0
"""How often the preflight checks are asked for."""
# More than an answer is ever under way: the site's clock was set, and every time that it tells means something else.
_CLOCK_JUMP = timedelta(seconds=5)
RECHECK_SECONDS = 2.0
"""How soon again after checks that could not be made, as while a site's driver starts."""
_UNREGISTERED_SECONDS = 1.0
# The first call also makes the connection; one that takes longer than this says too little of the site's clock.
_CLOCK_CALL = timedelta(milliseconds=50)
_CLOCK_CALLS = 3
_PAUSES = (0.5, 1.0, 2.0, 5.0, 10.0)

_log = logs.get(__name__)


class Feeds:
    """The tasks that follow the sites."""

    def __init__(self, sites: Sites, clients: Clients) -> None:
        self._sites = sites
        self._clients = clients
        self._wanted: dict[SiteKey, Object[VMMSiteSpec]] = {}
        self._tasks: dict[SiteKey, asyncio.Task[None]] = {}

    def sync(self, wanted: Mapping[SiteKey, Object[VMMSiteSpec]]) -> None:
        """Follow exactly these sites. A changed endpoint is dialled at once, a site that is gone is forgotten."""
        for key in self._tasks.keys() - wanted.keys():
            self._stop(key)
            self._clients.forget(key)
            self._sites.drop(key)
        for key, site in wanted.items():
            before = self._wanted.get(key)
            self._sites.suspend(key, suspended=site.spec.suspended)
            moved = before is not None and (before.uid, before.spec.endpoint) != (site.uid, site.spec.endpoint)
            if moved:
                self._stop(key)
                self._sites.unsync(key)
        self._wanted = dict(wanted)
        for key in wanted.keys() - self._tasks.keys():
            self._tasks[key] = asyncio.create_task(self._follow(key), name=f"feed {key[0]}/{key[1]}")

    def redial(self, key: SiteKey) -> None:
        """Begin anew with this site: it has another certificate now, or was just registered."""
        if key in self._tasks:
            self._stop(key)
            self._clients.forget(key)
            self._tasks[key] = asyncio.create_task(self._follow(key), name=f"feed {key[0]}/{key[1]}")

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        for key in list(self._tasks):
            self._stop(key)
        await asyncio.gather(*tasks, return_exceptions=True)

    def _stop(self, key: SiteKey) -> None:
        self._tasks.pop(key).cancel()

    async def _follow(self, key: SiteKey) -> None:
        failures = 0
        while True:
            try:
                await self._visit(key)
                failures = 0
            except NotYet as error:
                if self._sites.mirror(key).contact.answer == "Reachable":
                    # The authority is gone: nobody listens to this site any more.
                    self._failed(key, error)
                await asyncio.sleep(error.delay)
                continue
            except SecondsiteError as error:
                self._failed(key, error)
                failures += 1
            except Exception:  # noqa: BLE001 - see below
                # Following must not end: a feed that stops silently is an outage that nobody sees.
                _log.exception("feed_failed", site=key[1])
                failures += 1
            if failures:
                pause = _PAUSES[min(failures, len(_PAUSES)) - 1]
                await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - spreads load, hides nothing

    async def _visit(self, key: SiteKey) -> None:
        """One conversation: who are you, and what is new, until it breaks off."""
        if self._clients.orphaned(self._wanted[key]):
            self._sites.foreign(key, await vault_at(self._wanted[key].spec.endpoint))
        else:
            # A probe from before there was an authority says nothing about who answers should it be lost.
            self._sites.foreign(key, None)
        dialled = self._clients.of(self._wanted[key])
        try:
            await self._meet(key, dialled)
        except Unreached as error:
            if error.reason != UNREGISTERED:
                raise
            await self._greet(key)
            await asyncio.sleep(_UNREGISTERED_SECONDS)
            return
        checks = asyncio.create_task(self._ask_checks(key, dialled))
        try:
            await self._read(key, dialled)
        finally:
            checks.cancel()

    async def _greet(self, key: SiteKey) -> None:
        """Note who shows a bundle; nothing else that it says counts."""
        newcomer = self._clients.once(self._wanted[key])
        try:
            await self._meet(key, newcomer)
        finally:
            await newcomer.client.close()

    async def _meet(self, key: SiteKey, dialled: Dialled) -> None:
        """Ask the agent who it is, and what time it has."""
        info, skew = await _ask(dialled)
        self._sites.met(key, info=info, peer=dialled.peer, skew=skew)
        self._sites.contact(key, utc_now())

    async def _read(self, key: SiteKey, dialled: Dialled) -> None:
        mirror = self._sites.mirror(key)
        met = utc_now()
        while self._clients.of(self._wanted[key]) is dialled:
            # The first answer is wanted at once; later ones when there is something to tell.
            wait = POLL_SECONDS if mirror.synced else 0.0
            page = await dialled.client.changes(mirror.cursor, wait)
            self._sites.contact(key, utc_now())
            self._sites.take(key, page)
            if page.settling:
                await asyncio.sleep(_UNREGISTERED_SECONDS)
            jumped = abs(page.time - utc_now() - mirror.skew) > _CLOCK_JUMP
            if jumped or utc_now() - met > timedelta(seconds=CHECKS_SECONDS):
                met = utc_now()
                await self._meet(key, dialled)

    async def _ask_checks(self, key: SiteKey, dialled: Dialled) -> None:
        while True:
            made = False
            with contextlib.suppress(SecondsiteError):
                answer = await dialled.client.checks()
                self._sites.checked(key, tuple(answer.checks))
                made = all(check.verdict is not Verdict.UNKNOWN for check in answer.checks)
            await asyncio.sleep(CHECKS_SECONDS if made else RECHECK_SECONDS)

    def _failed(self, key: SiteKey, error: SecondsiteError) -> None:
        reason = error.reason if isinstance(error, Unreached) else getattr(error, "code", type(error).__name__)
        before = self._sites.mirror(key).contact
        self._sites.contact(key, utc_now(), failure=(str(reason), str(error)))
        if before.reason != reason:
            _log.warning("site_unreachable", site=key[1], reason=reason, error=str(error))


async def _ask(dialled: Dialled) -> tuple[AgentInfo, timedelta]:
    """Who it is, and its clock minus ours: never too small, and too large by less than the call took.

    A midpoint would be nearer, but might be too small, and then a lag would be reported smaller than it is.
    """
    tries: list[tuple[timedelta, AgentInfo, timedelta]] = []
    while not tries or (tries[-1][0] > _CLOCK_CALL and len(tries) < _CLOCK_CALLS):
        sent = utc_now()
        info = await dialled.client.info()
        tries.append((utc_now() - sent, info, info.time - sent))
    _, info, skew = min(tries, key=lambda made: made[0])
    return info, skew
