"""A recorder beneath the engine's files: each system call that changes a folder, in order, and what was made durable.

It stands in front of the functions of `os`, so the product runs as it is. What is stored through a mapping is seen when
it is flushed, and whenever `note_mappings` is called.
"""

import errno
import mmap
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from secondsite.agent.lab.engine.primary import maps


@dataclass(frozen=True, slots=True)
class Wrote:
    node: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Cut:
    """The length was set."""

    node: int
    length: int


@dataclass(frozen=True, slots=True)
class Renamed:
    """Names that change together, as in one rename: (folder, name, node or None)."""

    names: tuple[tuple[int, str, int | None], ...]


@dataclass(frozen=True, slots=True)
class Synced:
    """A file's bytes and length, or a folder's names."""

    node: int


@dataclass(frozen=True, slots=True)
class Promised:
    """What the engine had said when this moment came."""

    ledger: Any


Entry = Wrote | Cut | Renamed | Synced | Promised
ROOT = 0


class RecordedMap(mmap.mmap):
    """A mapping whose stores reach the log."""

    def begin(self, recorder: "Recorder", node: int | None) -> None:
        self.log = recorder.log
        self.node = node
        self.noted = bytes(self)

    def note(self) -> None:
        if self.node is not None and self[:] != self.noted:
            self.noted = self[:]
            self.log.append(Wrote(self.node, 0, self.noted))

    def flush(self, offset: int = 0, size: int = 0) -> None:
        self.note()
        if self.node is not None:
            self.log.append(Synced(self.node))


class Recorder:
    """Follows everything under `root`, which it takes to be durable as it is found."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.log: list[Entry] = []
        self.folders = {ROOT}
        # How many more changes under `dying` will happen; None for no end.
        self.changes_left: int | None = None
        self.dying = root
        self._nodes: dict[str, int] = {str(root): ROOT}
        self._open: dict[int, str] = {}
        # A file that is renamed or removed while it is open keeps its node.
        self._held: dict[int, int] = {}
        self._mappings: list[RecordedMap] = []
        self._made_nodes = 0
        self._lock = threading.RLock()
        self._take_in(root)
        self.found = len(self.log)

    def _take_in(self, folder: Path) -> None:
        for path in sorted(folder.iterdir()):
            self._name(str(path), folder=path.is_dir())
            if path.is_dir():
                self._take_in(path)
            else:
                self.log.append(Wrote(self._nodes[str(path)], 0, path.read_bytes()))
                self.log.append(Synced(self._nodes[str(path)]))
        self.log.append(Synced(self._nodes[str(folder)]))

    def promise(self, ledger: Any) -> None:
        with self._lock:
            self.log.append(Promised(ledger))

    def note_mappings(self) -> None:
        """What was stored through mappings may reach the disk at any time from now on."""
        with self._lock:
            for memory in self._mappings:
                memory.note()

    def mapping(self, fd: int, length: int) -> "RecordedMap":
        memory = RecordedMap(fd, length)
        memory.begin(self, self._held.get(fd))
        self._mappings.append(memory)
        return memory

    def kill_after(self, changes: int, folder: Path) -> None:
        """Let so many changes under a folder happen and no more: what a killed process leaves behind."""
        self.changes_left, self.dying = changes, folder

    def revive(self) -> None:
        self.changes_left = None

    @contextmanager
    def recording(self) -> Iterator["Recorder"]:
        with pytest.MonkeyPatch.context() as patched:
            for name, record in (
                ("open", self._opened),
                ("close", self._closed),
                ("write", self._wrote),
                ("pwrite", self._wrote),
                ("ftruncate", self._cut),
                ("posix_fallocate", self._allocated),
                ("fsync", self._synced),
                ("fdatasync", self._synced),
                ("rename", self._renamed),
                ("replace", self._renamed),
                ("unlink", self._removed),
                ("rmdir", self._removed),
                ("mkdir", self._made),
            ):
                patched.setattr(os, name, self._in_turn(getattr(os, name), record))
            patched.setattr(maps, "mmap", SimpleNamespace(mmap=self.mapping))
            yield self

    def _in_turn(self, call: Callable[..., Any], record: Callable[..., Any]) -> Callable[..., Any]:
        def recorded(*arguments: Any, **options: Any) -> Any:
            with self._lock:
                return record(call, *arguments, **options)

        return recorded

    # One method per system call: does it, and writes down what it did.

    def _opened(self, call: Callable[..., int], path: Any, flags: int, *rest: Any, **options: Any) -> int:
        name = self._path(path, options.get("dir_fd"))
        if name is None:
            return call(path, flags, *rest, **options)
        fresh = flags & os.O_CREAT and not os.path.lexists(name)
        if fresh or flags & os.O_TRUNC:
            self._may_change(name)
        fd = call(path, flags, *rest, **options)
        if fresh:
            self._name(name)
        elif flags & os.O_TRUNC:
            self.log.append(Cut(self._nodes[name], 0))
        self._open[fd], self._held[fd] = name, self._nodes[name]
        return fd

    def _closed(self, call: Callable[..., None], fd: int) -> None:
        self._open.pop(fd, None)
        self._held.pop(fd, None)
        call(fd)

    def _wrote(self, call: Callable[..., int], fd: int, data: Any, *offset: int) -> int:
        if fd not in self._held:
            return call(fd, data, *offset)
        self._may_change(self._open[fd])
        start = offset[0] if offset else os.lseek(fd, 0, os.SEEK_CUR)
        done = call(fd, data, *offset)
        self.log.append(Wrote(self._held[fd], start, bytes(memoryview(data).cast("B")[:done])))
        return done

    def _cut(self, call: Callable[..., None], fd: int, length: int) -> None:
        if fd in self._held:
            self._may_change(self._open[fd])
            if os.fstat(fd).st_size != length:
                self.log.append(Cut(self._held[fd], length))
        call(fd, length)

    def _allocated(self, call: Callable[..., None], fd: int, offset: int, length: int) -> None:
        if fd in self._held:
            self._may_change(self._open[fd])
            if os.fstat(fd).st_size < offset + length:
                self.log.append(Cut(self._held[fd], offset + length))
        call(fd, offset, length)

    def _synced(self, call: Callable[..., None], fd: int) -> None:
        if fd in self._held:
            # The disk is ours: the real one need not be waited for.
            self.log.append(Synced(self._held[fd]))
        else:
            call(fd)

    def _renamed(self, call: Callable[..., None], source: Any, target: Any) -> None:
        old, new = self._path(source), self._path(target)
        if old is None or new is None:
            call(source, target)
            return
        self._may_change(old)
        call(source, target)
        node = self._nodes.pop(old)
        self._nodes[new] = node
        self.log.append(Renamed(((*self._place(old), None), (*self._place(new), node))))

    def _removed(self, call: Callable[..., None], path: Any, *, dir_fd: int | None = None) -> None:
        name = self._path(path, dir_fd)
        if name is not None:
            self._may_change(name)
        call(path, dir_fd=dir_fd)
        if name is not None:
            self.log.append(Renamed(((*self._place(name), None),)))
            del self._nodes[name]

    def _made(self, call: Callable[..., None], path: Any, *rest: Any, **options: Any) -> None:
        name = self._path(path, options.get("dir_fd"))
        if name is not None:
            self._may_change(name)
        call(path, *rest, **options)
        if name is not None:
            self._name(name, folder=True)

    def _may_change(self, name: str) -> None:
        if self.changes_left is not None and name.startswith(str(self.dying)):
            if self.changes_left <= 0:
                raise OSError(errno.EIO, "this process is dead", name)
            self.changes_left -= 1

    def _path(self, path: Any, dir_fd: int | None = None) -> str | None:
        """The name under the root, None for another's file."""
        if not isinstance(path, str | os.PathLike):
            return None
        name = os.fspath(path)
        if dir_fd is not None:
            name = f"{self._open[dir_fd]}/{name}" if dir_fd in self._open else ""
        return name if name.startswith(str(self.root)) else None

    def _name(self, path: str, *, folder: bool = False) -> None:
        self._made_nodes += 1
        node = self._nodes[path] = self._made_nodes
        if folder:
            self.folders.add(node)
        self.log.append(Renamed(((*self._place(path), node),)))

    def _place(self, path: str) -> tuple[int, str]:
        folder, name = os.path.split(path)
        return self._nodes[folder], name
