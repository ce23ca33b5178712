"""Writes a data centre of 2 x 500 VMs, and the manifests for it: `python -m secondsite.agent.lab.generate --help`."""

from __future__ import annotations

from pathlib import Path

import click

from secondsite.agent.lab.company.machines import Maker
from secondsite.agent.lab.company.manifests import manifests
from secondsite.agent.lab.company.oddities import spoil
from secondsite.agent.lab.company.plan import SITES, Body, SitePlan, fabric, networks
from secondsite.agent.lab.company.text import document

SEED = 5


def centres(seed: int = SEED) -> dict[str, Body]:
    """The two data centres by site, as their files say it: the same for the same seed."""
    return {site.name: _centre(site, seed) for site in SITES}


def files(seed: int = SEED) -> dict[str, str]:
    """The data-centre files, by name."""
    return {f"{name}.yaml": document(body, _comment(name, seed)) for name, body in centres(seed).items()}


def _centre(site: SitePlan, seed: int) -> Body:
    vms = Maker(site, seed).all()
    spoil(vms, site.short)
    return {**fabric(site), **networks(site), "vms": vms}


def _comment(name: str, seed: int) -> str:
    return (
        f'Data centre of the lab site "{name}", one of two: 500 VMs of a company of middle size.\n'
        f"Generated: python -m secondsite.agent.lab.generate --seed {seed}. Disks are sparse, most guests are quiet."
    )


def _write(folder: Path, texts: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
        click.echo(f"wrote {folder / name}")


@click.command(help=__doc__)
@click.option("--seed", type=int, default=SEED, show_default=True, help="Another seed is another company.")
@click.option("--out", type=click.Path(path_type=Path), default=Path(), help="Folder of the data-centre files.")
@click.option("--manifests", "into", type=click.Path(path_type=Path), help="Folder of manifests; absent: none.")
def main(seed: int, out: Path, into: Path | None) -> None:
    _write(out, files(seed))
    if into:
        _write(into, manifests(centres(seed)))


if __name__ == "__main__":
    main()
