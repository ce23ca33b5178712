"""Too large, too many, too long: a peer with a valid certificate takes neither memory, nor disk, nor descriptors."""

import socket
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from secondsite.agent.lab.engine import PeerRefused
from secondsite.wire.peer import MAX_FRAME_BYTES, DiskPlan
from support.engine_hostile import BAD_FRAMES, MIB, PACKED, RAW, code_of, commits
from support.engine_pair import BLOCK, Pair, pattern
from support.engine_wire import CYCLES, SIZES, forged, frame, opening, put, request, talk


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with Pair(tmp_path, SIZES) as pair:
        yield pair


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"cycle": "../../etc"}, "BadId"),
        ({"cycle": "c" * 129}, "BadId"),
        ({"disks": {"../a": DiskPlan(size=BLOCK, blocks=0)}}, "BadId"),
        ({"disks": {"a\x00": DiskPlan(size=BLOCK, blocks=0)}}, "BadId"),
        ({"disks": {"a": DiskPlan(size=-1, blocks=0)}}, "BadDisks"),
        ({"disks": {"a": DiskPlan(size=BLOCK, blocks=2)}}, "BadDisks"),
        ({"disks": {"a": DiskPlan(size=BLOCK, blocks=-1)}}, "BadDisks"),
        ({"disks": {"a": DiskPlan(size=(64 << 40) + 1, blocks=0)}}, "BadDisks"),
        ({"disks": {f"d{number}": DiskPlan(size=1, blocks=0) for number in range(513)}}, "BadDisks"),
        ({"generation": -1}, "BadGeneration"),
        ({"generation": 1 << 63}, "BadGeneration"),
        ({"generation": 1 << 70}, "BadGeneration"),
        ({"freeze_time": "2026-01-01T00:00:00"}, "BadTime"),
        ({"freeze_time": 7}, "BadRequest"),
        ({"kind": "Seed"}, "BadKind"),
        ({"kind": "Whatever"}, "BadRequest"),
    ],
)
def test_a_cycle_of_wild_numbers_makes_nothing(pair: Pair, change: dict[str, Any], code: str) -> None:
    message = msgspec.to_builtins(opening()) | change
    assert code_of(talk(pair.server.port, request("POST", CYCLES, message))) == code
    assert not list((pair.folder / "target/disks").iterdir())
    assert pair.client.status("vm").open is None


def with_body(body: bytes) -> bytes:
    return f"POST {CYCLES} HTTP/1.1\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (with_body(b'{"x":' * 200_000), "BadRequest"),
        (with_body(b'{"cycle":"c1","x":' + b"[" * 500_000), "BadRequest"),
        (with_body(b"\xff\xfe" * 1000), "BadRequest"),
        (with_body(b'{"cycle":"\xff"}'), "BadRequest"),
        (with_body(b'{"cycle":' + b"9" * 500_000 + b"}"), "BadRequest"),
        (b"POST %b HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % (CYCLES.encode(), MIB + 1), "BadMessage"),
        (b"POST %b HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" % CYCLES.encode(), "BadMessage"),
        (b"GET /v1/vms/vm HTTP/1.1\r\n" + b"a: %b\r\n" % (b"b" * 4000) * 10 + b"\r\n", "BadMessage"),
        (b"GET /v1/vms/vm HTTP/1.1\r\na: %b\r\n\r\n" % (b"b" * 100_000), "BadMessage"),
        (put(end=b"100000000\r\n"), "BadMessage"),
        (put(end=b"-5\r\n"), "BadMessage"),
        (put(end=b"%x\r\n" % (MAX_FRAME_BYTES + 1)), "BadMessage"),
        (put(end=b"5 \r\n"), "CorruptFrame"),
        (put(first=10**11), "FramesMissing"),
    ],
)
def test_oversized_and_malformed_messages_are_refused_unread(pair: Pair, raw: bytes, code: str) -> None:
    pair.target.receiver.open_cycle(opening())
    assert code_of(talk(pair.server.port, raw)) == code
    assert talk(pair.server.port, put(PACKED, frame(1, level=1))).endswith(b'{"have":2}')
    assert commits(pair)


def test_no_bomb_takes_more_memory_than_an_honest_frame(pair: Pair) -> None:
    pair.target.receiver.open_cycle(opening())
    bombs = [put(raw) for name, raw in BAD_FRAMES.items() if "bomb" in name]
    honest = put(RAW)
    tracemalloc.start()
    try:
        peaks = []
        for raw in (honest, *bombs):
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            talk(pair.server.port, raw)
            peaks.append(tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()
    # The buffer of a frame, once for what is packed, once for what comes out.
    assert max(peaks) < 12 * MIB, peaks


@pytest.mark.parametrize(("tebibytes", "count", "blocks"), [(4, 100, 0), (64, 512, 0), (64, 512, 1 << 30)])
def test_what_is_promised_is_not_reserved(pair: Pair, tebibytes: int, count: int, blocks: int) -> None:
    """Larger disks than this host's file system may have, and as many as are possible."""
    disks = {f"d{number}": DiskPlan(size=tebibytes << 40, blocks=blocks) for number in range(count)}
    message = msgspec.structs.replace(opening(), disks=disks)
    tracemalloc.start()
    try:
        answer = talk(pair.server.port, request("POST", CYCLES, message))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert answer.startswith(b"HTTP/1.1 201") or code_of(answer) in {"NoStorage", "InsufficientSpace"}
    # Reading and checking a part takes one frame's buffer; per disk there is little more than its name.
    assert peak < 16 * MIB, peak
    taken = sum(path.stat().st_blocks * 512 for path in (pair.folder / "target").rglob("*") if path.is_file())
    assert taken < MIB


def test_disks_that_cannot_be_made_leave_nothing_behind(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(27, "File too large")

    with monkeypatch.context() as patched_os:
        patched_os.setattr("secondsite.agent.lab.engine.replica.base.os.ftruncate", full)
        with pytest.raises(PeerRefused, match="NoStorage"):
            pair.target.receiver.open_cycle(opening())
    assert not list((pair.folder / "target/disks").iterdir())
    pair.disks["a"].write(0, pattern(1))
    assert pair.matches(pair.cycle().cycle)


def test_cycles_opened_in_a_loop_pile_up_nothing(pair: Pair) -> None:
    def count() -> tuple[int, int]:
        files = [path for path in (pair.folder / "target").rglob("*") if path.is_file()]
        return len(files), len(list(Path("/proc/self/fd").iterdir()))

    pair.target.receiver.open_cycle(opening())
    before = count()
    with socket.create_connection(("127.0.0.1", pair.server.port), timeout=10) as sock:
        for number in range(200):
            sock.sendall(request("POST", CYCLES, msgspec.structs.replace(opening(), cycle=f"loop{number}")))
            assert sock.recv(65536).startswith(b"HTTP/1.1 201")
    files, descriptors = count()
    assert files == before[0]
    assert descriptors <= before[1] + 2
    pair.disks["a"].write(0, pattern(1))
    assert pair.matches(pair.cycle().cycle)


def test_many_frames_that_stop_half_way_hold_one_frame_each_and_nobody_up(pair: Pair) -> None:
    count = 12
    noise = np.random.default_rng(1).bytes(4 * MIB - BLOCK)
    half = put(forged(RAW, noise, codec=1, stored_bytes=len(noise)))[: 3 * MIB]
    pair.target.receiver.open_cycle(opening())
    tracemalloc.start()
    try:
        with ExitStack() as stack:
            for _ in range(count):
                sock = stack.enter_context(socket.create_connection(("127.0.0.1", pair.server.port), timeout=10))
                sock.sendall(half)
            for number in range(200):
                pair.disks["a"].write(number * BLOCK, pattern(number))
            result = pair.cycle()
            peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert pair.matches(result.cycle)
    # Per connection what is packed and what comes out; and as much again for the good cycle and this test.
    assert peak < (count + 4) * 8.5 * MIB, peak
