"""Two agents' drivers with very many relations that cycle and have nothing to send: what that costs each of them."""

from __future__ import annotations

import resource
import shutil
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.quiet_site import Place, QuietSite, Use, vm_id, write_centre
from bench.worker import Worker
from secondsite.wire.agent import NO_FENCE
from secondsite.wire.arguments import EnableReplication, Endpoint, Nothing, Owner, PrepareReplica, Settings, Slot
from secondsite.wire.base import Message
from secondsite.wire.operations import Verb
from secondsite.wire.resources import AssociationWish, StoragePair
from support.vault import Vault

RELATIONS = 10_000
INTERVAL_SECONDS = 300
_WATCH_SECONDS = 60.0
_PATIENCE_SECONDS = 900.0
_NEWS = 15
# A relation at rest holds one file, its lock; the rest is for those that are at work.
_FILES_EACH, _OTHER_FILES = 1.2, 4000
_OWNER = Owner(vault="vault", control_plane="cluster")
_SETTINGS = Settings(interval_seconds=INTERVAL_SECONDS, retention_hours=24, rpo_target_seconds=3 * INTERVAL_SECONDS)

MEMORY, PROCESSOR, WHOLE, NEWS = "quiet memory", "quiet processor", "whole answer", "news"


@dataclass(frozen=True)
class Cost:
    """Of one site: resident bytes, share of a core at the interval, open files, seconds to start and to stop."""

    resident_bytes: int
    share: float
    files: int
    start_seconds: float
    stop_seconds: float


@dataclass(frozen=True)
class Found:
    """`whole_seconds` the slower site's, `news_seconds` the median, `lag_seconds` the largest."""

    relations: int
    sites: Mapping[str, Cost]
    whole_seconds: float
    facts: int
    news_seconds: float
    lag_seconds: float

    def figures(self) -> dict[str, float]:
        """For the goals: the worse site's."""
        return {
            MEMORY: max(cost.resident_bytes for cost in self.sites.values()) / 1e6,
            PROCESSOR: 100 * max(cost.share for cost in self.sites.values()),
            WHOLE: self.whole_seconds,
            NEWS: 1000 * self.news_seconds,
        }

    def lines(self) -> Iterator[str]:
        for name, cost in self.sites.items():
            yield (
                f"{name}: {cost.resident_bytes / 1e6:.0f} MB, {100 * cost.share:.1f} % of a core, {cost.files} files, "
                f"start {cost.start_seconds:.0f} s, stop {cost.stop_seconds:.0f} s"
            )
        yield f"everything ({self.facts} facts): {self.whole_seconds:.2f} s; news: {1000 * self.news_seconds:.0f} ms"
        yield f"largest lag of {self.relations} relations: {self.lag_seconds:.0f} s at {INTERVAL_SECONDS} s"


def possible(wanted: int) -> int:
    """As many relations as this process's limit of open files allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, int((hard - _OTHER_FILES) / _FILES_EACH))


def measure(folder: Path, wanted: int, say: Callable[[str], None]) -> Found:
    """Set up as many relations as are wanted and possible, let them cycle, and look."""
    count = possible(wanted)
    with _sites(folder, count) as (east, west):
        sites = {"primaries' site": east, "replicas' site": west}
        for site in sites.values():
            site.call("start")
        _enable(east, west, count, say)
        stopped = {name: float(site.call("stop")) for name, site in sites.items()}
        started = {name: float(site.call("start")) for name, site in sites.items()}
        say(f"  {count} relations cycle")
        shares = _watch(sites, east, count)
        answers = [site.call("whole_answer") for site in sites.values()]
        uses: dict[str, Use] = {name: site.call("use") for name, site in sites.items()}
        costs = {
            name: Cost(uses[name].resident_bytes, shares[name], uses[name].files, started[name], stopped[name])
            for name in sites
        }
        return Found(
            relations=count,
            sites=costs,
            whole_seconds=max(seconds for seconds, _ in answers),
            facts=answers[0][1],
            news_seconds=statistics.median(east.call("news", _NEWS, _SETTINGS)),
            lag_seconds=max(west.call("lags")),
        )


@contextmanager
def _sites(folder: Path, count: int) -> Iterator[tuple[Worker, Worker]]:
    own = Path(tempfile.mkdtemp(prefix="quiet-", dir=folder))
    vault = Vault()
    for name, vms in (("east", count), ("west", 0)):
        write_centre(own / f"{name}.yaml", vms)
    places = [Place(name, own, vault.agent(name), vault.trust()) for name in ("east", "west")]
    try:
        with Worker(QuietSite, places[0]) as east, Worker(QuietSite, places[1]) as west:
            yield east, west
            for site in (east, west):
                site.call("stop")
    finally:
        shutil.rmtree(own, ignore_errors=True)


def _enable(east: Worker, west: Worker, count: int, say: Callable[[str], None]) -> None:
    """Up to the first point of each, in the order of the contract."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = int(server.getsockname()[1])
    endpoint = Endpoint(host="hv0.west", address="127.0.0.1", port=port)
    west.call("associate", _wish("Target", port))
    east.call("associate", _wish("Source", port).model_copy(update={"endpoint": endpoint}))
    enable = EnableReplication(
        association="quiet",
        peer_site="west",
        owner=_OWNER,
        endpoint=endpoint,
        settings=_SETTINGS,
        disks=[Slot(controller_type="SCSI", controller_number=0, controller_location=0)],
    )
    steps: tuple[tuple[Worker, Verb, Callable[[int], Message]], ...] = (
        (west, Verb.PREPARE_REPLICA, _prepare),
        (east, Verb.ENABLE_REPLICATION, lambda _: enable),
        (east, Verb.START_INITIAL_REPLICATION, lambda _: Nothing()),
    )
    for site, verb, arguments in steps:
        began = time.monotonic()
        site.call("perform", verb, {vm_id(number): arguments(number) for number in range(count)})
        say(f"  {verb.value:44} {time.monotonic() - began:8.1f} s")
    _await_points(east, count)


def _prepare(number: int) -> PrepareReplica:
    return PrepareReplica(vm_name=f"vm{number}", association="quiet", peer_site="east", owner=_OWNER)


def _wish(role: str, port: int) -> AssociationWish:
    fields = {"cloud": "Production", "peer_cloud": "Production", "owner": _OWNER, "port": port, "fence": NO_FENCE}
    storage = (StoragePair(source="Gold", target="Gold"),)
    peer = "east" if role == "Target" else "west"
    return AssociationWish.model_validate({**fields, "role": role, "peer_site": peer, "storage": storage, "hurry": 1.0})


def _await_points(east: Worker, count: int) -> None:
    end = time.monotonic() + _PATIENCE_SECONDS
    while len(east.call("cycles")) < count:
        if time.monotonic() > end:
            raise RuntimeError(f"{count} initial replications did not end in {_PATIENCE_SECONDS:g} s")
        time.sleep(1)


def _watch(sites: Mapping[str, Worker], east: Worker, count: int) -> dict[str, float]:
    """Share of a core that each site uses when all relations cycle once per interval, by what it used for some."""
    cycles = sum(east.call("cycles"))
    before = {name: site.cpu_seconds for name, site in sites.items()}
    began, done = time.monotonic(), 0
    # A start makes up for what it missed, all at once; then they are spread.
    while done < count // 10 or time.monotonic() - began < _WATCH_SECONDS:
        if time.monotonic() - began > _PATIENCE_SECONDS:
            raise RuntimeError(f"only {done} cycles in {_PATIENCE_SECONDS:g} s")
        time.sleep(5)
        done = sum(east.call("cycles")) - cycles
    used = {name: site.cpu_seconds - before[name] for name, site in sites.items()}
    return {name: seconds / done * count / INTERVAL_SECONDS for name, seconds in used.items()}
