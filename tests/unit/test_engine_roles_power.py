"""The power fails in the middle of a change of roles: the host comes back as what it was or as what it was to be."""

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from secondsite.agent.lab.engine import ReplicationSource, promote
from secondsite.agent.lab.engine.primary import source_core
from support.engine_pair import BLOCK
from support.engine_power import Recorder
from support.engine_power_states import PowerDisk
from support.engine_roles import Image, Site, Sites, prepared

SIZES = {"data": 20 * BLOCK, "system": 2 * BLOCK + 512}
CUTS = 25


@pytest.fixture(autouse=True)
def another_boot(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the host says of itself; a test appends what it says after the cut."""
    boots = ["before"]
    monkeypatch.setattr(source_core, "current_boot_id", lambda: boots[-1])
    return boots


class Change:
    """Two sites under one recorder, and the entries of its log that belong to the change of one of them."""

    def __init__(self, world: Path) -> None:
        for site in ("a", "b"):
            (world / site).mkdir(parents=True)
        self.world = world
        self.recorder = Recorder(world)
        self.begin = 0

    def run(self, prepare: Callable[[Sites], Callable[[], None]]) -> None:
        with self.recorder.recording(), Sites(self.world, SIZES) as sites:
            change = prepare(sites)
            self.recorder.note_mappings()
            self.begin = len(self.recorder.log)
            change()
            self.end = len(self.recorder.log)
            sites.a.crash()
            sites.b.crash()

    def cuts(self, rng: random.Random) -> Iterator[tuple[int, PowerDisk]]:
        """Random instants of the change in order, and the one after it."""
        disk, position = PowerDisk(self.recorder.folders), 0
        for instant in [*sorted(rng.randrange(self.begin, self.end + 1) for _ in range(CUTS)), self.end]:
            for entry in self.recorder.log[position:instant]:
                disk.take(entry)
            position = instant
            yield instant, disk


def after(change: Change, disk: PowerDisk, name: str, rng: random.Random) -> Site:
    """The site after a cut that hit it; paths are remembered, so it comes back at the same place."""
    shutil.rmtree(change.world)
    disk.write(change.world, rng, lambda entry: entry == name)
    site = Site(change.world / name, SIZES)
    site.recover()
    return site


@pytest.mark.parametrize("seed", range(2))
def test_a_power_cut_in_a_promotion(tmp_path: Path, another_boot: list[str], seed: int) -> None:
    rng = random.Random(seed)
    change = Change(tmp_path / "world")
    expected: Image = {}
    lineage: list[str] = []

    def prepare(sites: Sites) -> Callable[[], None]:
        chosen, last = prepared(sites)
        lineage.extend([chosen, last])
        clone = sites.b.fail_over(chosen, 2)
        sites.b.write("data", 7 * BLOCK - 5, b"two blocks")
        sites.b.write("system", 2 * BLOCK + 500, b"at the end")
        # The guest has flushed: nobody can promise more than it asked for.
        clone.sync()
        expected.update(sites.b.image())
        clone.close()
        assert sites.b.store is not None
        store = sites.b.store
        return lambda: promote(store, sites.b.source_root, sites.b.paths)

    change.run(prepare)
    another_boot.append("after")
    for instant, disk in change.cuts(rng):
        site = after(change, disk, "b", rng)
        if site.source is None:
            assert site.store is not None, instant
            assert site.store.promoted is not None, instant
            site.clone = site.store.open_clone(site.store.promoted.clone)
            assert site.image() == expected, instant
            site.promote()
        assert site.source is not None, instant
        assert site.image() == expected, instant
        assert site.changed() == {"data": {0, 4, 6, 7}, "system": {2}}, instant
        assert (site.source.generation, site.source.map_trusted) == (2, True), instant
        assert set(lineage) <= set(site.source._state.lineage), instant
        site.close()


@pytest.mark.parametrize("seed", range(2))
def test_a_power_cut_in_a_demotion(tmp_path: Path, another_boot: list[str], seed: int) -> None:
    rng = random.Random(seed)
    change = Change(tmp_path / "world")
    expected: Image = {}
    points: list[str] = []

    def prepare(sites: Sites) -> Callable[[], None]:
        points.extend(prepared(sites))
        sites.a.write("data", 11 * BLOCK, b"at a alone")
        sites.a.write("system", BLOCK, b"here too")
        for disk in sites.a.disks.values():
            disk.sync()
        expected.update(sites.a.image())
        return lambda: sites.a.demote(2)

    change.run(prepare)
    another_boot.append("after")
    for instant, disk in change.cuts(rng):
        site = after(change, disk, "a", rng)
        if site.source is not None:
            # Not begun for good: the primary that it was, after a crash of its host.
            assert site.image() == expected, instant
            assert site.source.head == points[-1], instant
            site.demote(2)
        assert site.store is not None, instant
        status = site.store.status()
        assert (status.head, status.stale, status.generation) == (points[-1], True, 2), instant
        views = site.store.core.views(points[-1])
        assert {name: view.read(0, view.size) for name, view in views.items()} == expected, instant
        assert not ReplicationSource.exists(site.source_root), instant
        site.close()
