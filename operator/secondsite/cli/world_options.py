"""Options that `secondsite sandbox` and `secondsite demo` have in common."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

import click

from secondsite.sandbox.world import Plan

F = TypeVar("F", bound=Callable[..., object])


def world_options(command: F) -> F:
    """Add the options; `plan` turns them into a Plan."""
    for option in reversed(
        (
            click.option("--context", help="Use the cluster of this kubeconfig context instead of starting one."),
            click.option(
                "--endpoint",
                "endpoints",
                multiple=True,
                metavar="SITE=URL",
                help="Let the agent of a site listen elsewhere, as chicago=https://127.0.30.1:9443.",
            ),
            click.option(
                "--hurry",
                type=click.FloatRange(min=1, max=100),
                default=10.0,
                show_default=True,
                help="Divide the lab's intervals by this.",
            ),
        )
    ):
        command = option(command)
    return command


def plan(context: str | None, endpoints: tuple[str, ...], hurry: float) -> Plan:
    """What the options ask for. Raises click.UsageError."""
    chosen = {}
    for text in endpoints:
        site, found, url = text.partition("=")
        if not found or not url.startswith("https://"):
            raise click.UsageError(f"--endpoint {text!r} is not SITE=https://HOST:PORT")
        chosen[site] = url
    return Plan(endpoints=chosen, hurry=hurry, context=context)


def end_like_ctrl_c() -> None:
    """Let SIGTERM and a closed terminal end things in order too."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
