"""`secondsite lab`: break a lab site on purpose, and see how it stands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import yaml

from secondsite.errors import SecondsiteError

_data = click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    envvar="SECONDSITE_LAB_DATA",
    show_envvar=True,
    help="Data folder of the site's agent, as given to `secondsite agent run`.",
)


@click.group()
def lab() -> None:
    """Break a lab site on purpose, and see how it stands.

    Talks to the site's agent through a socket in its data folder, which only the agent's user may open.
    """


@lab.command()
@_data
@click.argument("name", required=False)
@click.option("--vm", default="", help="Id or name of the VM; without it the fault is of the whole site.")
@click.option("--value", type=float, help="How much, for a fault that has a value.")
@click.option("--for", "duration", metavar="DURATION", help="End it by itself: 30s, 5m, 1h. Without: until --off.")
@click.option("--off", is_flag=True, help="Mend it.")
@click.option(
    "--schedule",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="YAML: a list of steps with after, fault, vm, value, for, off. The agent plays them when this has ended, too.",
)
def fault(
    data: Path,
    name: str | None,
    vm: str,
    value: float | None,
    duration: str | None,
    off: bool,
    schedule: Path | None,
) -> None:
    """Break something (NAME), or mend it. Without NAME: what can be broken.

        secondsite lab fault --data DIR LinkDown --for 30s

        secondsite lab fault --data DIR CommandHangs --vm web01

    Faults survive a restart of the agent. What happens once, like HostCrash, is not to be mended.
    """
    if schedule is not None:
        if name or vm or off or value is not None or duration is not None:
            raise click.UsageError("--schedule stands alone: its steps say the rest")
        planned = _ask(data, {"ask": "fault", "schedule": _read(schedule)})["planned"]
        click.echo(
            f"{planned} step{'s' * (planned != 1)} planned; `secondsite lab status` shows what is still to come."
        )
    elif name is None:
        _print_choices(_ask(data, {"ask": "faults"})["choices"])
    else:
        request: dict[str, Any] = {"ask": "fault", "fault": name, "vmID": vm, "value": value, "off": off}
        done = _ask(data, request | {"seconds": _seconds(duration)})
        click.echo(f"{done['fault']} {'off' if off else 'on'}{': VM ' if done['vmID'] else ''}{done['vmID']}")


@lab.command()
@_data
@click.option(
    "--output", "-o", type=click.Choice(["table", "json"]), default="table", show_default=True, help="How to print it."
)
def status(data: Path, output: str) -> None:
    """Show relations, guests, faults that are on or planned, and the last events of the hypervisor."""
    found = _ask(data, {"ask": "status"})
    if output == "json":
        click.echo(json.dumps(found, indent=2))
        return
    from secondsite.cli.lab_status import draw  # noqa: PLC0415 - only here is rich needed

    draw(found)


def _ask(data: Path, request: dict[str, Any]) -> dict[str, Any]:
    from secondsite.agent.lab.socket import ask  # noqa: PLC0415 - only these commands need the agent's libraries

    return ask(data, request)


def _seconds(duration: str | None) -> float | None:
    from secondsite.agent.lab.fault_schedule import seconds_of  # noqa: PLC0415 - as above

    return None if duration is None else seconds_of(duration)


def _read(schedule: Path) -> list[Any]:
    try:
        content = yaml.safe_load(schedule.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise SecondsiteError(f"Reading the schedule {schedule}: {error}") from error
    steps = content.get("faults") if isinstance(content, dict) else content
    if not isinstance(steps, list):
        raise SecondsiteError(f"The schedule {schedule} is no list of steps", "Each has after, fault, vm, value, for.")
    return steps


def _print_choices(choices: dict[str, dict[str, str]]) -> None:
    width = max(map(len, choices))
    for name, kind in choices.items():
        value = f" [--value {kind['value']}]" if kind["value"] else ""
        click.echo(f"{name:{width}}  {kind['does']} ({kind['scope']}){value}")
