"""Files in a store's folder that its catalogue does not name, and where they go: never away."""

from collections.abc import Iterator
from pathlib import Path

from secondsite.agent.lab.engine.durable import make_directories, sync_directory
from secondsite.agent.lab.engine.replica.contents import Contents

LOST_AND_FOUND = "lost+found"
_KNOWN = {
    "catalog.log",
    "lock",
    "disks",
    "clones",
    "stale",
    "adopting.json",
    "promotion.json",
    "demotion.json",
    LOST_AND_FOUND,
}
_DISK_FILES = {"base.raw", "base.hashes", "base.xxh3", "layers", "incoming"}


def strays(root: Path, contents: Contents) -> Iterator[Path]:
    """Files and folders that belong to nothing."""
    opened = contents.open.cycle if contents.open else None
    # A commit that a kill interrupted leaves the layers of the open cycle: they become its parts again.
    layers = {f"{name}.lay" for name in [*(entry.point for entry in contents.points), opened] if name}
    parts = {f"{opened}.part"} if opened else set()
    yield from _unnamed(root, _KNOWN)
    yield from _unnamed(root / "disks", set(contents.kept_sizes))
    yield from _unnamed(root / "clones", set(contents.clones))
    for name in contents.kept_sizes:
        folder = root / "disks" / name
        yield from _unnamed(folder, _DISK_FILES)
        yield from _unnamed(folder / "layers", layers)
        yield from _unnamed(folder / "incoming", parts)


def put_aside(root: Path, path: Path) -> Path:
    """Move something to the store's lost+found, under its own path; where it is then."""
    target = root / LOST_AND_FOUND / path.relative_to(root)
    number = 0
    while target.exists():
        number += 1
        target = (root / LOST_AND_FOUND / path.relative_to(root)).with_name(f"{path.name}.{number}")
    make_directories(target.parent)
    path.rename(target)
    sync_directory(target.parent)
    sync_directory(path.parent)
    return target


def keep_copy(root: Path, path: Path) -> Path:
    """Copy a small file to lost+found before it is changed."""
    copy = path.with_name(f"{path.name}.before-repair")
    copy.write_bytes(path.read_bytes())
    return put_aside(root, copy)


def _unnamed(folder: Path, names: set[str]) -> Iterator[Path]:
    if folder.is_dir():
        yield from sorted(path for path in folder.iterdir() if path.name not in names)
