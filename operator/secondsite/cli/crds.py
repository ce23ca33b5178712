"""`secondsite crds`: the CustomResourceDefinitions, generated from the types of the API."""

import difflib
from pathlib import Path

import click

from secondsite.api.crd import file_name, render
from secondsite.api.kinds import ALL_KINDS

PATTERN = "secondsite.dev_*.yaml"


@click.command("crds")
@click.option("--write", "mode", flag_value="write", help="Write one file per kind, and remove those of former kinds.")
@click.option("--check", "mode", flag_value="check", help="Compare the files with the types; exit 1 if they differ.")
@click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("crds"),
    show_default=True,
    help="Folder of the files.",
)
def crds(mode: str | None, folder: Path) -> None:
    """Print the CustomResourceDefinitions, write them to files, or compare them with files.

    Without an option they are printed: `secondsite crds | kubectl apply --server-side -f -`.
    """
    wanted = {file_name(kind): render(kind) for kind in ALL_KINDS}
    match mode:
        case "write":
            write(folder, wanted)
        case "check":
            check(folder, wanted)
        case _:
            click.echo("---\n".join(wanted.values()), nl=False)


def write(folder: Path, wanted: dict[str, str]) -> None:
    """Make the files in the folder those that are wanted."""
    folder.mkdir(parents=True, exist_ok=True)
    for stale in _present(folder).keys() - wanted.keys():
        (folder / stale).unlink()
    for name, text in wanted.items():
        (folder / name).write_text(text, encoding="utf-8")
    click.echo(f"{len(wanted)} files written to {folder}/")


def check(folder: Path, wanted: dict[str, str]) -> None:
    """Exit with 1 and a diff if a file is not the one that is wanted."""
    present = _present(folder)
    if present == wanted:
        return
    for name in sorted(present.keys() | wanted.keys()):
        lines = difflib.unified_diff(
            present.get(name, "").splitlines(keepends=True),
            wanted.get(name, "").splitlines(keepends=True),
            f"{folder}/{name}",
            "as the types in operator/secondsite/api say",
        )
        click.echo("".join(lines), nl=False)
    raise click.ClickException(
        f"{folder}/ does not agree with the types of the API; run `make crds` and commit the result"
    )


def _present(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in folder.glob(PATTERN)}
