"""`python -m secondsite.cli.install`: renders deploy/base into the one file deploy/install.yaml. For developers."""

from __future__ import annotations

from pathlib import Path

import click
import yaml

from secondsite.errors import SecondsiteError

HEADER = """\
# Secondsite for a cluster, in one file: kubectl apply --server-side -f install.yaml
# Written by `make deploy` from deploy/base. Build and name the operator's image first: see deploy/Dockerfile.
"""
_NAMES = ("kustomization.yaml", "Kustomization")
_KNOWN = {"apiVersion", "kind", "resources"}


def render(base: Path) -> str:
    """All manifests of a kustomize base in its order, comments included.

    Only `resources` is understood, so that `kubectl kustomize` gives the same objects; raises SecondsiteError for more.
    """
    parts = [text.strip("\n") for text in _texts(base)]
    return HEADER + "---\n" + "\n---\n".join(parts) + "\n"


def _texts(folder: Path) -> list[str]:
    texts = []
    for resource in _resources(folder):
        path = folder / resource
        texts += _texts(path) if path.is_dir() else [path.read_text(encoding="utf-8")]
    return texts


def _resources(folder: Path) -> list[str]:
    file = next((folder / name for name in _NAMES if (folder / name).exists()), None)
    if file is None:
        raise SecondsiteError(f"{folder} has no kustomization")
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    if extra := content.keys() - _KNOWN:
        raise SecondsiteError(f"{file} uses {', '.join(sorted(extra))}", "Put that into an overlay.")
    resources: list[str] = content["resources"]
    return resources


@click.command("install")
@click.option("--write", "mode", flag_value="write", help="Write deploy/install.yaml.")
@click.option("--check", "mode", flag_value="check", default=True, help="Exit 1 if it is not what deploy/base says.")
@click.option("--dir", "folder", type=click.Path(path_type=Path), default=Path("deploy"), show_default=True)
def install(mode: str, folder: Path) -> None:
    """Write or check deploy/install.yaml."""
    wanted, target = render(folder / "base"), folder / "install.yaml"
    if mode == "write":
        target.write_text(wanted, encoding="utf-8")
    elif not target.exists() or target.read_text(encoding="utf-8") != wanted:
        raise click.ClickException(f"{target} does not agree with {folder / 'base'}; run `make deploy` and commit it")


if __name__ == "__main__":
    install()
