"""The source's cycles: what they carry, when the map is trusted, and what is refused."""

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
    ReplicationSource,
    SourceDisk,
    StoreLocked,
)
from support.engine_half_way import MIB, SIZES, fill
from support.engine_pair import BLOCK, Pair, pattern
from support.engine_soak import wait_until


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with Pair(tmp_path, SIZES) as pair:
        yield pair


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
