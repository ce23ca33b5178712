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
    known: dict[str, Row] = {}
    while True:
        for title, rows in (await _rows(eyes)).items():
            for row in rows:
                name = f"{title} {row[0]}"
                if known.get(name) != row[:4]:
                    known[name] = row[:4]
                    show.say(f"{name}: {', '.join(filter(None, row[1:4]))}")
        await asyncio.sleep(_PERIOD_SECONDS)


_HEADS = {
    "site": ("SITE", "REACHABLE", "READY", "REASON", "ENDPOINT"),
    "vm": ("PROTECTED VM", "STATE", "READY", "REASON", "LAG", "COPIED"),
    "test": ("TEST FAILOVER", "STATE", "CHECKS", "CLEANED UP"),
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
    }


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
