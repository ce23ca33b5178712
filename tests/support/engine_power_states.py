"""What a disk may hold after a power cut: all that was made durable, and of the rest any part, in any order.

Data: at the grain of a 512-byte sector, each one old or new; the length as it was, or as it was going to be. Names:
each creation, rename and removal happened or did not, a rename as a whole; it is durable once the folders that it
touches are. That is as much as POSIX promises, and less than a journal gives.
"""

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.engine_power import ROOT, Cut, Entry, Promised, Renamed, Synced, Wrote

SECTOR = 512
_HOLE = 65536
_ZEROS = bytes(_HOLE)


@dataclass
class _File:
    durable: bytearray = field(default_factory=bytearray)
    pending: list[Wrote | Cut] = field(default_factory=list)

    def apply(self, change: Wrote | Cut, content: bytearray) -> None:
        if isinstance(change, Cut):
            del content[change.length :]
            content.extend(bytes(change.length - len(content)))
            return
        content.extend(bytes(max(0, change.offset - len(content))))
        content[change.offset : change.offset + len(change.data)] = change.data

    def sync(self) -> None:
        for change in self.pending:
            self.apply(change, self.durable)
        self.pending.clear()

    def live(self) -> bytearray:
        content = bytearray(self.durable)
        for change in self.pending:
            self.apply(change, content)
        return content

    def after_cut(self, rng: random.Random) -> bytearray:
        content = bytearray(self.durable)
        if not self.pending:
            return content
        way = rng.choice(["nothing", "everything", "in order", "scattered"])
        if way == "everything":
            return self.live()
        if way == "in order":
            whole = rng.randrange(len(self.pending))
            for change in self.pending[:whole]:
                self.apply(change, content)
            torn_at = rng.random()
            self._tear(self.pending[whole], content, rng, lambda place: place < torn_at)
        if way == "scattered":
            share = rng.random()
            for change in self.pending:
                self._tear(change, content, rng, lambda _: rng.random() < share)
        if rng.random() < 0.5:
            # The new length went ahead of the data.
            length = len(self.live())
            content.extend(bytes(max(0, length - len(content))))
        return content

    def _tear(self, change: Wrote | Cut, content: bytearray, rng: random.Random, keep: Callable[[float], bool]) -> None:
        """Apply some of the sectors of a change."""
        if isinstance(change, Cut):
            if rng.random() < 0.5:
                self.apply(change, content)
            return
        end = change.offset + len(change.data)
        edges = [change.offset, *range((change.offset // SECTOR + 1) * SECTOR, end, SECTOR), end]
        for index, (start, stop) in enumerate(itertools.pairwise(edges)):
            if keep(index / len(edges)):
                piece = change.data[start - change.offset : stop - change.offset]
                self.apply(Wrote(change.node, start, piece), content)


@dataclass
class _Rename:
    change: Renamed
    # The folders that must yet be synced.
    owed: set[int]


class PowerDisk:
    """Takes in a recording, entry by entry, and can say at any point what a power cut would leave."""

    def __init__(self, folders: set[int]) -> None:
        self.ledger: Any = None
        self._folders = folders
        self._files: dict[int, _File] = {}
        self._renames: list[_Rename] = []
        self._durable_names: dict[tuple[int, str], int] = {}

    def take(self, entry: Entry) -> None:
        match entry:
            case Wrote() | Cut():
                self._files.setdefault(entry.node, _File()).pending.append(entry)
            case Renamed():
                self._renames.append(_Rename(entry, {folder for folder, _, _ in entry.names}))
            case Synced():
                self._sync(entry.node)
            case Promised():
                self.ledger = entry.ledger

    def _sync(self, node: int) -> None:
        if node not in self._folders:
            self._files.setdefault(node, _File()).sync()
            return
        for rename in self._renames:
            rename.owed.discard(node)
        while self._renames and not self._renames[0].owed:
            _apply(self._renames.pop(0).change, self._durable_names)

    def write(self, target: Path, rng: random.Random, hit: Callable[[str], bool]) -> None:
        """What stands on the disks after a cut that hit some of the names in the root, and left the others alone."""
        self._write(target, self._names(lambda: True), _File.live, lambda name: not hit(name))
        share = rng.choice([0.0, 0.5, 1.0])
        self._write(target, self._names(lambda: rng.random() < share), lambda file: file.after_cut(rng), hit)

    def _names(self, happened: Callable[[], bool]) -> dict[tuple[int, str], int]:
        names = dict(self._durable_names)
        for rename in self._renames:
            if not rename.owed or happened():
                _apply(rename.change, names)
        return names

    def _write(
        self,
        target: Path,
        names: dict[tuple[int, str], int],
        read: Callable[[_File], bytearray],
        wanted: Callable[[str], bool],
    ) -> None:
        children: dict[int, list[tuple[str, int]]] = {}
        for (folder, name), node in names.items():
            if folder != ROOT or wanted(name):
                children.setdefault(folder, []).append((name, node))
        places = [(target, ROOT)]
        while places:
            path, node = places.pop()
            path.mkdir(exist_ok=True)
            for name, child in children.get(node, []):
                if child in self._folders:
                    places.append((path / name, child))
                else:
                    _write_sparse(path / name, read(self._files.get(child, _File())))


def _apply(change: Renamed, names: dict[tuple[int, str], int]) -> None:
    for folder, name, node in change.names:
        if node is None:
            names.pop((folder, name), None)
        else:
            names[folder, name] = node


def _write_sparse(path: Path, content: bytearray) -> None:
    with path.open("wb") as file:
        for start in range(0, len(content), _HOLE):
            piece = content[start : start + _HOLE]
            if piece != _ZEROS[: len(piece)]:
                file.seek(start)
                file.write(piece)
        file.truncate(len(content))
