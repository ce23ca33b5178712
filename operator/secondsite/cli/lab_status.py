"""How a lab site's status is drawn."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

_COLOURS = {"Normal": "green", "Warning": "yellow", "Critical": "red"}
_EVENTS = 10
_PLAIN_WIDTH = 160

Row = dict[str, Any]


def draw(found: Row, console: Console | None = None) -> None:
    """The status as `lab.sock` answers it, for people."""
    console = console or _console()
    hurry = f", hurries by {found['hurry']:g}" if found["hurry"] != 1 else ""
    settling = "" if found["settled"] else "   [red]the management service restarts[/red]"
    wrote = sum(guest is not None for guest in found["guests"].values())
    console.print(
        f"[bold]Site {found['site']}[/bold]{hurry}, guests {len(found['guests'])} ({wrote} wrote){settling}",
        highlight=False,
    )
    console.print(_halves(found["halves"]) if found["halves"] else "No VM is replicated from or to here.")
    for half in found["halves"].values():
        if half.get("message"):
            console.print(f"  {half['name']}: {half['message']}", highlight=False, markup=False)
    _say_faults(console, found)
    if found["events"]:
        console.print(_events(found["events"][-_EVENTS:]))


def _console() -> Console:
    """On a terminal as wide as that is, elsewhere as wide as it takes."""
    console = Console()
    return console if console.is_terminal else Console(width=_PLAIN_WIDTH)


def _halves(halves: dict[str, Row]) -> Table:
    table = Table("VM", "SIDE", "PEER", "STATE", "HEALTH", "LAG", "POINTS", "PENDING", "REASONS", box=box.SIMPLE_HEAD)
    for half in sorted(halves.values(), key=lambda half: str(half["name"])):
        health = str(half.get("health", ""))
        table.add_row(
            half["name"],
            half["side"],
            half.get("peer", ""),
            half["state"],
            f"[{_COLOURS.get(health, 'default')}]{health}[/]",
            _seconds(half.get("lagSeconds")),
            str(half.get("points", "")) if half["side"] == "Replica" else "",
            _bytes(half.get("pendingBytes")) if half["side"] == "Primary" else "",
            " ".join(half.get("reasons", ())),
        )
    return table


def _say_faults(console: Console, found: Row) -> None:
    for fault in found["faults"]:
        left = fault["secondsLeft"]
        parts = [
            f"[red]{fault['fault']}[/red] is on",
            f"for VM {fault['vmName'] or fault['vmID']}" if fault["vmID"] else "",
            f"value {fault['value']:g}" if fault["value"] is not None else "",
            f"for another {_seconds(left)}" if left is not None else "until it is switched off",
        ]
        console.print("Fault " + ", ".join(filter(None, parts)), highlight=False)
    for step in found["planned"]:
        what = f"{step['fault']} {'off' if step['off'] else 'on'}{' for VM ' if step['vm'] else ''}{step['vm']}"
        console.print(f"In {_seconds(step['inSeconds'])}: {what}", highlight=False)
    if not found["faults"] and not found["planned"]:
        console.print("No fault is on.")


def _events(events: list[Row]) -> Table:
    table = Table("TIME", "EVENT", "VM", "TEXT", box=box.SIMPLE_HEAD)
    for event in events:
        time = datetime.fromisoformat(event["time"]).strftime("%H:%M:%S")
        table.add_row(time, str(event["id"]), event["vmName"], escape(event["text"]))
    return table


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.1f} s" if abs(seconds) < 120 else f"{seconds / 60:.1f} min"


def _bytes(count: int | None) -> str:
    if count is None:
        return "?"
    return f"{count / 1024:.0f} KiB" if count < 1 << 20 else f"{count / (1 << 20):.1f} MiB"
