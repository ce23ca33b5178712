"""Application-consistent cycles: the guest rests while the disks are frozen, no longer, and never in vain."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from secondsite.agent.lab.engine import Consistency, QuiesceFailed, Stopped
from secondsite.agent.lab.engine.blocks import Blocks
from secondsite.agent.lab.engine.primary.tracker import DiskTracker
from support.engine_pair import BLOCK, Pair, pattern
from support.engine_soak import wait_until

MIB = 1 << 20
APPLICATION, CRASH = Consistency.ApplicationConsistent, Consistency.CrashConsistent


class Hook:
    """A guest that can be held; counts, and fails when told to."""

    def __init__(self) -> None:
        self.entered = 0
        self.held = False
        self.refuses = False
        self.wakes_up = False

    @contextmanager
    def __call__(self) -> Iterator[None]:
        self.entered += 1
        if self.refuses:
            raise QuiesceFailed("the guest does not answer")
        self.held = True
        try:
            yield
        finally:
            self.held = False
        if self.wakes_up:
            raise QuiesceFailed("the guest woke up too early")


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with Pair(tmp_path, {"data": 24 * MIB}) as pair:
        pair.disks["data"].write(0, b"x")
        pair.cycle()
        yield pair


@pytest.fixture
def hook() -> Hook:
    return Hook()


def consistencies(pair: Pair) -> list[Consistency]:
    return [point.consistency for point in pair.target.points()]


def test_the_guest_rests_while_all_disks_are_frozen_and_not_while_they_are_sent(
    pair: Pair, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, bool]] = []
    freeze, read = DiskTracker.freeze, DiskTracker.read_frozen

    def watched_freeze(self: DiskTracker, *, everything: bool) -> None:
        seen.append(("freeze", hook.held))
        freeze(self, everything=everything)

    def watched_read(self: DiskTracker, blocks: Blocks, buffer: memoryview) -> None:
        seen.append(("send", hook.held))
        read(self, blocks, buffer)

    monkeypatch.setattr(DiskTracker, "freeze", watched_freeze)
    monkeypatch.setattr(DiskTracker, "read_frozen", watched_read)
    pair.disks["data"].write(BLOCK, b"y")
    result = pair.source.run_cycle(pair.client, quiesce=hook)
    assert seen == [("freeze", True), ("send", False)]
    assert (result.consistency, result.quiesce_error) == (APPLICATION, None)
    assert consistencies(pair) == [CRASH, APPLICATION]
    assert pair.committed[-1].consistency is APPLICATION


@pytest.mark.parametrize("when", ["refuses", "wakes_up"])
def test_a_guest_that_does_not_rest_makes_the_point_crash_consistent(pair: Pair, hook: Hook, when: str) -> None:
    setattr(hook, when, True)
    pair.disks["data"].write(BLOCK, b"y")
    result = pair.source.run_cycle(pair.client, quiesce=hook)
    assert result.consistency is CRASH
    assert result.quiesce_error is not None
    assert "the guest" in result.quiesce_error
    assert consistencies(pair) == [CRASH, CRASH]
    assert pair.matches(result.cycle)
    assert len(pair.frozen) == 2, "one freeze for each cycle"


def test_a_freeze_that_breaks_lets_the_guest_go(pair: Pair, hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    pair.disks["data"].write(BLOCK, b"y")
    with monkeypatch.context() as patched:
        patched.setattr(DiskTracker, "freeze", broken)
        with pytest.raises(OSError, match="Input/output"):
            pair.source.run_cycle(pair.client, quiesce=hook)
    assert (hook.entered, hook.held) == (1, False)
    assert pair.source.open_cycle is None
    assert pair.matches(pair.cycle().cycle)


@pytest.mark.parametrize("refuses", [False, True])
def test_an_open_cycle_stays_what_it_was_frozen_as(pair: Pair, hook: Hook, refuses: bool) -> None:
    hook.refuses = refuses
    for block in range(320):
        pair.disks["data"].write(block * BLOCK, pattern(block))
    stop = threading.Event()
    pair.bucket.rate = 16 * MIB
    running = threading.Thread(target=lambda: _stopped(pair, stop, hook))
    running.start()
    wait_until(lambda: pair.source.progress().bytes_acknowledged >= 64 * BLOCK, 20)
    stop.set()
    running.join()
    pair.bucket.rate = None
    pair.restart_source()
    result = pair.cycle()
    assert result.resumed
    assert result.consistency is (CRASH if refuses else APPLICATION)
    assert (result.quiesce_error is not None) is refuses
    assert consistencies(pair)[-1] is result.consistency
    pair.disks["data"].write(0, b"z")
    again = pair.source.run_cycle(pair.client, quiesce=Hook())
    assert again.consistency is APPLICATION


def test_a_crash_consistent_cycle_under_way_is_not_called_more_by_a_later_hook(pair: Pair, hook: Hook) -> None:
    for block in range(320):
        pair.disks["data"].write(block * BLOCK, pattern(block))
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        pair.cycle(stop)
    result = pair.source.run_cycle(pair.client, quiesce=hook)
    assert (result.resumed, result.consistency, hook.entered) == (True, CRASH, 0)


def test_the_kind_of_a_point_survives_restarts_and_merges(pair: Pair, hook: Hook) -> None:
    for number in range(3):
        pair.disks["data"].write(number * BLOCK, b"more")
        pair.source.run_cycle(pair.client, quiesce=hook if number != 1 else None)
    pair.restart_target()
    assert consistencies(pair) == [CRASH, APPLICATION, CRASH, APPLICATION]
    pair.target.merge(pair.target.points()[1].id)
    pair.restart_target()
    assert consistencies(pair) == [CRASH, CRASH, APPLICATION]


def _stopped(pair: Pair, stop: threading.Event, hook: Hook) -> None:
    with pytest.raises(Stopped):
        pair.source.run_cycle(pair.client, stop=stop, quiesce=hook)
