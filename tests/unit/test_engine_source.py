import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from secondsite.agent.lab.engine import (
    CycleKind,
    EngineError,
    HeadConflict,
    LinkError,
    MapNotTrusted,
    PeerClient,
    PeerRefused,
    ReplicationSource,
    SourceDisk,
    Stopped,
    StoreLocked,
)
from secondsite.agent.lab.engine.port.client import PeerSession
from secondsite.agent.lab.engine.primary import tracker
from secondsite.agent.lab.engine.replica.catalogue import Catalogue, Committed, Event
from secondsite.wire.peer import CycleCommit, CycleCommitted
from support.engine_pair import BLOCK, Pair, pattern
from support.engine_soak import wait_until

MIB = 1 << 20
SIZES = {"data": 24 * MIB, "system": 8 * MIB}


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with Pair(tmp_path, SIZES) as pair:
        yield pair


def fill(pair: Pair, blocks: int = 320) -> None:
    for block in range(blocks):
        pair.disks["data"].write(block * BLOCK, pattern(block))


def stopped_half_way(pair: Pair, frames: int = 2) -> None:
    """Leave a cycle of which the replica holds some frames, but not all."""
    stop = threading.Event()
    pair.bucket.rate = 16 * MIB
    running = pair.start_cycle(stop)
    wait_until(lambda: pair.source.progress().bytes_acknowledged >= frames * 64 * BLOCK, 20)
    stop.set()
    assert isinstance(running.exception(timeout=20), Stopped)
    pair.bucket.rate = None


def test_the_first_cycle_carries_what_holds_data_and_no_more(pair: Pair) -> None:
    pair.disks["data"].write(10 * BLOCK, pattern(1))
    pair.disks["data"].write(20 * BLOCK + 5, b"few")
    result = pair.cycle()
    assert (result.kind, result.blocks, result.bytes) == (CycleKind.Initial, 2, 2 * BLOCK)
    assert result.wire_bytes < 2 * BLOCK + 1000
    assert pair.source.initial_done
    assert pair.matches(result.cycle)


def test_later_cycles_carry_what_was_written(pair: Pair) -> None:
    fill(pair)
    pair.cycle()
    assert pair.source.progress().pending_bytes == 0
    pair.disks["data"].write(3 * BLOCK - 1, b"two blocks")
    pair.disks["system"].write(0, b"one")
    assert pair.source.progress().pending_bytes == 3 * BLOCK
    result = pair.cycle()
    assert (result.kind, result.blocks, result.resumed) == (CycleKind.Delta, 3, False)
    assert pair.matches(result.cycle)


def test_a_cycle_without_changes_is_a_point_all_the_same(pair: Pair) -> None:
    pair.disks["data"].write(0, b"x")
    pair.cycle()
    pair.clock.forward(30)
    result = pair.cycle()
    assert result.blocks == 0
    assert pair.target.points()[-1].freeze_time == pair.clock.now == pair.frozen[-1].time


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


def test_a_replica_without_common_point_is_a_conflict(pair: Pair) -> None:
    pair.disks["data"].write(0, b"x")
    first = pair.cycle().cycle
    pair.target.discard()
    pair._open_target()
    with pytest.raises(HeadConflict) as caught:
        pair.cycle()
    assert caught.value.head is None
    assert pair.source.head == first
    assert pair.source.open_cycle is None


@pytest.mark.parametrize(
    ("clean", "boot_id", "trusted"),
    [(False, None, True), (True, "another", True), (False, "another", False)],
)
def test_the_map_is_trusted_unless_the_host_stopped_uncleanly(
    pair: Pair, clean: bool, boot_id: str | None, trusted: bool
) -> None:
    pair.disks["data"].write(0, b"x")
    pair.cycle()
    pair.disks["data"].write(BLOCK, b"y")
    pair.restart_source(clean=clean, boot_id=boot_id)
    assert pair.source.map_trusted is trusted
    if trusted:
        assert pair.cycle().blocks == 1
        return
    pair.restart_source(clean=True, boot_id=boot_id)
    assert not pair.source.map_trusted, "it stays so until a resynchronization"
    with pytest.raises(MapNotTrusted):
        pair.cycle()


def test_distrust_outlives_the_process(pair: Pair) -> None:
    pair.source.distrust()
    pair.restart_source()
    assert not pair.source.map_trusted


def test_a_missing_map_is_not_trusted(pair: Pair) -> None:
    pair.source.close()
    (pair.folder / "source/data.current").unlink()
    pair._open_source()
    assert not pair.source.map_trusted


def test_other_disks_are_refused(pair: Pair) -> None:
    pair.source.close()
    with pytest.raises(EngineError, match="disable it and enable it again"):
        ReplicationSource(pair.folder / "source", "vm", {"data": pair.disks["data"]})
    pair._open_source()


def test_tracking_is_open_once(pair: Pair) -> None:
    with pytest.raises(StoreLocked):
        ReplicationSource(pair.folder / "source", "vm", pair.disks)


def test_an_unreachable_target_costs_no_freeze(pair: Pair) -> None:
    fill(pair)
    with pytest.raises(LinkError):
        pair.source.run_cycle(PeerClient("127.0.0.1", 1, None))
    assert pair.frozen == []
    assert pair.source.open_cycle is None


def test_progress_counts_up_and_the_rate_is_that_of_the_bucket(pair: Pair) -> None:
    fill(pair)
    pair.bucket.rate = 10 * MIB
    thread = threading.Thread(target=pair.cycle)
    thread.start()
    seen = [pair.source.progress()]
    wait_until(lambda: seen.append(pair.source.progress()) or not thread.is_alive(), 30)  # type: ignore[func-returns-value]
    thread.join()
    running = [progress for progress in seen if progress.kind is CycleKind.Initial]
    assert running[0].blocks_total == 320
    for earlier, later in pairwise(running):
        assert earlier.bytes_sent <= later.bytes_sent <= later.bytes_total == 320 * BLOCK
        assert earlier.bytes_acknowledged <= later.bytes_acknowledged <= later.bytes_sent
        assert later.pending_bytes <= earlier.pending_bytes
    assert 0 < max(progress.rate for progress in running) < 16 * MIB
    assert seen[-1].pending_bytes == 0


def test_writes_outside_the_disk_are_refused(tmp_path: Path) -> None:
    disk = SourceDisk(tmp_path / "d", 1000)
    for offset, data in ((-1, b"x"), (999, b"xx"), (2000, b"x")):
        with pytest.raises(ValueError, match="outside the disk"):
            disk.write(offset, data)
    with pytest.raises(ValueError, match="outside the disk"):
        disk.read(500, 501)
    disk.write(1000, b"")
    disk.close()


def test_a_discarded_source_leaves_the_disks_alone(pair: Pair) -> None:
    pair.disks["data"].write(0, b"kept")
    pair.cycle()
    pair.source.discard()
    assert not ReplicationSource.exists(pair.folder / "source")
    pair.disks["data"].write(4, b" and writable")
    assert pair.disks["data"].read(0, 17) == b"kept and writable"
    with pytest.raises(EngineError, match="closed"):
        pair.cycle()
