import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondsite.agent.lab.engine.errors import CorruptFrame
from secondsite.agent.lab.engine.port.frames import BuiltFrame, FrameReader, build_frame, cycle_digest
from secondsite.wire.peer import ENTRY, FLAG_ZERO, FRAME_BLOCKS, HEADER_BYTES, MAX_FRAME_BYTES, FrameHeader
from support.engine_pair import BLOCK, pattern

CYCLE = cycle_digest("c1")


def frame(contents: list[bytes]) -> BuiltFrame:
    blocks = np.arange(len(contents), dtype=np.int64) * 2 + 5
    joined = memoryview(bytearray(b"".join(contents)))
    return build_frame(blocks, joined, sequence=3, generation=2, cycle=CYCLE)


def on_the_wire(built: BuiltFrame) -> bytes:
    return built.head + b"".join(bytes(piece) for piece in built.payload)


def read(raw: bytes) -> tuple[FrameHeader, list[int], list[int], bytes]:
    position = 0

    def read_into(view: memoryview) -> None:
        nonlocal position
        if position + len(view) > len(raw):
            raise CorruptFrame("too short")
        view[:] = raw[position : position + len(view)]
        position += len(view)

    received = FrameReader(read_into).read()
    assert position == len(raw)
    entries = received.entries
    return received.header, entries["block"].tolist(), entries["flags"].tolist(), bytes(received.payload)


def test_a_frame_arrives_as_it_was_built_and_zero_blocks_have_no_payload() -> None:
    contents = [pattern(1), bytes(BLOCK), pattern(2), pattern(3)]
    built = frame(contents)
    raw = on_the_wire(built)
    assert len(raw) == built.size == HEADER_BYTES + 4 * ENTRY.size + 3 * BLOCK
    header, blocks, flags, payload = read(raw)
    assert (header.sequence, header.generation, header.cycle, header.blocks) == (3, 2, CYCLE, 4)
    assert blocks == [5, 7, 9, 11]
    assert flags == [0, FLAG_ZERO, 0, 0]
    assert payload == pattern(1) + pattern(2) + pattern(3)


def test_the_largest_frame_is_as_large_as_the_wire_says() -> None:
    built = frame([pattern(number) for number in range(FRAME_BLOCKS)])
    assert built.size == MAX_FRAME_BYTES
    assert read(on_the_wire(built))[0].blocks == FRAME_BLOCKS


_SAMPLE = on_the_wire(frame([pattern(1), bytes(BLOCK), pattern(2)]))


@given(position=st.one_of(st.integers(0, 64 + 96 - 1), st.integers(0, len(_SAMPLE) - 1)), bit=st.integers(0, 7))
def test_no_flipped_bit_goes_unnoticed(position: int, bit: int) -> None:
    raw = bytearray(_SAMPLE)
    raw[position] ^= 1 << bit
    with pytest.raises(CorruptFrame):
        read(bytes(raw))


@given(garbage=st.binary(min_size=HEADER_BYTES, max_size=400))
def test_garbage_is_refused_before_anything_is_allocated_for_it(garbage: bytes) -> None:
    with pytest.raises(CorruptFrame):
        read(garbage)


def test_bounds_hold_even_when_the_crc_does() -> None:
    """A peer that computes its CRCs well may still not make us read more than a frame."""
    table = bytes(ENTRY.size)
    for blocks, stored in ((0, 0), (FRAME_BLOCKS + 1, 0), (1, 2 * BLOCK), (1, BLOCK + 1)):
        head = FrameHeader(
            sequence=0, blocks=blocks, raw_bytes=stored, stored_bytes=stored, generation=1, cycle=CYCLE
        ).pack(table)
        with pytest.raises(CorruptFrame):
            read(head)


def test_blocks_out_of_order_are_refused() -> None:
    blocks = np.array([4, 3], dtype=np.int64)
    built = build_frame(blocks, memoryview(bytearray(2 * BLOCK)), sequence=0, generation=1, cycle=CYCLE)
    with pytest.raises(CorruptFrame, match="not in order"):
        read(on_the_wire(built))
