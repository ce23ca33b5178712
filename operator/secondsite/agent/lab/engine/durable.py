"""Files that survive a kill or a power cut: the few orders of system calls that the crash rules rest on."""

import contextlib
import errno
import fcntl
import os
import re
from pathlib import Path

from secondsite.agent.lab.engine.errors import EngineError, StoreLocked
from secondsite.wire.peer import ID_PATTERN

_ID = re.compile(ID_PATTERN)


def check_id(what: str, value: str) -> str:
    """The value, safe as a file name. EngineError otherwise."""
    if not _ID.fullmatch(value):
        raise EngineError(f"{what} id {value[:140]!r} is not usable: letters, digits, '.', '_', '-', at most 128")
    return value


def sync_directory(path: Path) -> None:
    """Make renames, creations and removals in a folder durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_directory(path: Path) -> Path:
    """Create a folder and make its entry durable; parents must exist. Fine when it is there already."""
    with contextlib.suppress(FileExistsError):
        path.mkdir()
    # Also when it is there: who made it may have died before this.
    sync_directory(path.parent)
    return path


def make_directories(path: Path) -> Path:
    """The same with all parents that are missing."""
    if not path.parent.is_dir():
        make_directories(path.parent)
    return make_directory(path)


def replace_file(path: Path, content: bytes) -> None:
    """Replace a small file as a whole: after a crash it holds the old or the new content, never a mixture."""
    temporary = path.with_name(path.name + ".tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        write_all(fd, content)
        os.fdatasync(fd)
    finally:
        os.close(fd)
    temporary.replace(path)
    sync_directory(path.parent)


def write_all(fd: int, content: bytes | bytearray | memoryview, offset: int | None = None) -> None:
    """Write everything, at the file position or at `offset`; the kernel may take less per call."""
    view = memoryview(content)
    while view:
        done = os.write(fd, view) if offset is None else os.pwrite(fd, view, offset)
        view = view[done:]
        offset = None if offset is None else offset + done


def read_into(fd: int, view: memoryview, offset: int) -> int:
    """Fill the view from `offset` until the end of the file; how many bytes came."""
    total = 0
    while total < len(view):
        done = os.preadv(fd, [view[total:]], offset + total)
        if done == 0:
            break
        total += done
    return total


def read_padded(fd: int, view: memoryview, offset: int) -> None:
    """Fill the view from `offset`; what lies beyond the end of the file is zeros."""
    done = read_into(fd, view, offset)
    if done < len(view):
        view[done:] = bytes(len(view) - done)


def lock_directory(path: Path) -> int:
    """Take the folder for this process until the returned descriptor is closed. StoreLocked when another has it."""
    fd = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise
        raise StoreLocked(f"{path} is open in another process, or twice in this one; stop that first") from error
    return fd


def data_extents(fd: int, size: int, begin: int = 0) -> list[tuple[int, int]]:
    """The (offset, end) ranges of a sparse file that may hold data; all of it where the file system cannot tell.

    Of those that begin before `size` and end after `begin`; the last may reach over `size`.
    """
    extents: list[tuple[int, int]] = []
    position = begin
    while position < size:
        try:
            start = os.lseek(fd, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                break
            return [(begin, size)]
        position = os.lseek(fd, start, os.SEEK_HOLE)
        extents.append((start, position))
    return extents
