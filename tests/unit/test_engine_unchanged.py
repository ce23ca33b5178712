"""A cycle in which nothing changed: the newest point takes its time, no file stays open, and nothing is ever missed."""

import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondsite.agent.lab.engine import LinkError, ReplicationSource, SourceDisk, TargetStore
from secondsite.agent.lab.engine.check import fsck
from secondsite.agent.lab.engine.port.client import PeerSession
from secondsite.agent.lab.engine.replica import core
from support.engine_pair import BLOCK, Pair, pattern, quick_folder

SIZES = {"data": 8 * BLOCK, "system": 4 * BLOCK}
INTERVAL, HOUR = 300, 3600


class QuietPair(Pair):
    """A pair as the lab opens it."""

    def _open_target(self) -> None:
        root, told = self.folder / "target", self.committed.append
        self.target = TargetStore(root, "vm", clock=self.clock, on_commit=told, rests=True)

    def _open_source(self, boot_id: str | None = None) -> None:
        self.disks = {name: SourceDisk(self.folder / f"{name}.raw", size) for name, size in self.sizes.items()}
        self.source = ReplicationSource(
            self.folder / "source", "vm", self.disks, clock=self.clock, boot_id=boot_id, unchanged_seconds=HOUR
        )

    def later(self) -> str:
        """One more cycle, an interval later; its point."""
        self.clock.forward(INTERVAL)
        return self.cycle().cycle

    @property
    def open_files(self) -> list[str]:
        """Under the folder, but for the two locks."""
        found = [str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
        maps = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
        found += [line.split()[-1] for line in maps if "/" in line]
        return sorted(path for path in found if path.startswith(f"{self.folder}/") and not path.endswith("/lock"))


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[QuietPair]:
    with QuietPair(tmp_path, SIZES) as opened:
        opened.disks["data"].write(0, pattern(1))
        yield opened


def test_a_quiet_cycle_makes_no_point_but_moves_the_newest_ones_time(pair: QuietPair) -> None:
    first = pair.cycle().cycle
    taken = pair.clock.now
    assert [pair.later(), pair.later()] == [first, first]
    (point,) = pair.target.points()
    assert (point.freeze_time, point.durable_time, point.taken_time) == (pair.clock.now, pair.clock.now, taken)
    assert [(told.id, told.freeze_time > taken) for told in pair.committed] == [
        (first, False),
        (first, True),
        (first, True),
    ]
    assert [told.bytes > 0 for told in pair.committed] == [True, False, False]
    assert pair.matches(first)


def test_between_quiet_cycles_no_file_is_open(pair: QuietPair) -> None:
    pair.cycle()
    assert pair.open_files == []
    pair.later()
    assert pair.open_files == []
    pair.restart_source()
    pair.restart_target()
    assert pair.open_files == []


def test_a_write_after_quiet_cycles_is_a_point_of_its_own(pair: QuietPair) -> None:
    first = pair.cycle().cycle
    pair.later()
    pair.disks["system"].write(BLOCK + 5, b"news")
    second = pair.later()
    assert [point.id for point in pair.target.points()] == [first, second]
    assert pair.matches(second)
    assert pair.target.read_point(first, "system", BLOCK + 5, 4) == bytes(4)


@pytest.mark.parametrize("clean", [True, False])
def test_a_write_that_wakes_the_maps_survives_a_kill(pair: QuietPair, clean: bool) -> None:
    pair.cycle()
    pair.later()
    pair.disks["data"].write(3 * BLOCK, pattern(7))
    pair.restart_source(clean=clean)
    assert pair.matches(pair.later())


def test_another_life_of_the_host_trusts_resting_maps_no_more_than_open_ones(pair: QuietPair) -> None:
    pair.cycle()
    pair.later()
    pair.restart_source(boot_id="another")
    assert not pair.source.map_trusted


def test_the_later_time_survives_a_restart_and_a_shorter_log(pair: QuietPair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "_SPARE_EVENTS", 5)
    pair.cycle()
    taken = pair.clock.now
    for _ in range(10):
        pair.later()
    pair.restart_target()
    (point,) = pair.target.points()
    assert (point.freeze_time, point.taken_time) == (pair.clock.now, taken)
    assert len((pair.folder / "target" / "catalog.log").read_bytes().splitlines()) < 10
    pair.target.close()
    assert not fsck.check(pair.folder / "target").findings
    pair.restart_target()


def test_once_an_hour_there_is_a_point_all_the_same(pair: QuietPair) -> None:
    for _ in range(3 * HOUR // INTERVAL):
        pair.later()
        pair.target.apply_retention(pair.clock.now, HOUR, 24 * HOUR)
    points = pair.target.points()
    assert len(points) == 3
    taken = [point.taken_time or point.freeze_time for point in points]
    assert [(later - earlier).total_seconds() for earlier, later in itertools.pairwise(taken)] == [HOUR, HOUR]
    assert all(pair.matches(point.id) for point in points)


def test_a_lost_answer_changes_nothing(pair: QuietPair) -> None:
    first = pair.cycle().cycle
    ask = PeerSession.unchanged

    def lost(peer: PeerSession, *arguments: Any) -> None:
        ask(peer, *arguments)
        raise LinkError("the answer was lost")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(PeerSession, "unchanged", lost)
        with pytest.raises(LinkError):
            pair.later()
    assert pair.later() == first
    assert [point.id for point in pair.target.points()] == [first]


def test_a_point_with_a_clone_keeps_its_time_and_the_cycle_makes_another(pair: QuietPair) -> None:
    first = pair.cycle().cycle
    taken = pair.clock.now
    pair.target.clone(first, "test").close()
    second = pair.later()
    assert [(point.id, point.freeze_time) for point in pair.target.points()] == [
        (first, taken),
        (second, pair.clock.now),
    ]
    assert pair.later() == second


def test_a_replica_that_wants_every_cycle_gets_it(pair: QuietPair) -> None:
    pair.target.receiver.takes_unchanged = False
    assert len({pair.cycle().cycle, pair.later(), pair.later()}) == 3


def test_a_clock_that_was_set_back_makes_a_point_of_its_own(pair: QuietPair) -> None:
    first = pair.cycle().cycle
    pair.later()
    pair.clock.forward(-INTERVAL)
    assert pair.cycle().cycle != first


def test_a_newer_term_at_the_replica_is_noticed(pair: QuietPair) -> None:
    pair.cycle()
    pair.source.begin_term(5)
    second = pair.later()
    assert pair.target.points()[-1].generation == 5
    assert pair.later() == second


_STEP = st.sampled_from(("write", "write", "cycle", "cycle", "cycle", "hour", "source", "clean", "target", "retention"))


@settings(max_examples=40, deadline=None)
@given(steps=st.lists(_STEP, min_size=5, max_size=40), seed=st.integers(0, 1000))
def test_every_point_is_the_disks_at_its_time(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str], seed: int
) -> None:
    chance = random.Random(seed)
    with quick_folder(tmp_path_factory.mktemp("pair")) as folder, QuietPair(folder, SIZES) as pair:
        truth: dict[str, dict[str, bytes]] = {}
        for number, step in enumerate(steps):
            pair.clock.forward(INTERVAL)
            if step == "write":
                name = chance.choice(list(SIZES))
                pair.disks[name].write(chance.randrange(SIZES[name] - 9), pattern(number, 9))
            elif step == "hour":
                pair.clock.forward(HOUR)
            elif step == "cycle":
                point = pair.cycle().cycle
                now = {name: disk.read(0, disk.size) for name, disk in pair.disks.items()}
                assert truth.setdefault(point, now) == now, "a point that stood for a later time was not what was there"
                assert pair.target.points()[-1].freeze_time == pair.clock.now
            elif step in ("source", "clean"):
                pair.restart_source(clean=step == "clean")
            elif step == "target":
                pair.restart_target()
            else:
                pair.target.apply_retention(pair.clock.now, HOUR, 24 * HOUR)
        for found in pair.target.points():
            for name, content in truth[found.id].items():
                assert pair.target.read_point(found.id, name, 0, SIZES[name]) == content


def test_kept_points_are_told_apart_by_when_they_were_made(pair: QuietPair) -> None:
    """The first stood for almost as late a time as the second was made at: it is an hour older all the same."""
    first = pair.cycle().cycle
    for _ in range(HOUR // INTERVAL - 1):
        pair.later()
    second = pair.later()
    pair.disks["data"].write(BLOCK, pattern(2))
    third = pair.later()
    assert pair.target.apply_retention(pair.clock.now, HOUR, 24 * HOUR) == []
    assert [point.id for point in pair.target.points()] == [first, second, third]
