"""`secondsite agent`: the program beside each VMM server."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import click

from secondsite import logs
from secondsite.cli.store import store
from secondsite.errors import SecondsiteError

if TYPE_CHECKING:
    from secondsite.agent.driver import Driver


@click.group()
def agent() -> None:
    """Run the agent of a site."""


@agent.command()
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder for the agent's key, certificate, operations and lab disks. It is made if it is missing.",
)
@click.option(
    "--bundle",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Registration bundle of the VMMSite; needed at the first start only, and ignored once it is spent.",
)
@click.option(
    "--listen",
    metavar="https://IP:PORT",
    default="",
    help="Listen here instead of at the VMMSite's endpoint, for example behind a port forwarding.",
)
@click.option("--driver", type=click.Choice(["lab"]), default="lab", show_default=True, help="What the agent drives.")
@click.option(
    "--site-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Lab only, and required there: the data centre (clouds, hosts, networks, VMs) as YAML.",
)
@click.option(
    "--hurry",
    type=click.FloatRange(min=1),
    default=1.0,
    show_default=True,
    help="Lab only: divide intervals and retention by this. Must be the same at both sites.",
)
@click.option(
    "--keep-every-cycle", is_flag=True, help="Lab only, for tests: keep the recovery point of every cycle for ever."
)
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info")
@click.option("--log-format", type=click.Choice(["json", "console"]), default="json")
def run(
    data: Path,
    bundle: Path | None,
    listen: str,
    driver: str,
    site_file: Path | None,
    hurry: float,
    keep_every_cycle: bool,
    log_level: logs.Level,
    log_format: logs.Format,
) -> None:
    """Serve one site until SIGTERM.

    The first start takes the registration bundle that the operator wrote for the VMMSite:

        secondsite agent run --data /var/lib/secondsite --bundle bundle.json --site-file site.yaml

    From then on the agent's own certificate serves, and the operator renews it. The key's fingerprint is printed so
    that it can be pinned in spec.agentKeyFingerprint.
    """
    logs.configure(log_level, log_format)
    # Only this command needs the agent's libraries, and loading them takes a while.
    from secondsite.agent.main import Options  # noqa: PLC0415 - as said above
    from secondsite.agent.main import run as serve  # noqa: PLC0415 - as said above

    try:
        say = functools.partial(print, flush=True)
        serve(Options(data, bundle, listen), _driver(driver, site_file, hurry, keep_every_cycle), say)
    except SecondsiteError as error:
        raise click.ClickException(str(error)) from error


agent.add_command(store)


def _driver(name: str, site_file: Path | None, hurry: float, keep_every_cycle: bool) -> Driver:
    """`name` is a choice of --driver, so far there is one."""
    from secondsite.agent.lab.driver import LabDriver  # noqa: PLC0415 - as above

    if site_file is None:
        raise click.UsageError(f"the driver {name} needs --site-file, the data centre that it shall simulate")
    return LabDriver(site_file, hurry, keep_every_cycle)


if __name__ == "__main__":
    agent()
