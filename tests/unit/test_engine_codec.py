"""Compression of frames: round trips, when it pays, and payloads of strangers."""

import os
import random
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from secondsite.agent.lab.engine.errors import CorruptFrame
from secondsite.agent.lab.engine.port.codec import (
    MAX_PAYLOAD_BYTES,
    LinkSpeed,
    choose_level,
    compress,
    decompress_into,
)
from secondsite.wire.peer import BLOCK_BYTES

MIB = 1024 * 1024
LEVELS = [-1, 1, 3]


def text_like(size: int, seed: int = 1) -> bytes:
    """Content that compresses to about half."""
    random_ = random.Random(seed)
    words = [random_.randbytes(8) + bytes(8) for _ in range(64)]
    return b"".join(random_.choices(words, k=size // 16 + 1))[:size]


def packed(content: bytes, level: int = 1) -> bytes:
    result = compress([memoryview(content)], level)
    assert result is not None
    return result


def unpacked(payload: bytes, size: int) -> bytes:
    target = bytearray(size)
    decompress_into(memoryview(payload), memoryview(target))
    return bytes(target)


@pytest.mark.parametrize("level", LEVELS)
def test_a_full_frame_comes_back_as_it_was(level: int) -> None:
    content = text_like(MAX_PAYLOAD_BYTES)
    assert unpacked(packed(content, level), len(content)) == content


@given(
    st.lists(st.tuples(st.integers(1, 3 * BLOCK_BYTES), st.integers(0, 2**32)), min_size=1, max_size=6),
    st.sampled_from(LEVELS),
)
@settings(max_examples=40, deadline=None)
def test_pieces_come_back_as_one(sizes: list[tuple[int, int]], level: int) -> None:
    pieces = [text_like(size, seed) for size, seed in sizes]
    content = b"".join(pieces)
    payload = compress([memoryview(piece) for piece in pieces], level)
    if payload is None:
        # Every short piece has its own words: nothing repeats.
        assert len(content) < BLOCK_BYTES
    else:
        assert len(payload) <= len(content) * 0.9
        assert unpacked(payload, len(content)) == content


@pytest.mark.parametrize("level", LEVELS)
def test_what_saves_less_than_a_tenth_stays_raw(level: int) -> None:
    noise = os.urandom(BLOCK_BYTES)
    assert compress([memoryview(noise)], level) is None
    nearly = noise[: BLOCK_BYTES * 95 // 100] + bytes(BLOCK_BYTES * 5 // 100)
    assert compress([memoryview(nearly)], level) is None
    enough = noise[: BLOCK_BYTES * 85 // 100] + bytes(BLOCK_BYTES * 15 // 100)
    assert compress([memoryview(enough)], level) is not None


def test_nothing_is_not_compressed() -> None:
    assert compress([], 3) is None


def test_a_frame_names_its_size_and_carries_no_checksum() -> None:
    claims = zstandard.get_frame_parameters(packed(text_like(BLOCK_BYTES)))
    assert (claims.content_size, claims.has_checksum, claims.dict_id) == (BLOCK_BYTES, False, 0)


def test_threads_do_not_disturb_each_other() -> None:
    together = threading.Barrier(4)

    def rounds(seed: int) -> bool:
        content = text_like(4 * BLOCK_BYTES, seed)
        together.wait(10)
        return all(unpacked(packed(content, level), len(content)) == content for level in LEVELS * 10)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(rounds, range(4)))


# What strangers send


DAMAGED = text_like(2 * BLOCK_BYTES)
DAMAGED_PAYLOADS = {level: packed(DAMAGED, level) for level in LEVELS}


@given(st.data(), st.sampled_from(LEVELS), st.integers(1, 255))
@settings(max_examples=400, deadline=None)
def test_a_flipped_byte_is_noticed_or_keeps_the_length(data: st.DataObject, level: int, flip: int) -> None:
    payload = bytearray(DAMAGED_PAYLOADS[level])
    # The head, where the claims stand, as often as all the rest.
    payload[data.draw(st.integers(0, 16) | st.integers(0, len(payload) - 1))] ^= flip
    # A block that no longer fits would fail here: the assignment does not stretch the target.
    target = bytearray(len(DAMAGED))
    try:
        decompress_into(memoryview(payload), memoryview(target))
    except CorruptFrame:
        assert target == bytes(len(DAMAGED)), "half a frame was unpacked"


@given(st.integers(0, len(DAMAGED_PAYLOADS[1]) - 1))
@settings(max_examples=200, deadline=None)
def test_a_truncated_payload_is_refused(length: int) -> None:
    with pytest.raises(CorruptFrame):
        unpacked(DAMAGED_PAYLOADS[1][:length], len(DAMAGED))


@given(st.binary(max_size=200), st.booleans())
@settings(max_examples=200, deadline=None)
def test_noise_is_refused(noise: bytes, with_magic: bool) -> None:
    with pytest.raises(CorruptFrame):
        unpacked((zstandard.FRAME_HEADER if with_magic else b"") + noise, BLOCK_BYTES)


def unsized(content: bytes) -> bytes:
    stream = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    return stream.compress(content) + stream.flush()


CONTENT = text_like(BLOCK_BYTES)
STRANGE = {
    "one byte behind": packed(CONTENT) + b"\0",
    "two frames": packed(CONTENT) + packed(CONTENT),
    "two half frames": packed(CONTENT[: BLOCK_BYTES // 2]) + packed(CONTENT[BLOCK_BYTES // 2 :]),
    "a frame to skip in front": b"\x50\x2a\x4d\x18\x04\0\0\0abcd" + packed(CONTENT),
    "a frame to skip as large as the content": b"\x50\x2a\x4d\x18\0\0\x01\0" + CONTENT,
    "a frame to skip behind": packed(CONTENT) + b"\x50\x2a\x4d\x18\x04\0\0\0abcd",
    "no content size": unsized(CONTENT),
    "too short": packed(CONTENT[:-1]),
    "too long": packed(CONTENT + b"\0"),
    "empty": zstandard.ZstdCompressor().compress(b""),
    "nothing": b"",
}


@pytest.mark.parametrize("payload", STRANGE.values(), ids=list(STRANGE))
def test_only_one_whole_frame_of_the_right_size_is_taken(payload: bytes) -> None:
    with pytest.raises(CorruptFrame):
        unpacked(payload, BLOCK_BYTES)


def test_a_dictionary_is_refused() -> None:
    dictionary = zstandard.train_dictionary(4096, [text_like(512, seed) for seed in range(200)])
    payload = zstandard.ZstdCompressor(dict_data=dictionary).compress(CONTENT)
    with pytest.raises(CorruptFrame, match="dictionary"):
        unpacked(payload, BLOCK_BYTES)


def claiming(size: int, window_descriptor: int) -> bytes:
    """A header with a window descriptor and a content size of eight bytes, and 4 KiB of zeros behind it."""
    return (zstandard.FRAME_HEADER + bytes([0b11000000, window_descriptor]) + size.to_bytes(8, "little")).ljust(
        4096, b"\0"
    )


def peak_of_refusal(payload: bytes, size: int) -> int:
    target = bytearray(size)
    tracemalloc.start()
    try:
        with pytest.raises(CorruptFrame):
            decompress_into(memoryview(payload), memoryview(target))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [1 << 30, 1 << 40, (1 << 64) - 3, MAX_PAYLOAD_BYTES + 1])
def test_a_bomb_is_refused_by_its_claim(size: int) -> None:
    assert peak_of_refusal(claiming(size, 0x50), MAX_PAYLOAD_BYTES) < 256 * 1024


def test_a_bomb_that_claims_little_gets_no_more_than_it_claims() -> None:
    bomb = bytearray(zstandard.ZstdCompressor(level=3).compress(bytes(64 * MIB)))
    # Its descriptor says: the size stands in four bytes after five.
    bomb[6:10] = BLOCK_BYTES.to_bytes(4, "little")
    assert zstandard.get_frame_parameters(bytes(bomb)).content_size == BLOCK_BYTES
    assert peak_of_refusal(bytes(bomb), BLOCK_BYTES) < BLOCK_BYTES + 256 * 1024


def test_a_great_window_is_refused() -> None:
    # Exponent 20: 1 GiB, eight bytes of size.
    with pytest.raises(CorruptFrame, match="window"):
        unpacked(claiming(BLOCK_BYTES, 20 << 3), BLOCK_BYTES)


@pytest.mark.parametrize("size", [0, MAX_PAYLOAD_BYTES + 1])
def test_a_target_that_no_frame_fills_is_refused(size: int) -> None:
    payload = zstandard.ZstdCompressor().compress(bytes(size))
    with pytest.raises(CorruptFrame, match="1 to 4194304"):
        unpacked(payload, size)


# When it pays


@pytest.mark.parametrize(
    ("rate", "limit", "level"),
    [
        (None, None, None),
        (2e9, None, None),
        (391e6, None, None),
        (390e6, None, -1),
        (251e6, None, -1),
        (250e6, None, 1),
        (126e6, None, 1),
        (125e6, None, 3),
        (1e6, None, 3),
        (None, 10e6, 3),
        (2e9, 10e6, 3),
        (10e6, 2e9, 3),
        (2e9, 300e6, -1),
        (float("inf"), None, None),
        (0.0, None, 3),
    ],
)
def test_the_level_follows_the_slower_of_link_and_limit(
    rate: float | None, limit: float | None, level: int | None
) -> None:
    assert choose_level(rate, limit) == level


@given(st.floats(1, 1e11), st.floats(1, 1e11))
def test_a_slower_link_is_never_compressed_for_less(one: float, other: float) -> None:
    order = {None: 0, -1: 1, 1: 2, 3: 3}
    slow, fast = sorted((one, other))
    assert order[choose_level(slow, None)] >= order[choose_level(fast, None)]


def test_nothing_is_known_of_a_link_before_4_mib() -> None:
    speed = LinkSpeed()
    assert speed.rate is None
    speed.note(4 * MIB - 1, 0.01)
    assert speed.rate is None
    speed.note(1, 0.0)
    assert speed.rate == pytest.approx(400 * MIB, rel=0.01)


def test_a_change_of_the_link_counts_half_after_32_mib() -> None:
    speed = LinkSpeed()
    for _ in range(256):
        speed.note(MIB, 1 / 100)
    for _ in range(32):
        speed.note(MIB, 1 / 10)
    # Half of the weight moved at 10 MiB/s, half at 100.
    assert speed.rate == pytest.approx(2 * MIB / (1 / 10 + 1 / 100), rel=0.02)
    for _ in range(256):
        speed.note(MIB, 1 / 10)
    assert speed.rate == pytest.approx(10 * MIB, rel=0.05)


def test_small_and_large_samples_weigh_by_their_bytes() -> None:
    speed = LinkSpeed()
    speed.note(4 * MIB, 0.4)
    for _ in range(1000):
        speed.note(4096, 0.0)
    assert speed.rate is not None
    assert 10 * MIB < speed.rate < 25 * MIB


def test_a_clock_that_saw_no_time_pass_means_a_fast_link() -> None:
    speed = LinkSpeed()
    speed.note(8 * MIB, 0.0)
    assert choose_level(speed.rate, None) is None
