"""The command `secondsite`, also `kubectl secondsite`."""

import click

from secondsite import __version__
from secondsite.cli.crds import crds


@click.group()
def main() -> None:
    """Site recovery for Hyper-V virtual machines in VMM clouds, declared as Kubernetes resources."""


@main.command("version")
def version() -> None:
    """Print the version."""
    click.echo(__version__)


main.add_command(crds)
