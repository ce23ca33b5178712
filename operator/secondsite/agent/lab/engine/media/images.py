"""Disks as image files: a recovery point out to VHDX, VHD or raw, and such a file in as a raw disk.

VHD and VHDX go through `qemu-img`. It reads what strangers made, so it is told the format instead of guessing it, gets
the file as an open descriptor instead of a name that could mean something else to it, and is never run by a shell.
"""

import contextlib
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from secondsite.agent.lab.engine.blocks import block_count, runs, zero_blocks
from secondsite.agent.lab.engine.durable import data_extents, read_into, sync_directory, write_all
from secondsite.agent.lab.engine.errors import EngineError
from secondsite.agent.lab.engine.media.image_formats import SECTOR_BYTES, ImageFormat, ImageRefused, format_of
from secondsite.agent.lab.engine.replica.layer import COPY_BYTES
from secondsite.agent.lab.engine.replica.store import TargetStore
from secondsite.wire.peer import BLOCK_BYTES

__all__ = ["ImageFormat", "ImageRefused", "ImageToolMissing", "export_image", "import_image"]

_MESSAGE_BYTES = 2000
# A VHD's size is its footer's, not that of the geometry of 1990, which is rounded.
_READ = {
    ImageFormat.Raw: "driver=raw",
    ImageFormat.VHD: "driver=vpc,force_size_calc=current_size",
    ImageFormat.VHDX: "driver=vhdx",
}
# Fixed: what qemu writes as a dynamic VHDX marks zeros in a way that not every reader knows.
_WRITE = {
    ImageFormat.VHD: ("-O", "vpc", "-o", "subformat=fixed,force_size=on"),
    ImageFormat.VHDX: ("-O", "vhdx", "-o", "subformat=fixed"),
}
# The largest disk (Hyper-V scalability reference).
_LARGEST = {ImageFormat.VHD: 2040 << 30, ImageFormat.VHDX: 64 << 40}


class ImageToolMissing(EngineError):
    """`qemu-img` is not installed here. Raw images work without it."""


def export_image(store: TargetStore, point_id: str, disk: str, path: Path, image_format: ImageFormat) -> None:
    """Write a disk of a recovery point as an image file, durably; nothing half done is ever seen at `path`.

    Takes room beside `path` for the data twice. ImageToolMissing, ImageRefused (also when `path` exists), UnknownPoint,
    KeyError for the disk, DamagedBlock, OSError.
    """
    subject = f"export of disk {disk} at point {point_id} as {image_format} to {path}"
    size = store.disks[disk]
    if image_format in _WRITE:
        _find_tool(subject)
        _check_size(subject, size, image_format)
    with _scratch(subject, path) as folder:
        result = raw = folder / "disk.raw"
        store.materialise(point_id, disk, raw)
        if image_format in _WRITE:
            result = folder / "image"
            with _opened(subject, raw) as fd:
                _convert(subject, fd, _READ[ImageFormat.Raw], _WRITE[image_format], result)
        _publish(subject, result, path)


def import_image(image: Path, raw: Path, image_format: ImageFormat | None = None) -> int:
    """Copy the disk in `image` to the sparse file `raw`, durably; the disk's size in bytes.

    Without a format the file's own bytes decide, and must agree with its suffix. ImageToolMissing, ImageRefused (also
    when `raw` exists), OSError.
    """
    subject = f"import of {image} to {raw}"
    with _opened(subject, image) as fd, _scratch(subject, raw) as folder:
        found = format_of(fd, image, image_format)
        result = folder / "disk.raw"
        if found is ImageFormat.Raw:
            _copy_sparse(subject, fd, result)
        else:
            _convert(subject, fd, _READ[found], ("-O", "raw"), result)
        size = result.stat().st_size
        _publish(subject, result, raw)
    return size


def _check_size(subject: str, size: int, image_format: ImageFormat) -> None:
    if size % SECTOR_BYTES:
        raise ImageRefused(f"{subject}: its {size} bytes are not whole sectors of {SECTOR_BYTES}; export it as Raw")
    if size > _LARGEST[image_format]:
        raise ImageRefused(
            f"{subject}: its {size} bytes are more than the {_LARGEST[image_format]} that a {image_format} holds; "
            f"export it as {'VHDX or ' if image_format is ImageFormat.VHD else ''}Raw"
        )


@contextlib.contextmanager
def _opened(subject: str, image: Path) -> Iterator[int]:
    """The one file that is looked at and then read. A pipe would block, a device never end."""
    fd = os.open(image, os.O_RDONLY | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ImageRefused(f"{subject}: {image} is not a regular file; copy the disk into one")
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _scratch(subject: str, path: Path) -> Iterator[Path]:
    """A folder for unfinished files on the file system of `path`; a kill leaves it, under a name that says whose."""
    _refuse_existing(subject, path)
    with tempfile.TemporaryDirectory(prefix=".secondsite-image-", dir=path.absolute().parent) as folder:
        yield Path(folder)


def _refuse_existing(subject: str, path: Path) -> None:
    if os.path.lexists(path):
        raise ImageRefused(f"{subject}: {path} exists and is not replaced; remove it or choose another name")


def _publish(subject: str, file: Path, path: Path) -> None:
    fd = os.open(file, os.O_RDONLY)
    try:
        os.fchmod(fd, 0o600)
        os.fsync(fd)
    finally:
        os.close(fd)
    # The conversion may have taken hours.
    _refuse_existing(subject, path)
    file.rename(path)
    sync_directory(path.absolute().parent)


def _copy_sparse(subject: str, fd: int, target: Path) -> None:
    size = os.fstat(fd).st_size
    buffer = memoryview(bytearray(COPY_BYTES))
    out = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.ftruncate(out, size)
        for start, end in data_extents(fd, size):
            for offset in range(start, end, COPY_BYTES):
                piece = buffer[: min(COPY_BYTES, end - offset)]
                if read_into(fd, piece, offset) != len(piece):
                    raise ImageRefused(f"{subject}: it became shorter while it was read; stop who writes to it")
                _write_data(out, buffer, len(piece), offset)
    finally:
        os.close(out)


def _write_data(out: int, buffer: memoryview, length: int, offset: int) -> None:
    """Write the first `length` bytes of the buffer but for whole blocks of zeros."""
    # What an earlier piece left behind them can at most make the last block count as data.
    whole = block_count(length) * BLOCK_BYTES
    for _, first, count in runs(np.flatnonzero(~zero_blocks(buffer[:whole]))):
        start, end = first * BLOCK_BYTES, min((first + count) * BLOCK_BYTES, length)
        write_all(out, buffer[start:end], offset + start)


def _find_tool(subject: str) -> str:
    tool = shutil.which("qemu-img")
    if tool is None:
        raise ImageToolMissing(
            f"{subject}: there is no qemu-img in PATH={os.environ.get('PATH', '')!r}; install it (Debian: "
            "apt-get install qemu-utils) or use a raw image"
        )
    return tool


def _convert(subject: str, fd: int, source: str, output: Sequence[str], target: Path) -> None:
    """Run `qemu-img convert` from an open file to a new one, whose absolute path no protocol's prefix can begin."""
    name = f"/proc/self/fd/{fd}"
    image = f"{source},file.driver=file,file.filename={name}"
    code, said = _run([_find_tool(subject), "convert", "--image-opts", *output, image, str(target)], fd)
    if code != 0:
        # Its name for the file means nothing to anybody else.
        said = said.replace(image, "the image").replace(name, "the image") or "nothing"
        raise ImageRefused(
            f"{subject}: qemu-img ended with {code} and said: {said}. See that there is room, that nothing else has "
            "the image open, and that it is a whole disk: no differencing disk, checkpoints merged, copied to its end"
        )


def _run(command: Sequence[str], fd: int) -> tuple[int, str]:
    """The exit code, and the beginning of what it said on stderr, printable."""
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=[fd],
        env={"LC_ALL": "C", "PATH": os.defpath},
    ) as process:
        assert process.stderr is not None
        said = process.stderr.read(_MESSAGE_BYTES).decode(errors="replace")
        # More than anybody reads is still taken from the pipe, so that it does not block.
        while process.stderr.read(COPY_BYTES):
            pass
    printable = "".join(letter if letter.isprintable() else " " for letter in said)
    return process.returncode, " ".join(printable.split())
