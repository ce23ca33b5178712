"""The command `secondsite`, also `kubectl secondsite`."""

from __future__ import annotations

import importlib
import sys
from typing import Any, NamedTuple

import click
from typing_extensions import override

from secondsite.errors import SecondsiteError


class Entry(NamedTuple):
    """A command: where it is, what `--help` says of it, and the extra that brings its libraries."""

    module: str
    attribute: str
    summary: str
    extra: str = ""


# Summaries stand here too, so that `secondsite --help` loads none of the commands: a site has no kopf installed, and a
# cluster no replication engine.
COMMANDS = {
    "sandbox": Entry(
        "secondsite.cli.sandbox",
        "sandbox",
        "Two small data centres and a Kubernetes API, to try things out.",
        "sandbox",
    ),
    "demo": Entry(
        "secondsite.cli.demo",
        "demo",
        "The same, as a story with a verdict: does Secondsite hold its claims?",
        "sandbox",
    ),
    "operator": Entry(
        "secondsite.cli.operator", "operator", "Run the operator, in a cluster or beside it.", "operator"
    ),
    "agent": Entry("secondsite.cli.agent", "agent", "Run the agent of a site, beside its VMM server.", "agent"),
    "lab": Entry("secondsite.cli.lab", "lab", "Break a lab site on purpose, and see how it stands.", "agent"),
    "crds": Entry("secondsite.cli.crds", "crds", "Print the CustomResourceDefinitions."),
    "version": Entry("secondsite.cli.version", "version", "Print the version."),
}


class Lazy(click.Group):
    """Loads a command when it is called. A SecondsiteError becomes one paragraph."""

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which a newcomer meets them."""
        return list(COMMANDS)

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, with its libraries. Raises ClickException where they are not installed."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        try:
            command: click.Command = getattr(importlib.import_module(entry.module), entry.attribute)
        except ModuleNotFoundError as error:
            raise _missing(cmd_name, entry, error) from error
        return command

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in `--help`, without loading anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])

    @override
    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what it refuses is said without a traceback, unless `--debug` asks for one."""
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            entry = COMMANDS.get(ctx.invoked_subcommand or "")
            if entry is None or ctx.params.get("debug"):
                raise
            raise _missing(ctx.invoked_subcommand or "", entry, error) from error
        except SecondsiteError as error:
            if ctx.params.get("debug"):
                raise
            raise click.ClickException(str(error)) from error


@click.group(
    cls=Lazy,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with `secondsite sandbox`: it needs no cluster, and tells what to try.",
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(debug: bool) -> None:
    """Site recovery for Hyper-V virtual machines in System Center VMM clouds, declared as Kubernetes resources.

    VMs replicate from one VMM site to another by ReplicationPolicy; TestFailover rehearses their recovery beside
    production. What is declared, and what is true, is seen with kubectl.
    """


def _missing(name: str, entry: Entry, error: ModuleNotFoundError) -> Exception:
    """What to install. A module of ours that is missing is a defect, not an extra."""
    if not entry.extra or (error.name or "").split(".")[0] == "secondsite":
        return error
    return click.ClickException(
        f"`secondsite {name}` needs the Python package {error.name}, which is not installed here. "
        f"Install the libraries of this command: pip install 'secondsite[{entry.extra}]'"
    )


if __name__ == "__main__":
    sys.exit(main(prog_name="secondsite"))
