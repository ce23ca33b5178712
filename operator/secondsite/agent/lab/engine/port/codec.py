"""Compressing what a frame carries: when it pays on this link, and how to unpack what a stranger sent."""

import threading
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import zstandard

from secondsite.agent.lab.engine.errors import CorruptFrame
from secondsite.wire.peer import BLOCK_BYTES, FRAME_BLOCKS

MAX_PAYLOAD_BYTES: Final = FRAME_BLOCKS * BLOCK_BYTES

_KEPT_RAW_ABOVE = 0.9
_FIRST_ESTIMATE_BYTES = 4 * 1024 * 1024
_HALF_LIFE_BYTES = 32 * 1024 * 1024
# Up to which speed of the link, in bytes/s, which level pays: above it the link is quicker than one compressing core.
_LEVELS = ((125e6, 3), (250e6, 1), (390e6, -1))


class Compression(StrEnum):
    """Off: every frame goes as it is. Auto: compressed where the link is slower than the compressor."""

    Off = "Off"
    Auto = "Auto"


class LinkSpeed:
    """What a link carries, estimated from how long the sends took. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen = 0
        self._bytes = 0.0
        self._seconds = 0.0

    def note(self, bytes_: int, seconds: float) -> None:
        """`bytes_` went onto the wire in `seconds` spent inside of send; waiting for the bandwidth limit left out."""
        weight = 0.5 ** (bytes_ / _HALF_LIFE_BYTES)
        with self._lock:
            self._seen += bytes_
            self._bytes = self._bytes * weight + bytes_
            self._seconds = self._seconds * weight + seconds

    @property
    def rate(self) -> float | None:
        """Bytes per second on the wire; older samples count half after 32 MiB. None before 4 MiB were seen."""
        with self._lock:
            if self._seen < _FIRST_ESTIMATE_BYTES:
                return None
            return self._bytes / self._seconds if self._seconds > 0 else float("inf")


def choose_level(rate: float | None, limit: float | None) -> int | None:
    """The zstd level for a link of `rate` under a bandwidth limit, both in bytes/s; None: send as it is."""
    speeds = [speed for speed in (rate, limit) if speed is not None]
    if not speeds:
        # The first frames measure.
        return None
    return next((level for ceiling, level in _LEVELS if min(speeds) <= ceiling), None)


class _Contexts(threading.local):
    """A context serves one thread at a time, and is dear to make."""

    def __init__(self) -> None:
        self._compressors: dict[int, zstandard.ZstdCompressor] = {}
        self.decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_PAYLOAD_BYTES)

    def compressor(self, level: int) -> zstandard.ZstdCompressor:
        if level not in self._compressors:
            self._compressors[level] = zstandard.ZstdCompressor(
                level=level, write_content_size=True, write_checksum=False, write_dict_id=False
            )
        return self._compressors[level]


_contexts = _Contexts()


def compress(payload: Sequence[memoryview], level: int) -> bytes | None:
    """The pieces as one zstd frame that names its content's size; None when that saves less than a tenth.

    Without a checksum: the digests of the blocks are of their raw content.
    """
    size = sum(len(piece) for piece in payload)
    if size == 0:
        return None
    content = payload[0] if len(payload) == 1 else b"".join(payload)
    packed = _contexts.compressor(level).compress(content)
    return packed if len(packed) <= size * _KEPT_RAW_ABOVE else None


def decompress_into(payload: memoryview, target: memoryview) -> None:
    """Unpack one zstd frame that fills `target`, of at most 4 MiB, to the byte. CorruptFrame for anything else.

    Takes no more memory than the target once over and a window of at most 4 MiB per thread, whatever the payload
    claims. What comes out is not yet proven to be what was sent: the digests of the blocks prove that.
    """
    _check_claims(payload, len(target))
    try:
        content = _contexts.decompressor.decompress(payload, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise _corrupt(payload, len(target), str(error)) from error
    if len(content) != len(target):
        raise _corrupt(payload, len(target), f"{len(content)} bytes came out")
    target[:] = content


def _check_claims(payload: memoryview, size: int) -> None:
    """Believe nothing of what sizes a buffer: the library takes a frame's word for the size of its content."""
    if not 0 < size <= MAX_PAYLOAD_BYTES:
        raise _corrupt(payload, size, f"the content of a frame is 1 to {MAX_PAYLOAD_BYTES} bytes long")
    try:
        claims = zstandard.get_frame_parameters(payload)
    except zstandard.ZstdError as error:
        raise _corrupt(payload, size, str(error)) from error
    if claims.content_size != size:
        raise _corrupt(payload, size, f"it says that it holds {claims.content_size} bytes")
    if claims.window_size > MAX_PAYLOAD_BYTES:
        raise _corrupt(payload, size, f"it asks for a window of {claims.window_size} bytes")
    if claims.dict_id != 0:
        raise _corrupt(payload, size, f"it asks for dictionary {claims.dict_id}")


def _corrupt(payload: memoryview, size: int, reason: str) -> CorruptFrame:
    return CorruptFrame(f"a compressed payload of {len(payload)} bytes does not unpack to {size} bytes: {reason}")
