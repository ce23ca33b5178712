"""Seeding: an existing copy of the disks, however old, becomes what a replica starts from instead of nothing."""

import os
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from blake3 import blake3

from secondsite.agent.lab.engine.durable import check_id, make_directory
from secondsite.agent.lab.engine.media.adopt import begin_adoption
from secondsite.agent.lab.engine.media.image_formats import ImageFormat, format_of
from secondsite.agent.lab.engine.media.images import import_image

# Below that of every primary.
_NO_TERM = 0


def seed(root: Path, vm_id: str, images: Mapping[str, Path]) -> str:
    """Make copies of a VM's disks the base of a new replica under `root`; the id of the head that they become.

    Images are raw, VHD or VHDX files by disk, which stay as they are. The head is stale: no recovery point that anybody
    is offered. The primary's `compare` finds what differs, and its next cycle makes the first point of both.
    After a kill call it again: it goes on. EngineError when a replica is there, ImageRefused, ImageToolMissing,
    StoreLocked, OSError.
    """
    facts = {check_id("disk", name): (path, path.stat()) for name, path in sorted(images.items())}
    key = repr([(name, str(path), stat.st_size, stat.st_mtime_ns) for name, (path, stat) in facts.items()])
    point = f"seed-{blake3(f'{vm_id} {key}'.encode()).hexdigest(16)}"
    copied_at = max((stat.st_mtime for _, stat in facts.values()), default=0.0)
    begin_adoption(
        root,
        vm_id,
        lambda: {name: _raw_disk(root / "seeding" / point, name, path) for name, (path, _) in facts.items()},
        point=point,
        generation=_NO_TERM,
        freeze_time=datetime.fromtimestamp(copied_at, UTC),
        stale=True,
    )
    shutil.rmtree(root / "seeding", ignore_errors=True)
    return point


def _raw_disk(folder: Path, name: str, image: Path) -> tuple[Path, bool]:
    """The disk in an image as a raw file, and whether that file is ours to move."""
    fd = os.open(image, os.O_RDONLY | os.O_NONBLOCK)
    try:
        if format_of(fd, image, None) is ImageFormat.Raw:
            return image, False
    finally:
        os.close(fd)
    make_directory(folder.parent)
    raw = make_directory(folder) / f"{name}.raw"
    # What is there was finished before a kill, or has even been moved to its place.
    if not raw.exists() and not (folder.parent.parent / "disks" / name / "base.raw").exists():
        import_image(image, raw)
    return raw, True
