"""A kill at every instant of a change of roles: the files of the site are copied before each step on the file system,
and each copy is then taken up as a restarted agent would, killed once more on the way, and the change repeated."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from secondsite.agent.lab.engine import ReplicationSource
from secondsite.agent.lab.engine.roles.stale import read_stale_page, unpack_bits
from support.engine_pair import BLOCK
from support.engine_roles import Image, Site, Sites, prepared

SIZES = {"data": 20 * BLOCK, "system": 2 * BLOCK + 512}
STEPS = ("fdatasync", "fsync", "ftruncate", "mkdir", "rename", "replace", "rmdir", "unlink")


class Killed(BaseException):
    """In place of SIGKILL."""


class Steps:
    """Does something before each step that changes files or makes them durable."""

    def __init__(self, before: Callable[[int], None]) -> None:
        self._before = before
        self._busy = False
        self.count = 0

    def watch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in STEPS:
            monkeypatch.setattr(os, name, self._watched(getattr(os, name)))

    def _watched(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any, **options: Any) -> Any:
            if not self._busy:
                self._busy = True
                try:
                    self._before(self.count)
                finally:
                    self._busy = False
                self.count += 1
            return step(*arguments, **options)

        return watched


def copies(site: Path, folder: Path, change: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The site's folder before each step of the change, and after the last."""
    folder.mkdir()

    def copy(number: int) -> None:
        shutil.copytree(site, folder / f"{number:03}")

    steps = Steps(copy)
    with monkeypatch.context() as patched:
        steps.watch(patched)
        change()
    copy(steps.count)
    return sorted(folder.iterdir())


def taken_up(copy: Path, site: Path) -> Site:
    """The site as it was in the copy, with a kill while it starts."""
    shutil.rmtree(site)
    copy.rename(site)

    def kill(number: int) -> None:
        if number == int(copy.name) * 7 % 30:
            raise Killed

    killed = Site(site, SIZES)
    with pytest.MonkeyPatch.context() as patched:
        Steps(kill).watch(patched)
        try:
            killed.recover()
        except Killed:
            pass
        finally:
            killed.server.close()
    killed.crash()
    restarted = Site(site, SIZES)
    restarted.recover()
    return restarted


def test_a_kill_at_any_step_of_a_promotion_changes_nothing_of_its_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Sites(tmp_path, SIZES) as sites:
        chosen, last = prepared(sites)
        clone = sites.b.fail_over(chosen, 2)
        sites.b.write("data", 7 * BLOCK - 5, b"two blocks")
        sites.b.write("system", 2 * BLOCK + 500, b"at the end")
        expected = sites.b.image()
        clone.close()
        kills = copies(tmp_path / "b", tmp_path / "copies", sites.b.promote, monkeypatch)
        sites.b.crash()
    assert len(kills) > 40
    for copy in kills:
        check_promoted(taken_up(copy, tmp_path / "b"), expected, [chosen, last], copy.name)


def check_promoted(site: Site, expected: Image, lineage: list[str], name: str) -> None:
    if site.source is None:
        # Not begun for good: the clone is what it was, and the guest could go on.
        assert site.store is not None, name
        assert site.store.promoted is not None, name
        site.clone = site.store.open_clone(site.store.promoted.clone)
        assert site.image() == expected, name
        site.promote()
    assert site.source is not None
    assert site.image() == expected, name
    assert site.changed() == {"data": {0, 4, 6, 7}, "system": {2}}, name
    assert (site.source.generation, site.source.map_trusted) == (2, True), name
    assert set(lineage) <= set(site.source._state.lineage), name
    assert sorted(path.name for path in site.store_root.iterdir()) == ["lock", "promotion.json"], name
    site.close()


@pytest.mark.parametrize("planned", [True, False])
def test_a_kill_at_any_step_of_a_demotion_changes_nothing_of_its_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planned: bool
) -> None:
    with Sites(tmp_path, SIZES) as sites:
        _, last = prepared(sites)
        if not planned:
            sites.a.write("data", 11 * BLOCK, b"at a alone")
            sites.a.write("system", BLOCK, b"here too")
        expected = sites.a.image()
        kills = copies(tmp_path / "a", tmp_path / "copies", lambda: sites.a.demote(2), monkeypatch)
        sites.a.crash()
    assert len(kills) > 40
    # The planned way differs only in the map that it need not write.
    for copy in kills[:: 3 if planned else 1]:
        check_demoted(taken_up(copy, tmp_path / "a"), expected, last, planned, copy.name)


def check_demoted(site: Site, expected: Image, last: str, planned: bool, name: str) -> None:
    if site.source is not None:
        # Not begun for good: it is the primary that it was.
        assert site.image() == expected, name
        site.demote(2)
    assert site.store is not None, name
    status = site.store.status()
    assert (status.head, status.stale, status.generation) == (last, not planned, 2), name
    views = site.store.core.views(last)
    assert {disk: view.read(0, view.size) for disk, view in views.items()} == expected, name
    if not planned:
        stale = {disk: unpack_bits(read_stale_page(site.store_root, disk, 0, 3), 3).tolist() for disk in SIZES}
        assert stale["system"] == [False, True, False], name
        bits = unpack_bits(read_stale_page(site.store_root, "data", 0, 20), 20)
        assert bits.nonzero()[0].tolist() == [11], name
    assert not ReplicationSource.exists(site.source_root), name
    site.close()
