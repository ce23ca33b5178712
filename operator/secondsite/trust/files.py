"""Files that survive a power cut: an old one or the new one, never half of it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from secondsite.errors import SecondsiteError


def write_durably(path: Path, data: bytes | str, mode: int = 0o600) -> None:
    """Replace `path` with `data`; when this returns, it is on the disk. Raises SecondsiteError, the old file intact."""
    content = data.encode() if isinstance(data, str) else data
    try:
        _replace(path, content, mode)
    except OSError as error:
        raise SecondsiteError(
            f"Writing {path} failed: {error.strerror or error}",
            "Check that the folder exists, that it may be written, and that the disk is not full.",
        ) from error


def remove_durably(path: Path) -> None:
    """Remove `path` if it is there; when this returns, it stays gone."""
    path.unlink(missing_ok=True)
    _sync_directory(path.parent)


def _replace(path: Path, content: bytes, mode: int) -> None:
    # mkstemp makes the file readable by its owner only, before anything stands in it.
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    if os.name == "nt":
        return  # Windows cannot open a directory for this; NTFS journals the rename itself
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
