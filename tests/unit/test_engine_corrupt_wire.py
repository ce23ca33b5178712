"""Frames and messages changed on the way, where TLS would have caught them: no wrong point ever comes of them."""

import contextlib
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from secondsite.agent.lab.engine import DataServer, TargetStore
from secondsite.agent.lab.engine.blocks import root_of
from secondsite.agent.lab.engine.port.frames import BuiltFrame, build_frame, cycle_digest
from secondsite.wire.peer import CycleCommit, CycleKind, CycleOpen, DiskCommit, DiskPlan
from support.engine_pair import BLOCK, START, pattern
from support.engine_wire import COMMIT, CYCLES, joined, put, request, talk

# Fast and thorough enough; the examples differ from run to run.
THOROUGH = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

NOISE = np.random.default_rng(7).bytes(BLOCK // 2)
CONTENT = [
    [pattern(1), bytes(BLOCK), NOISE + pattern(2)[: BLOCK // 2]],
    [NOISE + NOISE[::-1]],
    [pattern(3), bytes(BLOCK)],
]
BLOCKS = sum(len(blocks) for blocks in CONTENT)
TRUTH = b"".join(itertools.chain.from_iterable(CONTENT))


def built(level: int | None) -> list[BuiltFrame]:
    frames, first = [], 0
    for sequence, blocks in enumerate(CONTENT):
        numbers = np.arange(first, first + len(blocks), dtype=np.int64)
        content = memoryview(bytearray(b"".join(blocks)))
        digest = cycle_digest("c1")
        frames.append(build_frame(numbers, content, sequence=sequence, generation=1, cycle=digest, level=level))
        first += len(blocks)
    return frames


def conversation(level: int | None) -> bytes:
    """A PUT of frames and its commit, as they go over one connection."""
    frames = built(level)
    root = root_of(b"".join(frame.digests for frame in frames))
    message = CycleCommit(disks={"a": DiskCommit(count=BLOCKS, root=root)})
    return put(*(joined(frame) for frame in frames)) + request("POST", COMMIT, message)


RAW, PACKED = conversation(None), conversation(3)
OPEN = CycleOpen(
    cycle="c1",
    parent=None,
    generation=1,
    freeze_time=START,
    kind=CycleKind.Initial,
    disks={"a": DiskPlan(size=BLOCKS * BLOCK, blocks=BLOCKS)},
)


@contextlib.contextmanager
def replica() -> Iterator[tuple[TargetStore, int]]:
    with tempfile.TemporaryDirectory() as folder:
        store = TargetStore(Path(folder) / "target", "vm", clock=lambda: START)
        server = DataServer("127.0.0.1", 0, None, {"vm": store}.get, lambda *_: "source")
        server.start()
        try:
            store.receiver.open_cycle(OPEN)
            yield store, server.port
        finally:
            server.close()
            store.close()


def interesting(raw: bytes) -> list[int]:
    """The bytes that are not content of blocks: requests, chunk lines, headers, tables, the commit."""
    places = {*range(120), *range(len(raw) - 400, len(raw))}
    for at in (place for place in range(len(raw)) if raw.startswith(b"SSfr", place)):
        places |= set(range(max(0, at - 8), at + 180))
    return sorted(places)


PLACES = {name: interesting(raw) for name, raw in (("raw", RAW), ("packed", PACKED))}


@st.composite
def changed(draw: st.DrawFn) -> bytes:
    """The conversation with a bit flipped, bytes lost, put in or said twice, anywhere."""
    name = draw(st.sampled_from(["raw", "packed"]))
    raw = RAW if name == "raw" else PACKED
    at = draw(st.one_of(st.sampled_from(PLACES[name]), st.integers(0, len(raw) - 1)))
    length = draw(st.one_of(st.integers(1, 4), st.integers(1, BLOCK)))
    what = draw(st.sampled_from(["flip", "flip", "drop", "insert", "repeat", "zero"]))
    middle = {
        "flip": bytes([raw[at] ^ 1 << draw(st.integers(0, 7))]) + raw[at + 1 : at + 1],
        "drop": b"",
        "insert": draw(st.binary(min_size=1, max_size=8)) + raw[at : at + 1],
        "repeat": raw[at : at + length] * 2,
        "zero": bytes(len(raw[at : at + length])),
    }[what]
    behind = at + (length if what in {"drop", "repeat", "zero"} else 1)
    return raw[:at] + middle + raw[behind:]


@THOROUGH
@given(raw=changed())
@example(raw=RAW + RAW)
@example(raw=PACKED + RAW)
@example(raw=RAW.replace(b"from=0", b"from=1"))
@example(raw=RAW.replace(b'"count":6', b'"count":4'))
def test_the_receiver_refuses_or_the_point_is_the_source(raw: bytes) -> None:
    with replica() as (store, port):
        talk(port, raw)
        if store.head is None:
            # Whatever it made of that, the sender goes on, and all is well.
            assert talk(port, PACKED).count(b"HTTP/1.1 200 OK") == 2
        assert store.read_point("c1", "a", 0, len(TRUTH)) == TRUTH
        assert not store.scrub("c1")


def test_what_a_point_holds_does_not_depend_on_how_it_came() -> None:
    for raw in (RAW, PACKED):
        with replica() as (store, port):
            assert talk(port, raw).count(b"HTTP/1.1 200 OK") == 2
            assert store.read_point("c1", "a", 0, len(TRUTH)) == TRUTH
    assert len(PACKED) < len(RAW) / 1.5


def edited(draw: st.DrawFn, value: object) -> object:
    """A message in which some values are others, of the same type or not."""
    strange = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(1 << 70), 1 << 70),
        st.floats(),
        st.text(max_size=20),
        st.sampled_from(["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "2026-01-01T00:00:00.123+05:30"]),
        st.lists(st.integers(), max_size=2),
        st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    )
    if draw(st.integers(0, 5)) == 0:
        return draw(strange)
    if isinstance(value, dict):
        return {name: edited(draw, part) for name, part in value.items()}
    return value


@st.composite
def message(draw: st.DrawFn) -> bytes:
    """Opening or committing as no honest sender would."""
    commit = CycleCommit(disks={"a": DiskCommit(count=0, root=root_of(b""))})
    path, good = draw(st.sampled_from([(CYCLES, OPEN), (COMMIT, commit)]))
    return request("POST", path, edited(draw, msgspec.to_builtins(good)))


@THOROUGH
@given(messages=st.lists(message(), min_size=1, max_size=4))
def test_no_message_is_more_than_refused(messages: list[bytes]) -> None:
    with replica() as (store, port):
        for raw in messages:
            answer = talk(port, raw)
            assert b'"code":"Internal"' not in answer, answer
            assert answer.startswith((b"HTTP/1.1 20", b"HTTP/1.1 4", b"HTTP/1.1 507"))
        # And what it made of them can be opened again.
        store.close()
        TargetStore(store.core.root, "vm").close()
