"""What the tests of image files share."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from secondsite.agent.lab.engine.media.images import ImageRefused

MIB = 1024 * 1024

needs_qemu = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="no qemu-img here: apt-get install qemu-utils")


def allocated(path: Path) -> int:
    return path.stat().st_blocks * 512


def tool(*arguments: object) -> None:
    subprocess.run(["qemu-img", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def only(folder: Path, *names: str) -> bool:
    return {path.name for path in folder.iterdir()} == set(names)


@contextmanager
def refused(folder: Path, match: str, *left: str) -> Iterator[None]:
    """It says why, and nothing half done is left beside what was there."""
    with pytest.raises(ImageRefused, match=match):
        yield
    assert only(folder, *left)
