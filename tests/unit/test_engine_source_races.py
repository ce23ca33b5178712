"""Two who change the state of a source at one moment: neither undoes the other."""

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from secondsite.agent.lab.engine import EngineError, ReplicationSource
from secondsite.agent.lab.engine.primary import source, source_core
from secondsite.agent.lab.engine.primary.agreement import agreed
from secondsite.agent.lab.engine.primary.state import SourceState, load_state, save_state
from secondsite.wire.peer import PeerStatus
from support.engine_pair import BLOCK, Pair


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with Pair(tmp_path, {"data": 4 * BLOCK}) as pair:
        pair.disks["data"].write(0, b"first")
        yield pair


def test_a_map_that_was_lost_while_the_head_was_agreed_on_stays_so(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    lost: list[bool] = []

    def lose_once(state: SourceState, status: PeerStatus) -> SourceState:
        known = agreed(state, status)
        if not lost:
            lost.append(True)
            pair.source.distrust()
        return known

    first = pair.cycle().cycle
    pair.source._change(head="older", given_up=first)
    monkeypatch.setattr(source, "agreed", lose_once)
    pair.cycle()
    assert not pair.source.map_trusted
    state = load_state(pair.folder / "source" / "state.json")
    assert state is not None
    assert not state.trusted


def test_two_threads_change_the_state(pair: Pair) -> None:
    errors: list[BaseException] = []

    def distrust() -> None:
        try:
            for _ in range(100):
                pair.source.distrust()
        except BaseException as error:  # noqa: BLE001  # told by the assertion below
            errors.append(error)

    thread = threading.Thread(target=distrust)
    thread.start()
    for generation in range(2, 102):
        pair.source.begin_term(generation)
    thread.join()
    assert errors == []
    state = load_state(pair.folder / "source" / "state.json")
    assert state is not None
    assert (state.trusted, state.generation) == (False, 101)
    assert (pair.source.map_trusted, pair.source.generation) == (False, 101)


def test_no_cycle_begins_while_a_term_does(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    refused: list[Mapping[str, int]] = []

    def run_one_first(path: Path, state: SourceState) -> None:
        if state.generation == 5 and not refused:
            refused.append(state.disks)
            with pytest.raises(RuntimeError, match="running already"):
                pair.cycle()
        save_state(path, state)

    monkeypatch.setattr(source_core, "save_state", run_one_first)
    pair.source.begin_term(5)
    assert len(refused) == 1
    assert pair.cycle().blocks == 1


def test_a_disk_is_tracked_by_one_source_only(pair: Pair) -> None:
    pair.cycle()
    with pytest.raises(EngineError, match="replicated already"):
        ReplicationSource(pair.folder / "another", "other", pair.disks)
    pair.disks["data"].write(BLOCK, b"after that")
    point = pair.cycle().cycle
    assert pair.target.read_point(point, "data", BLOCK, 10) == b"after that"
