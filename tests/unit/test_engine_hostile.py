"""A peer that holds a valid certificate and means harm, or has gone mad: refused with a reason, nobody else hurt."""

import socket
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import zstandard

from secondsite.agent.lab.engine import PeerRefused
from secondsite.agent.lab.engine.blocks import root_of
from secondsite.wire.peer import (
    ENTRY,
    HEADER_BYTES,
    MAX_FRAME_BYTES,
    WIRE_VERSION,
    CycleCommit,
    CycleKind,
    DiskCommit,
    DiskPlan,
)
from support.engine_pair import BLOCK, Pair, pattern
from support.engine_wire import (
    COMMIT,
    CYCLES,
    FRAMES,
    SIZES,
    forged,
    frame,
    opening,
    patched,
    put,
    request,
    talk,
)

MIB = 1 << 20
TABLE_END = HEADER_BYTES + 64 * ENTRY.size


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with Pair(tmp_path, SIZES) as pair:
        yield pair


def code_of(answer: bytes) -> str:
    assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 507")), answer[:80]
    return str(msgspec.json.decode(answer.partition(b"\r\n\r\n")[2])["code"])


def bomb(content_bytes: int, claimed: int | None = None) -> bytes:
    """A small zstd frame of many zeros, that names another size of them if wished."""
    packed = bytearray(zstandard.ZstdCompressor(level=19).compress(bytes(content_bytes)))
    if claimed is not None:
        # Frame header: magic, descriptor (4-byte content size, no window byte), content size.
        assert packed[4] >> 6 == 2
        size_at = 5 if packed[4] & 0x20 else 6
        packed[size_at : size_at + 4] = claimed.to_bytes(4, "little")
    return bytes(packed)


RAW = frame(0)
PACKED = frame(0, level=1)
HALF = 32 * BLOCK

BAD_FRAMES = {
    "a bomb that says what it is": forged(PACKED, bomb(256 * MIB), stored_bytes=len(bomb(256 * MIB))),
    "a bomb that claims to be small": forged(
        PACKED, bomb(256 * MIB, 4 * MIB), stored_bytes=len(bomb(256 * MIB, 4 * MIB))
    ),
    "fewer bytes than the table says": forged(PACKED, bomb(HALF), stored_bytes=len(bomb(HALF))),
    "no zstd at all": forged(PACKED, b"x" * 100, stored_bytes=100),
    "zstd with something behind it": forged(
        PACKED, PACKED[TABLE_END:] + b"x", stored_bytes=len(PACKED) - TABLE_END + 1
    ),
    "packed, but said to be raw": forged(PACKED, codec=0),
    "raw, but said to be packed": forged(RAW, codec=1),
    "raw bytes that the table does not have": forged(PACKED, raw_bytes=HALF),
    "raw bytes that are no blocks": forged(RAW, raw_bytes=4 * MIB - 1, stored_bytes=4 * MIB - 1),
    "a packed frame of nothing": forged(RAW, b"", codec=1, raw_bytes=0, stored_bytes=0),
    "a wrong digest": patched(RAW, HEADER_BYTES + 8, b"\x00\x01"),
    "a wrong digest in a packed frame": patched(PACKED, HEADER_BYTES + 8, b"\x00\x01"),
    "a zero block that is none": patched(RAW, HEADER_BYTES + 24, b"\x01"),
    "flags that nobody knows": patched(RAW, HEADER_BYTES + 24, b"\x02"),
    "a block number twice": patched(RAW, HEADER_BYTES + ENTRY.size, bytes(8)),
    "a block beyond the disk": patched(RAW, HEADER_BYTES + 63 * ENTRY.size, (200).to_bytes(8, "little")),
    "a block beyond every disk": patched(RAW, HEADER_BYTES + 63 * ENTRY.size, b"\xff" * 8),
    "a version that is not spoken": patched(RAW, 4, b"\x02\x00"),
    "a codec that is not known": patched(RAW, 6, b"\x09"),
    "another cycle": frame(0, cycle="c2", level=1),
    "another generation": frame(0, generation=2, level=1),
    "a later frame": frame(1, level=1),
    "a frame longer than its chunk": RAW[:-BLOCK],
    "a frame shorter than its chunk": RAW + b"x",
    "a chunk of a header only": RAW[:HEADER_BYTES],
}


@pytest.mark.parametrize("name", BAD_FRAMES)
def test_a_bad_frame_is_refused_and_the_good_one_after_it_taken(pair: Pair, name: str) -> None:
    pair.target.receiver.open_cycle(opening())
    bad = BAD_FRAMES[name]
    if len(bad) > MAX_FRAME_BYTES:
        assert code_of(talk(pair.server.port, put(bad))) == "BadMessage"
    else:
        assert code_of(talk(pair.server.port, put(bad))) == "CorruptFrame"
    assert talk(pair.server.port, put(PACKED, frame(1, level=1))).endswith(b'{"have":2}')
    assert commits(pair)


def commits(pair: Pair) -> bool:
    """Whether the cycle, once all is there, becomes a point with what was sent."""
    sent = b"".join(pattern(number) for number in range(128))
    message = CycleCommit(disks={"a": DiskCommit(count=128, root=root_of(digests_of_good_frames()))})
    answer = talk(pair.server.port, request("POST", COMMIT, message))
    return answer.startswith(b"HTTP/1.1 200") and pair.target.read_point("c1", "a", 0, len(sent)) == sent


def digests_of_good_frames() -> bytes:
    entries = [raw[HEADER_BYTES + at * ENTRY.size :][8:24] for raw in (RAW, frame(1)) for at in range(64)]
    return b"".join(entries)


@pytest.mark.parametrize(
    ("raw", "names"),
    [
        (put(patched(RAW, 4, b"\x07\x00")), (b"version 7", b"version %d" % WIRE_VERSION)),
        (put(patched(RAW, 6, b"\x09")), (b"codec 9", b"0 Raw, 1 Zstd")),
        (
            request("POST", CYCLES, msgspec.structs.replace(opening(), version=9, cycle="c9")),
            (b"UnknownVersion", b"version 9", b"version %d" % WIRE_VERSION),
        ),
    ],
)
def test_what_is_newer_than_this_end_hears_of_both_versions(pair: Pair, raw: bytes, names: tuple[bytes, ...]) -> None:
    pair.target.receiver.open_cycle(opening())
    answer = talk(pair.server.port, raw)
    assert code_of(answer)
    assert all(name in answer for name in names)


def test_fields_that_are_newer_than_this_end_are_ignored(pair: Pair) -> None:
    message = msgspec.to_builtins(opening()) | {"urgency": {"of": ["another", 1]}}
    assert b'"have":{"a":0}' in talk(pair.server.port, request("POST", CYCLES, message))


def test_a_peer_that_knows_no_codec_is_sent_none(pair: Pair) -> None:
    assert pair.client.level(("Raw", "Lz5")) is None


@pytest.mark.parametrize(
    ("disks", "code"),
    [
        ({"a": DiskCommit(count=128, root="0" * 64)}, "RootMismatch"),
        ({"a": DiskCommit(count=128, root="")}, "RootMismatch"),
        ({"a": DiskCommit(count=127, root=root_of(digests_of_good_frames()))}, "RootMismatch"),
        ({"a": DiskCommit(count=-1, root=root_of(digests_of_good_frames()))}, "RootMismatch"),
        ({"a": DiskCommit(count=129, root=root_of(digests_of_good_frames()))}, "FramesMissing"),
        ({}, "DiskSetChanged"),
        ({"b": DiskCommit(count=128, root="")}, "DiskSetChanged"),
    ],
)
def test_no_commit_but_of_what_came(pair: Pair, disks: dict[str, DiskCommit], code: str) -> None:
    pair.target.receiver.open_cycle(opening())
    talk(pair.server.port, put(RAW, frame(1)))
    assert code_of(talk(pair.server.port, request("POST", COMMIT, CycleCommit(disks=disks)))) == code
    assert pair.target.points() == []
    assert commits(pair)


def test_the_cycle_and_the_vm_of_somebody_else_are_out_of_reach(pair: Pair) -> None:
    pair.target.receiver.open_cycle(opening())
    message = CycleCommit(disks={"a": DiskCommit(count=0, root="")})
    elsewhere = {
        COMMIT.replace("c1", "c2"): "UnknownCycle",
        COMMIT.replace("/vm/", "/another/"): "UnknownVM",
        COMMIT.replace("/vm/", "/../vm/"): "UnknownPath",
    }
    for path, code in elsewhere.items():
        assert code_of(talk(pair.server.port, request("POST", path, message))) == code
    assert code_of(talk(pair.server.port, put(RAW, path=FRAMES.replace("c1", "c2")))) == "UnknownCycle"
    assert code_of(talk(pair.server.port, put(RAW, path=FRAMES.replace("/vm/", "/another/")))) == "UnknownVM"
    assert pair.target.points() == []


def test_a_replayed_cycle_does_not_take_the_place_of_its_point(pair: Pair) -> None:
    pair.disks["a"].write(0, pattern(1))
    first = pair.cycle().cycle
    pair.disks["a"].write(0, pattern(2))
    head = pair.cycle().cycle
    for old in (first, head):
        message = msgspec.structs.replace(opening(), cycle=old, parent=head, kind=CycleKind.Delta)
        assert code_of(talk(pair.server.port, request("POST", CYCLES, message))) == "CycleKnown"
    pair.restart_target()
    assert pair.target.read_point(first, "a", 0, BLOCK) == pattern(1)
    assert pair.matches(head)


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
