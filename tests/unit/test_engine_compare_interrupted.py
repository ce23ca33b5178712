"""A comparison that is killed, cancelled, cut off or overtaken: it goes on where that proves something, else anew."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from secondsite.agent.lab.engine import CompareResult, HashBasis, HeadConflict, LinkError, MapNotTrusted, Stopped
from secondsite.agent.lab.engine.blocks import Digests
from secondsite.agent.lab.engine.port.hash_client import HashPages
from secondsite.agent.lab.engine.primary import compare as comparing
from support.engine_compared import BLOCKS, STEP, lose_map, replicated_pair, write
from support.engine_pair import Pair


class Killed(BaseException):
    """In place of SIGKILL."""


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    with replicated_pair(tmp_path, monkeypatch) as pair:
        yield pair


def test_a_trusted_map_outlives_a_cancelled_comparison(pair: Pair) -> None:
    """It may be made at any time, to see whether the map tells the truth."""
    write(pair, 5, 600, 900)
    compare_until_killed(pair, 20)
    assert pair.source.map_trusted
    cycle = pair.cycle()
    assert cycle.blocks == 3
    assert pair.matches(cycle.cycle)


def compare_until_killed(pair: Pair, steps: int) -> None:
    def told(done: int, _total: int) -> None:
        if done >= steps * STEP:
            raise Killed

    with pytest.raises(Killed):
        pair.source.compare(pair.client, progress=told)


def test_killed_in_the_middle_it_goes_on(pair: Pair) -> None:
    write(pair, 5, 600, 900)
    lose_map(pair)
    compare_until_killed(pair, 20)
    pair.restart_source()
    # Compared already, and written since; and one that is yet to come.
    write(pair, 6, 1000, seed=900)
    result = pair.source.compare(pair.client)
    assert result.blocks_compared == BLOCKS + 1 + 100 - 20 * STEP
    cycle = pair.cycle()
    assert cycle.blocks == 5
    assert pair.matches(cycle.cycle)


@pytest.mark.parametrize("what", ["boot", "distrust", "head", "basis", "done"])
def test_it_starts_over_where_what_was_compared_proves_nothing(pair: Pair, what: str) -> None:
    write(pair, 5, 600, 900)
    lose_map(pair)
    if what == "done":
        pair.source.compare(pair.client)
    else:
        compare_until_killed(pair, 20)
    match what:
        case "boot":
            pair.restart_source(boot_id="another")
        case "distrust":
            lose_map(pair)
        case "head":
            pair.source._change(trusted=True)
            pair.cycle()
    basis = HashBasis.Read if what == "basis" else HashBasis.Stored
    assert pair.source.compare(pair.client, basis=basis).blocks_compared == BLOCKS + 1 + 100
    assert pair.matches(pair.cycle().cycle)


def test_cancelled_it_goes_on(pair: Pair) -> None:
    write(pair, 5, 600, 900)
    lose_map(pair)
    stop = threading.Event()
    with pytest.raises(Stopped):
        pair.source.compare(pair.client, stop=stop, progress=lambda done, _: stop.set() if done >= 300 else None)
    assert not pair.source.map_trusted
    assert pair.source.comparing is None
    assert pair.source.compare(pair.client).blocks_compared < BLOCKS
    assert pair.matches(pair.cycle().cycle)


def test_a_link_that_breaks_costs_nothing_but_time(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    write(pair, 5, 600, 900)
    lose_map(pair)
    real = HashPages._fetch

    def broken(self: HashPages, first: int, count: int) -> Digests:
        if first >= 512:
            raise LinkError("cut")
        return real(self, first, count)

    with monkeypatch.context() as patched:
        patched.setattr(HashPages, "_fetch", broken)
        with pytest.raises(LinkError):
            pair.source.compare(pair.client)
    assert pair.source.compare(pair.client).blocks_compared == BLOCKS + 1 + 100 - 512
    assert pair.matches(pair.cycle().cycle)


def test_a_head_that_changes_meanwhile_means_to_start_over(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another source, which should not be there, commits while we compare."""
    write(pair, 5)
    real, heads = comparing.Comparison._head, iter(["first", "second"])
    monkeypatch.setattr(comparing.Comparison, "_head", lambda self: next(heads, None) or real(self))
    result = pair.source.compare(pair.client)
    assert pair.source.head == pair.target.head
    # With "first", with "second", and with the one that stayed.
    assert result.blocks_compared == 3 * (BLOCKS + 101)
    assert pair.matches(pair.cycle().cycle)


def test_a_head_that_never_rests_is_reported(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    heads = iter(range(99))
    monkeypatch.setattr(comparing.Comparison, "_head", lambda _: f"head-{next(heads)}")
    with pytest.raises(HeadConflict, match="keeps changing"):
        pair.source.compare(pair.client)


def test_only_one_at_a_time(pair: Pair) -> None:
    inside, leave = threading.Event(), threading.Event()

    def told(_done: int, _total: int) -> None:
        inside.set()
        leave.wait(30)

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(pair.source.compare, pair.client, progress=told)
        assert inside.wait(30)
        try:
            for act in (pair.cycle, lambda: pair.source.compare(pair.client), pair.source.abandon):
                with pytest.raises(RuntimeError):
                    act()
            assert pair.source.comparing is not None
        finally:
            leave.set()
        assert isinstance(future.result(), CompareResult)


def test_a_map_lost_under_the_comparison_is_not_trusted_by_it(pair: Pair) -> None:
    def told(done: int, total: int) -> None:
        if done == total:
            pair.source.distrust()

    with pytest.raises(MapNotTrusted):
        pair.source.compare(pair.client, progress=told)
    assert not pair.source.map_trusted
