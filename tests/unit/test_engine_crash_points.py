"""A kill at every instant that matters: the files of both sides are copied before each step that makes something
durable, and each copy is then opened as a restarted pair would be."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from secondsite.agent.lab.engine import Freeze
from secondsite.agent.lab.engine.primary import cycle
from secondsite.agent.lab.engine.primary.tracker import DiskTracker
from support.engine_pair import BLOCK, Pair, pattern, quick_folder

SIZES = {"data": 70 * BLOCK, "system": 3 * BLOCK + 512}


class Instants:
    """Copies the world before each durable step, and lets a guest write there."""

    def __init__(self, pair: Pair, folder: Path) -> None:
        self.pair = pair
        self.folder = folder
        self.truth: dict[str, dict[str, bytes]] = {}
        self.count = 0
        self._busy = False

    def note_freeze(self, freeze: Freeze) -> None:
        self.truth[freeze.cycle] = {name: disk.read(0, disk.size) for name, disk in self.pair.disks.items()}

    def before(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def recorded(*arguments: Any, **options: Any) -> Any:
            if not self._busy:
                self._busy = True
                self._copy()
                self._busy = False
            return step(*arguments, **options)

        return recorded

    def _copy(self) -> None:
        shutil.copytree(self.pair.folder, self.folder / f"{self.count:03}")
        self.count += 1
        # Overwrites what may still be owed, on both disks.
        self.pair.disks["data"].write(self.count % 70 * BLOCK + 100, pattern(self.count, 300))
        self.pair.disks["system"].write(self.count % 3 * BLOCK, pattern(self.count + 7, 900))

    def record(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "fdatasync", self.before(os.fdatasync))
        monkeypatch.setattr(os, "fsync", self.before(os.fsync))
        for name in ("rename", "replace", "unlink"):
            monkeypatch.setattr(Path, name, self.before(getattr(Path, name)))
        monkeypatch.setattr(DiskTracker, "release", self.before(DiskTracker.release))
        monkeypatch.setattr(DiskTracker, "acknowledge", self.before(DiskTracker.acknowledge))


def test_a_kill_at_any_durable_step_loses_and_damages_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # One thing at a time, so that a copy is an instant and not a period.
    monkeypatch.setattr(cycle, "_POLL_SECONDS", 60)
    monkeypatch.setattr(cycle, "_STREAMS", 1)
    with quick_folder(tmp_path) as folder:
        check_instants(folder, monkeypatch)


def check_instants(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "world").mkdir()
    with Pair(folder / "world", SIZES) as pair:
        instants = Instants(pair, folder / "instants")
        pair.source._at_freeze = instants.note_freeze
        for block in range(0, 68, 2):
            pair.disks["data"].write(block * BLOCK, pattern(block))
        pair.disks["system"].write(0, pattern(200, 3 * BLOCK))
        with monkeypatch.context() as patched:
            instants.record(patched)
            points = [pair.cycle().cycle for _ in range(3)]
            pair.target.merge(points[1])
            pair.target.merge(points[0])
    assert instants.count > 60
    for number in range(instants.count):
        check_restart(folder / "instants" / f"{number:03}", dict(instants.truth), number)


def check_restart(folder: Path, truth: dict[str, dict[str, bytes]], number: int) -> None:
    with Pair(folder, SIZES) as pair:
        assert pair.source.map_trusted
        # Whatever the source believes to be committed must be there.
        assert pair.source.head in {None, *(point.id for point in pair.target.points())}, number
        instants = Instants(pair, folder)
        instants.truth = truth
        pair.source._at_freeze = instants.note_freeze
        pair.cycle()
        pair.disks["data"].write(5, b"after the restart")
        assert pair.matches(pair.cycle().cycle), number
        for point in pair.target.points():
            for name, expected in truth[point.id].items():
                assert pair.target.read_point(point.id, name, 0, SIZES[name]) == expected, (number, point, name)
