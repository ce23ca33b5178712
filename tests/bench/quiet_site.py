"""A lab site with very many quiet VMs, in a process of its own: what it is asked to do, and what that costs."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from secondsite import logs
from secondsite.agent.changes import Feed
from secondsite.agent.driver import Command, SiteContext
from secondsite.agent.lab.driver import LabDriver
from secondsite.agent.poll import poll
from secondsite.trust.identity import Identity, Trust
from secondsite.wire.arguments import Settings, UpdateSettings
from secondsite.wire.base import Message
from secondsite.wire.facts import Relation
from secondsite.wire.feed import AnyFact, Changes
from secondsite.wire.operations import Verb
from secondsite.wire.resources import AssociationWish
from support.lab import SiteTLS

R = TypeVar("R")

DISK_BYTES = 8 << 20
VMS_PER_HOST = 50
_AT_ONCE = 16
_DEADLINE = timedelta(seconds=600)


def vm_id(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-{number:012x}"


def write_centre(path: Path, count: int) -> None:
    """A data centre with so many VMs of one small disk, whose guests never write. JSON, which is YAML too."""
    hosts = [f"hv{number}.{path.stem}" for number in range(max(1, -(-count // VMS_PER_HOST)))]
    centre = {
        "vmm": {"name": f"vmm.{path.stem}"},
        "storage": [{"classification": "Gold", "capacity": "10000GiB"}],
        "hostGroups": [{"name": "All", "hosts": hosts}],
        "clouds": [{"name": "Production", "hostGroups": ["All"], "storageClassifications": ["Gold"]}],
        "vms": [
            {
                "id": vm_id(number),
                "name": f"vm{number}",
                "cloud": "Production",
                "host": hosts[number // VMS_PER_HOST],
                "storage": "Gold",
                "disks": [{"slot": {"controllerLocation": 0}, "size": f"{DISK_BYTES >> 20}MiB"}],
            }
            for number in range(count)
        ],
    }
    path.write_text(json.dumps(centre), encoding="utf-8")


class _FeedSink:
    """Into the feed, as the agent's core does it."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def publish(self, id: str, fact: AnyFact) -> None:
        self._feed.publish(type(fact), id, fact)

    def withdraw(self, kind: type[AnyFact], id: str) -> None:
        self._feed.publish(kind, id, None)


@dataclass(frozen=True)
class Place:
    """Where a site is, and who it is."""

    name: str
    folder: Path
    identity: Identity
    trust: Trust


@dataclass(frozen=True)
class Use:
    """What a process has used: seconds of processor time, resident bytes, open files."""

    cpu_seconds: float
    resident_bytes: int
    files: int


class QuietSite:
    """What `bench.worker` runs in the child. Times are seconds."""

    def __init__(self, place: Place) -> None:
        logs.configure("error", "console")
        self._place = place
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def start(self) -> float:
        """Start the driver over what the folder holds; how long it took."""
        began, place = time.monotonic(), self._place
        self.feed = Feed()
        self.driver = LabDriver(place.folder / f"{place.name}.yaml")
        tls = SiteTLS(place.identity, place.trust)
        context = SiteContext(site=place.name, data=place.folder / place.name, sink=_FeedSink(self.feed), tls=tls)
        self._do(self.driver.start(context))
        return time.monotonic() - began

    def stop(self) -> float:
        began = time.monotonic()
        self._do(self.driver.stop())
        return time.monotonic() - began

    def associate(self, wish: AssociationWish) -> None:
        self._do(self.driver.associate("quiet", wish))

    def perform(self, verb: Verb, arguments: dict[str, Message]) -> None:
        """One verb for many VMs, a few at a time."""
        self._do(self._perform(verb, arguments))

    async def _perform(self, verb: Verb, arguments: dict[str, Message]) -> None:
        places, deadline = asyncio.Semaphore(_AT_ONCE), datetime.now(UTC) + _DEADLINE

        async def one(vm: str, wish: Message) -> None:
            async with places:
                key = f"{verb.value}-{vm}"
                await self.driver.perform(
                    Command(key=key, verb=verb, vm_id=vm, arguments=wish, epoch=1, deadline=deadline)
                )

        await asyncio.gather(*(one(vm, wish) for vm, wish in arguments.items()))

    def cycles(self) -> list[int]:
        """Of every relation that replicates."""
        facts = [self.feed.fact(Relation, id_) for id_ in self.feed.ids(Relation)]
        return [fact.cycles for fact in facts if isinstance(fact, Relation) and fact.state == "Replicating"]

    def lags(self) -> list[float]:
        """Of every newest point, now."""
        now = datetime.now(UTC)
        facts = [self.feed.fact(Relation, id_) for id_ in self.feed.ids(Relation)]
        points = [fact.newest_point for fact in facts if isinstance(fact, Relation)]
        return [(now - point.source_time).total_seconds() for point in points if point]

    def use(self) -> Use:
        gc.collect()
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
        files = len(list(Path("/proc/self/fd").iterdir()))
        return Use(time.process_time(), resident * 1024, files)

    def whole_answer(self) -> tuple[float, int]:
        """How long a new reader waits for everything, its decoding included; and how many facts that is."""
        return self._do(self._whole_answer())

    async def _whole_answer(self) -> tuple[float, int]:
        began, cursor, count, more = time.monotonic(), "", 0, True
        while more:
            page = await self._page(cursor, 0)
            cursor, more, count = page.cursor, page.more, count + len(page.entries)
        return time.monotonic() - began, count

    def news(self, times: int, settings: Settings) -> list[float]:
        """From the verb that changes a relation to a waiting reader's answer that names it."""
        return [self._do(self._news(settings, number)) for number in range(times)]

    async def _news(self, settings: Settings, number: int) -> float:
        vm, cursor = self.feed.ids(Relation)[0], f"{self.feed.instance}.{self.feed.revision}"
        waiting = asyncio.create_task(self._named(vm, cursor))
        await asyncio.sleep(0)
        began = time.monotonic()
        wish = UpdateSettings(settings=settings.model_copy(update={"rpo_target_seconds": 3600 + number}))
        await self._perform(Verb.UPDATE_SETTINGS, {vm: wish})
        done = await waiting
        return done - began

    async def _named(self, vm: str, cursor: str) -> float:
        while True:
            page = await self._page(cursor, 30)
            cursor = page.cursor
            if any(entry.id == vm for entry in page.entries):
                return time.monotonic()

    async def _page(self, cursor: str, wait: float) -> Changes:
        body = await poll(self.feed, cursor, wait, settled=self.driver.settled, closing=lambda: False)
        return msgspec.json.decode(body, type=Changes)

    def _do(self, work: Coroutine[Any, Any, R]) -> R:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()
