"""`secondsite version`."""

from __future__ import annotations

import platform

import click

from secondsite import __version__
from secondsite.api.kind import API_VERSION


@click.command("version")
def version() -> None:
    """Print the version, and which versions of Kubernetes API and Python it means."""
    click.echo(f"secondsite {__version__} ({API_VERSION}, Python {platform.python_version()})")
