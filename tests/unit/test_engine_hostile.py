"""A peer that holds a valid certificate and means harm, or has gone mad: refused with a reason, nobody else hurt."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from secondsite.agent.lab.engine.blocks import root_of
from secondsite.wire.peer import MAX_FRAME_BYTES, WIRE_VERSION, CycleCommit, CycleKind, DiskCommit
from support.engine_hostile import BAD_FRAMES, PACKED, RAW, code_of, commits, digests_of_good_frames
from support.engine_pair import BLOCK, Pair, pattern
from support.engine_wire import COMMIT, CYCLES, FRAMES, SIZES, frame, opening, patched, put, request, talk


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with Pair(tmp_path, SIZES) as pair:
        yield pair


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
