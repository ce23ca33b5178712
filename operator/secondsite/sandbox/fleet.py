"""The fleet as it is now: one table that changes on a terminal, a line per change elsewhere."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from secondsite.api.protectedvm import PROTECTED_VM
from secondsite.api.testfailover import TEST_FAILOVER
from secondsite.api.vmmsite import VMM_SITE
from secondsite.errors import SecondsiteError
from secondsite.sandbox.eyes import Body, Eyes, Metrics, condition
from secondsite.sandbox.show import Show

_PERIOD_SECONDS = 1.0
Row = tuple[str, ...]


async def watch(eyes: Eyes, show: Show) -> None:
    """Show it until cancelled."""
    if not show.terminal:
        await _tell_changes(eyes, show)
        return
    with Live(console=Console(file=show.stream), auto_refresh=False) as live:
        while True:
            live.update(_draw(await _rows(eyes)), refresh=True)
            await asyncio.sleep(_PERIOD_SECONDS)


async def _tell_changes(eyes: Eyes, show: Show) -> None:
    """A line for each object whose state changed; lag and percent are left out, because they always change."""
    known: dict[str, str] = {}
    while True:
        found = await _rows(eyes)
        told = _lines(found)
        ended = [name for name in known if name.startswith("fault ") and name not in told] if found else []
        news = {name: text for name, text in told.items() if known.get(name) != text} | dict.fromkeys(ended, "over")
        for name, text in news.items():
            show.say(f"{name}: {text}")
        known = {name: text for name, text in (known | told).items() if name not in ended}
        await asyncio.sleep(_PERIOD_SECONDS)


def _lines(found: dict[str, list[Row]]) -> dict[str, str]:
    """What is told of each object, by its name."""
    objects = {f"{title} {row[0]}": row[1:4] for title in ("site", "vm", "test") for row in found.get(title, ())}
    faults = {f"fault {row[0]} at {row[1]}": ("on", row[2]) for row in found.get("fault", ())}
    return {name: ", ".join(filter(None, words)) for name, words in (objects | faults).items()}


_HEADS = {
    "site": ("SITE", "REACHABLE", "READY", "REASON", "ENDPOINT"),
    "vm": ("PROTECTED VM", "STATE", "READY", "REASON", "LAG", "COPIED"),
    "test": ("TEST FAILOVER", "STATE", "CHECKS", "CLEANED UP"),
    "fault": ("FAULT", "SITE", "VM", "VALUE", "ENDS IN"),
}


async def _rows(eyes: Eyes) -> dict[str, list[Row]]:
    try:
        metrics: Metrics | None = await eyes.metrics()
    except SecondsiteError:
        metrics = None  # the operator is being restarted
    try:
        sites, vms, tests = [await eyes.objects(kind) for kind in (VMM_SITE, PROTECTED_VM, TEST_FAILOVER)]
    except SecondsiteError:
        return {}
    return {
        "site": [_site(name, body) for name, body in sites.items()],
        "vm": [_vm(name, body, metrics) for name, body in vms.items()],
        "test": [_test(name, body) for name, body in tests.items()],
        "fault": [row for site in sites for row in await _faults(eyes, site)],
    }


async def _faults(eyes: Eyes, site: str) -> list[Row]:
    """What is broken on purpose at a site; nothing where its agent does not answer."""
    try:
        answer = await eyes.ask(site, {"ask": "faults"})
    except SecondsiteError:
        return []
    return [_fault(site, fault) for fault in answer["faults"]]


def _fault(site: str, fault: Body) -> Row:
    value, left = fault["value"], fault["secondsLeft"]
    shown = "" if value is None else f"{value:g}"
    return fault["fault"], site, fault["vmName"], shown, "" if left is None else f"{left:.0f} s"


def _site(name: str, body: Body) -> Row:
    ready = condition(body, "Ready")
    reachable = condition(body, "Reachable")["status"]
    return name, reachable, ready["status"], ready["reason"], body["spec"]["endpoint"]


def _vm(name: str, body: Body, metrics: Metrics | None) -> Row:
    ready, status = condition(body, "Ready"), body.get("status", {})
    point = metrics.point_time(name) if metrics else None
    lag = "" if point is None else f"{(datetime.now(UTC) - point).total_seconds():.1f} s"
    percent = status.get("initialReplicationPercent")
    copied = "" if percent is None else f"{percent} %"
    return name, status.get("state", ""), ready["status"], ready["reason"], lag, copied


def _test(name: str, body: Body) -> Row:
    state = body.get("status", {}).get("state", "")
    return name, state, condition(body, "ChecksPassed")["status"], condition(body, "CleanedUp")["status"]


def _draw(found: dict[str, list[Row]]) -> Group:
    tables = []
    for title, rows in found.items():
        if rows:
            table = Table(*_HEADS[title], box=box.SIMPLE_HEAD)
            for row in rows:
                table.add_row(*row)
            tables.append(table)
    return Group(*tables)
