"""Undoing one damaged byte with the help of a CRC-32: what single change makes a text fit its checksum again."""

import zlib
from collections.abc import Iterator

import numpy as np

_TABLE = np.array([zlib.crc32(bytes([value])) for value in range(256)], dtype=np.uint32)
# What a CRC-32 of a text and of the same text with its last byte changed differ by, per change.
_STEPS = _TABLE ^ _TABLE[0]


def single_byte_corrections(text: bytes, crc: int) -> Iterator[bytes]:
    """Every text of the same length that differs in exactly one byte and has this CRC-32; mostly one or none.

    A CRC is linear: the difference of two checksums depends only on the change and on how many bytes follow it.
    """
    wanted = np.uint32(zlib.crc32(text) ^ crc)
    steps = _STEPS
    for position in range(len(text) - 1, -1, -1):
        for change in np.flatnonzero(steps == wanted).tolist():
            if change:
                fixed = bytearray(text)
                fixed[position] ^= change
                yield bytes(fixed)
        steps = _STEPS[steps & np.uint32(0xFF)] ^ (steps >> np.uint32(8))
