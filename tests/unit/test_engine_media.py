"""Initial replication that travels by media: exported, carried, imported, and gone on with over the wire."""

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from secondsite.agent.lab.engine import CycleKind, HeadConflict, Stopped
from secondsite.agent.lab.engine.errors import WaitingForMedia
from secondsite.agent.lab.engine.media.initial import MediaRefused, export_initial, import_initial
from secondsite.agent.lab.engine.primary.tracker import DiskTracker
from secondsite.agent.lab.engine.replica.receiver import Receiver
from support.engine_media import BLOCKS, SIZES, contents, filled_pair, point_is
from support.engine_pair import BLOCK, Pair, pattern


class Killed(BaseException):
    """In place of SIGKILL."""


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with filled_pair(tmp_path) as pair:
        yield pair


@pytest.fixture
def media(tmp_path: Path) -> Path:
    return tmp_path / "media" / "vm"


def change(pair: Pair, seed: int = 0) -> int:
    """How many blocks."""
    blocks = (0, 1, 2, 8, 101, 399)
    for block in blocks:
        pair.disks["a"].write(block * BLOCK + 10, pattern(seed + 7000 + block, 5000))
    pair.disks["b"].write(3 * BLOCK, bytes(BLOCK))
    return len(blocks) + 1


@pytest.mark.parametrize("level", [None, 1])
def test_the_disks_travel_and_the_wire_carries_what_was_written_since(
    pair: Pair, media: Path, level: int | None
) -> None:
    exported = contents(pair)
    told: list[tuple[int, int]] = []
    manifest = export_initial(pair.source, media, level=level, progress=lambda *done: told.append(done))
    assert told[-1][0] == told[-1][1]
    changed = change(pair)
    # Nothing is kept aside for disks that are away.
    assert all((pair.folder / "source" / f"{name}.saved").stat().st_size == 0 for name in SIZES)
    carried = media.with_name("carried")
    shutil.move(media, carried)
    read: list[tuple[int, int]] = []
    point = import_initial(pair.target, carried, progress=lambda *done: read.append(done))
    assert read[-1][0] == read[-1][1] == sum(disk.file_bytes for disk in manifest.disks.values())
    assert [(entry.id, entry.kind) for entry in pair.target.points()] == [(point, CycleKind.Initial)]
    assert [entry.freeze_time for entry in pair.target.points()] == [manifest.freeze_time]
    assert point_is(pair, point, exported)
    closed = pair.cycle()
    assert (closed.cycle, closed.wire_bytes) == (point, 0)
    delta = pair.cycle()
    assert (delta.kind, delta.blocks) == (CycleKind.Delta, changed)
    assert pair.matches(delta.cycle)
    assert point_is(pair, point, exported)


def test_a_guest_writes_all_the_time(pair: Pair, media: Path) -> None:
    stop, some = threading.Event(), threading.Event()

    def write() -> None:
        random = np.random.default_rng(3)
        count = 0
        while not stop.is_set():
            block = int(random.integers(0, BLOCKS))
            pair.disks["a"].write(block * BLOCK + 512, pattern(int(random.integers(0, 60000)), 8192))
            count += 1
            if count == 50:
                some.set()

    frozen: dict[str, bytes] = {}
    pair.source._at_freeze = lambda _freeze: frozen.update(contents(pair))
    guest = threading.Thread(target=write)
    guest.start()
    try:
        assert some.wait(30)
        export_initial(pair.source, media)
        expected = dict(frozen)
        point = import_initial(pair.target, media)
        assert pair.cycle().cycle == point
        pair.cycle()
    finally:
        stop.set()
        guest.join()
    assert point_is(pair, point, expected)
    assert pair.matches(pair.cycle().cycle)


def test_until_the_import_nothing_is_sent(pair: Pair, media: Path) -> None:
    export_initial(pair.source, media)
    for restart in (False, True):
        if restart:
            pair.restart_source()
        with pytest.raises(WaitingForMedia, match="exported"):
            pair.cycle()
        with pytest.raises(WaitingForMedia):
            pair.source.compare(pair.client)
    assert pair.source.open_cycle is not None
    point = import_initial(pair.target, media)
    change(pair)
    assert pair.cycle().cycle == point
    assert pair.matches(pair.cycle().cycle)


def test_lost_media_may_be_exported_anew_or_given_up(pair: Pair, media: Path) -> None:
    first = export_initial(pair.source, media)
    change(pair)
    expected = contents(pair)
    second = export_initial(pair.source, media)
    assert second.cycle != first.cycle
    point = import_initial(pair.target, media)
    assert point_is(pair, point, expected)
    pair.source.abandon()
    # The replica has it all the same: what is owed goes with the next cycle.
    cycle = pair.cycle()
    assert cycle.kind is CycleKind.Delta
    assert pair.matches(cycle.cycle)


def test_given_up_before_the_import_it_goes_over_the_wire(pair: Pair, media: Path) -> None:
    export_initial(pair.source, media)
    change(pair)
    pair.source.abandon()
    cycle = pair.cycle()
    assert cycle.kind is CycleKind.Initial
    assert pair.matches(cycle.cycle)
    with pytest.raises(HeadConflict):
        import_initial(pair.target, media)


def test_an_export_that_was_cut_short_takes_the_same_instant_again(pair: Pair, media: Path) -> None:
    expected = contents(pair)

    def told(done: int, _total: int) -> None:
        if done >= 100 * BLOCK:
            change(pair)
            raise Killed

    with pytest.raises(Killed):
        export_initial(pair.source, media, progress=told)
    with pytest.raises(MediaRefused, match="not there"):
        import_initial(pair.target, media)
    pair.restart_source()
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        export_initial(pair.source, media, stop=stop)
    change(pair, 50)
    export_initial(pair.source, media)
    assert point_is(pair, import_initial(pair.target, media), expected)
    pair.cycle()
    assert pair.matches(pair.cycle().cycle)


def test_an_export_that_was_cut_short_may_go_over_the_wire(pair: Pair, media: Path) -> None:
    expected = contents(pair)
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        export_initial(pair.source, media, stop=stop)
    change(pair)
    cycle = pair.cycle()
    assert cycle.resumed
    assert point_is(pair, cycle.cycle, expected)


def test_killed_between_the_manifest_and_its_notice(pair: Pair, media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = contents(pair)

    with monkeypatch.context() as patched:
        patched.setattr(DiskTracker, "hold_all", _die)
        patched.setattr(pair.source, "_change", _die_when_it_waits(pair.source._change))
        with pytest.raises(Killed):
            export_initial(pair.source, media)
    pair.restart_source()
    change(pair)
    point = import_initial(pair.target, media)
    assert point_is(pair, point, expected)
    assert pair.cycle().cycle == point
    assert pair.matches(pair.cycle().cycle)


@pytest.mark.parametrize("frames", [0, 1, 4, 7])
def test_an_import_that_was_killed_goes_on(
    pair: Pair, media: Path, monkeypatch: pytest.MonkeyPatch, frames: int
) -> None:
    expected = contents(pair)
    export_initial(pair.source, media)
    left = iter(range(frames))

    def told(_done: int, _total: int) -> None:
        if next(left, None) is None:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Receiver, "commit", _die)
        with pytest.raises(Killed):
            import_initial(pair.target, media, progress=told)
    assert pair.target.points() == []
    pair.restart_target()
    point = import_initial(pair.target, media)
    assert import_initial(pair.target, media) == point
    assert len(pair.target.points()) == 1
    assert point_is(pair, point, expected)


def _die_when_it_waits(change_state: Callable[..., None]) -> Callable[..., None]:
    def changed(**fields: object) -> None:
        if getattr(fields.get("open"), "waits_for_media", False):
            raise Killed
        change_state(**fields)

    return changed


def _die(*_: object) -> None:
    raise Killed
