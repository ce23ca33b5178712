"""Waiting at the feed: one answer to one long poll."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from datetime import datetime

import msgspec

from secondsite.agent.changes import Feed, Page
from secondsite.trust.certificates import utc_now
from secondsite.wire.feed import SiteEntry
from secondsite.wire.inventory import Site

LONGEST_WAIT_SECONDS = 60.0
# Changes come in bursts; a reader gets a burst in one answer.
LINGER_SECONDS = 0.05
# A driver does not say when it has settled, so it is asked.
_SETTLING_TICK_SECONDS = 0.1


async def poll(
    feed: Feed,
    cursor: str,
    wait: float,
    *,
    settled: Callable[[], bool],
    closing: Callable[[], bool],
    now: Callable[[], datetime] = utc_now,
) -> bytes:
    """One page of the feed as JSON.

    Waits up to `wait` seconds (60 at most) while there is no news, or while everything is asked for and the site
    cannot say everything yet. `closing` ends the waiting; `feed.rouse()` makes it be asked. `now` is the site's clock.
    """
    deadline = time.monotonic() + min(wait, LONGEST_WAIT_SECONDS)
    news, lingered = asyncio.Event(), False
    try:
        while True:
            news.clear()
            feed.listen(news)
            page, ready = feed.page(cursor), settled()
            left = 0.0 if closing() else deadline - time.monotonic()
            if page.whole and not ready:
                if left <= 0:
                    return _settling(feed, now())
                await _news_within(news, min(left, _SETTLING_TICK_SECONDS))
            elif page.whole or page.more or left <= 0 or (page.entries and lingered):
                return _encode(feed, page, now())
            elif page.entries:
                lingered = True
                await asyncio.sleep(min(left, max(0.0, page.entries[0].since + LINGER_SECONDS - time.monotonic())))
            else:
                await _news_within(news, left)
    finally:
        feed.forget(news)


async def _news_within(news: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(news.wait(), seconds)


def _settling(feed: Feed, now: datetime) -> bytes:
    known = feed.fact(Site, "site")
    site = msgspec.structs.replace(known if isinstance(known, Site) else Site(state="Settling"), state="Settling")
    entry = msgspec.json.encode(SiteEntry(id="site", revision=feed.revision, facts=site))
    return _join(feed, Page("", whole=False, begins=False, more=False, entries=[]), [entry], now, settling=True)


def _encode(feed: Feed, page: Page, now: datetime) -> bytes:
    return _join(feed, page, [kept.body for kept in page.entries], now, settling=False)


def _join(feed: Feed, page: Page, entries: list[bytes], now: datetime, *, settling: bool) -> bytes:
    # Joining what is serialised already costs a twentieth of encoding the page anew.
    head = msgspec.json.encode(
        {
            "instance": feed.instance,
            "cursor": page.cursor,
            "whole": page.whole,
            "begins": page.begins,
            "more": page.more,
            "time": now,
            "settling": settling,
        },
    )
    return head[:-1] + b',"entries":[' + b",".join(entries) + b"]}"
