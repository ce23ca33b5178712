"""The bandwidth limit, measured over real sockets: all streams of a site together, within 5 % of the set rate."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from secondsite.agent.lab.engine import Compression, PeerClient, TokenBucket
from support.engine_pair import BLOCK, Pair

MIB = 1 << 20
RATE = 10 * MIB
BLOCKS = 192
TOLERANCE = 0.05


class Recorder(TokenBucket):
    """A bucket that remembers who took how much when."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[tuple[float, float, int]] = []

    def take(self, count: int, stop: threading.Event) -> None:
        asked = time.monotonic()
        super().take(count, stop)
        self.taken.append((asked, time.monotonic(), count))

    def rate_since(self, start: float, end: float) -> float:
        """Bytes per second between the first and the last payment in the span."""
        paid = sorted((when, count) for _, when, count in self.taken if start <= when <= end)
        return sum(count for _, count in paid[:-1]) / (paid[-1][0] - paid[0][0])

    def idle_share(self, start: float, end: float) -> float:
        """In how much of the span nobody asked: then the machine was too slow, not the bucket."""
        waits = sorted((asked, when) for asked, when, _ in self.taken if asked < end and when > start)
        idle, reached = 0.0, start
        for asked, when in waits:
            idle += max(0.0, asked - reached)
            reached = max(reached, when)
        return (idle + max(0.0, end - reached)) / (end - start)


def content(seed: int, *, packs: bool) -> bytes:
    noise = np.random.default_rng(seed).bytes(BLOCK // 2)
    return noise + (b"often the same" * BLOCK)[: BLOCK // 2] if packs else noise + noise[::-1]


@pytest.fixture
def pairs(tmp_path: Path) -> Iterator[list[Pair]]:
    with ExitStack() as stack:
        folders = [tmp_path / name for name in ("one", "two")]
        for folder in folders:
            folder.mkdir()
        yield [stack.enter_context(Pair(folder, {"a": BLOCKS * BLOCK})) for folder in folders]


def fill(pairs: list[Pair], round_: int, *, packs: bool) -> None:
    for number, pair in enumerate(pairs):
        for block in range(BLOCKS):
            pair.disks["a"].write(block * BLOCK, content((round_ * 2 + number) * BLOCKS + block, packs=packs))


def run_all(pairs: list[Pair], bucket: TokenBucket, compression: Compression) -> tuple[int, float]:
    """One cycle of each VM at once: bytes that went over the wire, and in how many seconds."""

    def run(pair: Pair) -> int:
        port = pair.server.port
        client = PeerClient("127.0.0.1", port, None, bucket=bucket, timeout_seconds=30, compression=compression)
        result = pair.source.run_cycle(client)
        assert pair.matches(result.cycle)
        return result.wire_bytes

    started = time.monotonic()
    with ThreadPoolExecutor(len(pairs)) as pool:
        wire_bytes = sum(pool.map(run, pairs))
    return wire_bytes, time.monotonic() - started


@pytest.mark.parametrize("compression", list(Compression))
def test_all_streams_together_keep_the_rate(pairs: list[Pair], compression: Compression) -> None:
    packs = compression is Compression.Auto
    bucket = Recorder()
    fill(pairs, 0, packs=packs)
    wire_bytes, seconds = run_all(pairs, bucket, Compression.Off)
    unlimited = wire_bytes / seconds
    fill(pairs, 1, packs=packs)
    bucket.taken.clear()
    bucket.rate = RATE
    sent, seconds = run_all(pairs, bucket, compression)
    whole = len(pairs) * BLOCKS * BLOCK
    assert (sent < 0.7 * whole) if packs else (sent > whole)
    # Nothing goes unpaid.
    assert sent == sum(count for *_, count in bucket.taken)
    start, end = bucket.taken[0][1], bucket.taken[-1][1]
    measured = bucket.rate_since(start, end)
    assert measured <= RATE * (1 + TOLERANCE)
    # Below the rate only for as long as the machine had nothing to send.
    assert measured >= RATE * (1 - TOLERANCE - bucket.idle_share(start, end)), f"{unlimited:.0f} bytes/s unlimited"


def test_a_changed_rate_holds_at_once(pairs: list[Pair]) -> None:
    fill(pairs, 0, packs=False)
    bucket = Recorder()
    bucket.rate = RATE / 2
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run_all, pairs, bucket, Compression.Off)
        wait = threading.Event()
        spans = []
        for rate in (RATE / 2, 2 * RATE, RATE):
            bucket.rate = rate
            start = time.monotonic()
            wait.wait(0.6)
            spans.append((rate, start, time.monotonic()))
        bucket.rate = None
        running.result(timeout=30)
    for rate, start, end in spans:
        measured = bucket.rate_since(start, end)
        # What is paid at an edge of so short a span counts for more.
        edge = bucket.slice_bytes / (rate * (end - start))
        assert measured <= rate * (1 + TOLERANCE + edge)
        assert measured >= rate * (1 - TOLERANCE - edge - bucket.idle_share(start, end))
