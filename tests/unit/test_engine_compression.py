"""Compression on the wire: where it pays, and nowhere else; what is stored does not know of it."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from secondsite.agent.lab.engine import Compression, CycleResult, PeerClient
from secondsite.agent.lab.engine.port.meter import Meter
from secondsite.agent.lab.engine.primary import cycle
from support.engine_pair import BLOCK, Pair, pattern
from support.engine_proxy import Proxy
from support.engine_soak import wait_until

BLOCKS = 192
SIZES = {"a": BLOCKS * BLOCK}
RAW_BYTES = BLOCKS * BLOCK
MIB = 1 << 20


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with Pair(tmp_path, SIZES) as pair:
        yield pair


def fill(pair: Pair, *, packs: bool = True) -> None:
    noise = np.random.default_rng(1)
    for number in range(BLOCKS):
        content = noise.bytes(BLOCK // 4) * 2 + pattern(number, BLOCK // 2) if packs else noise.bytes(BLOCK)
        pair.disks["a"].write(number * BLOCK, content)


def client(pair: Pair, compression: Compression = Compression.Auto, *, port: int | None = None) -> PeerClient:
    return PeerClient(
        "127.0.0.1",
        port or pair.server.port,
        None,
        bucket=pair.bucket,
        timeout_seconds=10,
        compression=compression,
    )


def slow(pair: Pair, compression: Compression = Compression.Auto, *, port: int | None = None) -> PeerClient:
    """A client that has measured a link of 100 Mbit/s."""
    peer = client(pair, compression, port=port)
    peer.link.speed.note(12 * MIB, 1.0)
    return peer


def checked(pair: Pair, result: CycleResult) -> CycleResult:
    """What holds however the frames went: the point, its layer, the numbers of blocks."""
    assert pair.matches(result.cycle)
    assert result.bytes == RAW_BYTES
    assert pair.target.points()[-1].bytes > RAW_BYTES
    return result


def test_a_slow_link_carries_less_and_the_layer_is_raw(pair: Pair) -> None:
    fill(pair)
    result = checked(pair, pair.source.run_cycle(slow(pair)))
    assert result.wire_bytes < RAW_BYTES / 2


def test_a_bandwidth_limit_is_a_slow_link(pair: Pair) -> None:
    fill(pair)
    pair.bucket.rate = 100 * MIB
    assert checked(pair, pair.source.run_cycle(client(pair))).wire_bytes < RAW_BYTES / 2


def test_loopback_is_quicker_than_the_compressor(pair: Pair) -> None:
    fill(pair)
    peer = client(pair)
    for _ in range(3):
        assert checked(pair, pair.source.run_cycle(peer)).wire_bytes > RAW_BYTES
        for number in range(BLOCKS):
            pair.disks["a"].write(number * BLOCK, b"again")
    assert peer.link.speed.rate is not None
    assert peer.level(("Raw", "Zstd")) is None


@pytest.mark.parametrize(
    ("compression", "packs"), [(Compression.Off, True), (Compression.Auto, False)], ids=["off", "noise"]
)
def test_what_is_not_wished_or_does_not_pay_goes_raw(pair: Pair, compression: Compression, packs: bool) -> None:
    fill(pair, packs=packs)
    result = checked(pair, pair.source.run_cycle(slow(pair, compression)))
    assert RAW_BYTES < result.wire_bytes < RAW_BYTES * 1.01


@pytest.mark.parametrize("codecs", [b'["Raw","Lz77"]', b'[          ""]'])
def test_a_peer_is_sent_only_what_it_said_it_knows(pair: Pair, codecs: bytes) -> None:
    """A newer peer, or an older one: a codec that is not known here is no reason to stop."""
    fill(pair)
    with Proxy(pair.server.port, answers=lambda _talk, _at, part: part.replace(b'["Raw","Zstd"]', codecs)) as proxy:
        result = pair.source.run_cycle(slow(pair, port=proxy.port))
    assert checked(pair, result).wire_bytes > RAW_BYTES


@pytest.mark.parametrize("compression", list(Compression))
def test_progress_counts_blocks_and_the_result_what_went_over_the_wire(
    pair: Pair, compression: Compression, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(pair)
    pair.disks["a"].write(0, bytes(64 * BLOCK))
    steps: list[tuple[int, int]] = []

    class Counted(Meter):
        def add(self, blocks_bytes: int, wire_bytes: int) -> None:
            steps.append((blocks_bytes, wire_bytes))
            super().add(blocks_bytes, wire_bytes)

    monkeypatch.setattr(cycle, "Meter", Counted)
    result = pair.source.run_cycle(slow(pair, compression))
    assert pair.matches(result.cycle)
    # Also those that are zero, and went without a payload.
    assert sum(blocks for blocks, _ in steps) == RAW_BYTES
    assert sum(wire for _, wire in steps) == result.wire_bytes
    assert (result.wire_bytes < 70 * BLOCK) is (compression is Compression.Auto)


def test_the_setting_is_followed_in_the_middle_of_a_cycle(pair: Pair) -> None:
    fill(pair)
    peer, results = slow(pair, Compression.Off), []
    pair.bucket.rate = 8 * MIB
    thread = threading.Thread(target=lambda: results.append(pair.source.run_cycle(peer)))
    thread.start()
    wait_until(lambda: pair.source.progress().bytes_sent > 10 * BLOCK, 10)
    peer.compression = Compression.Auto
    pair.bucket.rate = 100 * MIB
    thread.join(timeout=20)
    # The first frame went raw, the last packed.
    assert 64 * BLOCK < checked(pair, results[0]).wire_bytes < 0.9 * RAW_BYTES
