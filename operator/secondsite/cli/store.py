"""`secondsite agent store`: look into the replicas that an agent keeps, and mend them, while it does not run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from secondsite.agent.lab.engine.check.findings import Finding, StoreReport

_folder = click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))


@click.group()
def store() -> None:
    """Check the replicas in an agent's data folder, and repair them. Stop the agent first."""


@store.command()
@_folder
def check(folder: Path) -> None:
    """Read everything in FOLDER, a store or an agent's data folder, and change nothing.

    Every block is compared with its digest. Exit status: 0 all is well, 1 something was found, 2 it could not be read.
    """
    _examine(folder, repair=False)


@store.command()
@_folder
def repair(folder: Path) -> None:
    """Mend what FOLDER, a store or an agent's data folder, can mend by itself.

    Nothing is destroyed: what is removed is moved to lost+found in the store. Blocks that only the other side has are
    brought back by the running agent. Exit status as that of `check`: 1 also where all was repaired.
    """
    _examine(folder, repair=True)


def _examine(folder: Path, *, repair: bool) -> None:
    # Only these commands need the engine's libraries.
    from secondsite.agent.lab.engine import EngineError  # noqa: PLC0415 - as said above
    from secondsite.agent.lab.engine.check import fsck  # noqa: PLC0415 - as above

    stores = fsck.find_stores(folder)
    if not stores:
        click.echo(f"There is no store in {folder}: name a store, or the data folder of an agent that keeps replicas.")
        click.get_current_context().exit(2)
    status = 0
    for root in stores:
        try:
            report = fsck.repair(root) if repair else fsck.check(root)
        except (EngineError, OSError) as error:
            click.echo(f"{root}\n  cannot be examined: {error}")
            status = 2
            continue
        _tell(report)
        status = max(status, 0 if report.clean else 1)
    click.get_current_context().exit(status)


def _tell(report: StoreReport) -> None:
    read = report.bytes / (1 << 20)
    verdict = "clean" if report.clean else f"{len(report.findings)} findings"
    click.echo(f"{report.store}: {report.points} recovery points, {read:.0f} MiB compared, {verdict}")
    for finding in report.findings:
        _tell_finding(report.store, finding)


def _tell_finding(root: Path, finding: Finding) -> None:
    where = finding.where.relative_to(root)
    click.echo(f"  {'repaired' if finding.repaired else 'FOUND'}  {where if finding.where != root else 'store'}")
    click.echo(f"    what         {finding.what}")
    click.echo(f"    consequence  {finding.consequence}")
    if not finding.repaired:
        click.echo(f"    remedy       {finding.remedy}")
