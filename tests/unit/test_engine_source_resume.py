"""A cycle that was cut short: gone on with where it was, or paid by the next."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from secondsite.agent.lab.engine import LinkError, PeerRefused
from secondsite.agent.lab.engine.port.client import PeerSession
from secondsite.agent.lab.engine.primary import tracker
from secondsite.agent.lab.engine.replica.catalogue import Catalogue, Committed, Event
from secondsite.wire.peer import CycleCommit, CycleCommitted
from support.engine_half_way import SIZES, fill, stopped_half_way
from support.engine_pair import BLOCK, Pair


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with Pair(tmp_path, SIZES) as pair:
        yield pair


def test_what_is_written_after_the_freeze_belongs_to_the_next_point(pair: Pair) -> None:
    fill(pair)
    before = pair.disks["data"].read(0, SIZES["data"])
    stopped_half_way(pair)
    for block in range(320):
        pair.disks["data"].write(block * BLOCK + 1, b"later")
    first = pair.cycle()
    assert first.resumed
    assert pair.target.read_point(first.cycle, "data", 0, SIZES["data"]) == before
    assert pair.matches(pair.cycle().cycle)
    assert len(pair.frozen) == 2


@pytest.mark.parametrize("who", ["source", "target", "both"])
def test_the_initial_copy_goes_on_where_it_was_after_a_kill(pair: Pair, who: str) -> None:
    fill(pair)
    before = pair.disks["data"].read(0, SIZES["data"])
    stopped_half_way(pair, frames=3)
    pair.disks["data"].write(319 * BLOCK, b"owed and overwritten")
    pair.disks["data"].write(0, b"held and overwritten")
    if who != "target":
        pair.restart_source()
    if who != "source":
        pair.restart_target()
    assert pair.source.progress().bytes_acknowledged >= 3 * 64 * BLOCK
    result = pair.cycle()
    assert result.resumed
    assert result.wire_bytes < 2.1 * 64 * BLOCK
    assert pair.target.read_point(result.cycle, "data", 0, SIZES["data"]) == before
    assert pair.matches(pair.cycle().cycle)


def test_a_commit_that_the_source_never_heard_of(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    def deaf(self: PeerSession, vm_id: str, cycle: str, message: CycleCommit) -> CycleCommitted:
        commit(self, vm_id, cycle, message)
        raise LinkError("the answer got lost")

    commit = PeerSession.commit
    pair.disks["data"].write(0, b"first")
    with monkeypatch.context() as patched:
        patched.setattr(PeerSession, "commit", deaf)
        with pytest.raises(LinkError):
            pair.cycle()
    pair.disks["data"].write(BLOCK, b"second")
    pair.restart_source()
    result = pair.cycle()
    assert (result.resumed, result.wire_bytes) == (True, 0)
    assert len(pair.target.points()) == 1
    assert len(pair.committed) == 1
    assert pair.cycle().blocks == 1
    assert pair.matches(pair.target.points()[-1].id)


def test_a_commit_that_the_target_did_not_finish_costs_no_frame(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Catalogue, event: Event) -> None:
        if isinstance(event, Committed):
            raise OSError(28, "No space left on device")
        append(self, event)

    append = Catalogue.append
    fill(pair)
    with monkeypatch.context() as patched:
        patched.setattr(Catalogue, "append", full)
        with pytest.raises(PeerRefused, match="No space left"):
            pair.cycle()
    pair.restart_target()
    assert pair.target.points() == []
    result = pair.cycle()
    assert (result.resumed, result.wire_bytes) == (True, 0)
    assert pair.matches(result.cycle)


def test_frames_lost_at_the_target_lead_to_a_fresh_freeze(pair: Pair) -> None:
    fill(pair)
    stopped_half_way(pair)
    pair.disks["data"].write(0, b"the old content of this is nowhere now")
    pair.target.close()
    for part in (pair.folder / "target/disks/data/incoming").iterdir():
        part.write_bytes(b"")
    pair._open_target()
    result = pair.cycle()
    assert not result.resumed
    assert pair.matches(result.cycle)


@pytest.mark.parametrize("killed", [False, True])
def test_a_guest_can_write_when_its_old_blocks_cannot_be_saved(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    fill(pair)
    stopped_half_way(pair)
    with monkeypatch.context() as patched:
        patched.setattr(tracker, "write_all", full)
        pair.disks["data"].write(319 * BLOCK, b"owed, not saved, and written all the same")
    assert pair.disks["data"].read(319 * BLOCK, 4) == b"owed"
    if killed:
        pair.restart_source()
    result = pair.cycle()
    assert not result.resumed, "the image of that freeze is gone"
    assert pair.matches(result.cycle)


def test_an_abandoned_cycle_is_paid_by_the_next(pair: Pair) -> None:
    pair.disks["data"].write(0, b"x")
    pair.cycle()
    fill(pair)
    stopped_half_way(pair)
    pair.disks["data"].write(5, b"newer")
    pair.source.abandon()
    pair.restart_source()
    assert pair.source.progress().pending_bytes == 320 * BLOCK
    result = pair.cycle()
    assert (result.resumed, result.blocks) == (False, 320)
    assert pair.matches(result.cycle)
