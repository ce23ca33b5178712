"""Kills in a change of a VM's disks: all files are copied before each durable step; each copy goes on from there."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from secondsite.agent.lab.engine import Freeze, change_disks
from secondsite.agent.lab.engine.primary import cycle
from support.engine_pair import BLOCK, Pair, pattern, quick_folder

SIZES = {"a": 6 * BLOCK, "b": 5 * BLOCK + 512, "c": 4 * BLOCK}


class Story:
    """A pair whose disks change, and what each of its points must hold."""

    def __init__(self, pair: Pair, copies: Path) -> None:
        self.pair = pair
        self.copies = copies
        self.truth: dict[str, dict[str, bytes]] = {}
        # Which disks were wanted when a copy was made.
        self.wanted: list[tuple[str, ...]] = []
        self._busy = False
        pair.source._at_freeze = self.note

    def note(self, freeze: Freeze) -> None:
        self.truth[freeze.cycle] = {name: disk.read(0, disk.size) for name, disk in self.pair.disks.items()}

    def choose(self, *names: str) -> None:
        """As the lab does it: what is wanted is durable elsewhere before the tracking changes."""
        pair = self.pair
        pair.sizes = {name: SIZES[name] for name in names}
        pair.source.close()
        for disk in pair.disks.values():
            disk.close()
        change_disks(pair.folder / "source", pair.sizes)
        pair._open_source()
        pair.source._at_freeze = self.note

    def record(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("fdatasync", "fsync"):
            monkeypatch.setattr(os, name, self._before(getattr(os, name)))
        for name in ("rename", "replace", "unlink"):
            monkeypatch.setattr(Path, name, self._before(getattr(Path, name)))

    def _before(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def recorded(*arguments: Any, **options: Any) -> Any:
            if not self._busy:
                self._busy = True
                shutil.copytree(self.pair.folder, self.copies / f"{len(self.wanted):03}")
                self.wanted.append(tuple(self.pair.sizes))
                self._busy = False
            return step(*arguments, **options)

        return recorded


def test_a_kill_at_any_durable_step_of_a_change_damages_no_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One thing at a time, so that a copy is an instant and not a period.
    monkeypatch.setattr(cycle, "_POLL_SECONDS", 60)
    monkeypatch.setattr(cycle, "_STREAMS", 1)
    with quick_folder(tmp_path) as folder:
        world = folder / "world"
        world.mkdir()
        for name, size in SIZES.items():
            (world / f"{name}.raw").write_bytes(pattern(ord(name)) * (size // BLOCK) + bytes(size % BLOCK))
        with Pair(world, {name: SIZES[name] for name in ("a", "b")}) as pair:
            story = Story(pair, folder / "copies")
            with monkeypatch.context() as patched:
                story.record(patched)
                tell(story)
        assert len(story.wanted) > 60
        for number, wanted in enumerate(story.wanted):
            go_on(folder / "copies" / f"{number:03}", wanted, dict(story.truth), number)


def tell(story: Story) -> None:
    pair = story.pair
    first = pair.cycle().cycle
    story.choose("a", "c")
    pair.disks["c"].write(BLOCK, bytes(BLOCK))
    second = pair.cycle().cycle
    pair.target.merge(first)
    story.choose("a", "b")
    pair.disks["b"].write(BLOCK, pattern(77))
    pair.cycle()
    pair.target.merge(second)


def go_on(folder: Path, wanted: tuple[str, ...], truth: dict[str, dict[str, bytes]], number: int) -> None:
    sizes = {name: SIZES[name] for name in wanted}
    change_disks(folder / "source", sizes)
    with Pair(folder, sizes) as pair:
        assert pair.source.map_trusted, number
        story = Story(pair, folder)
        story.truth = truth
        pair.disks["a"].write(5, b"after the restart")
        last = pair.cycle().cycle
        pair.restart_target()
        for point in pair.target.points():
            found = pair.target.disks_at(point.id)
            there = {name: pair.target.read_point(point.id, name, 0, size) for name, size in found.items()}
            assert there == truth[point.id], (number, point.id)
        assert pair.matches(pair.cycle().cycle), number
        assert set(pair.target.disks) == set(wanted), (number, last)
