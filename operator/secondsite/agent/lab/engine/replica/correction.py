"""Undoing one damaged byte with the help of a CRC-32: what single change makes a text fit its checksum again."""

import zlib
from collections.abc import Iterator
from typing import Final

# One step of a CRC-32, and by its highest byte the way back.
_TABLE: Final = [zlib.crc32(bytes([value])) ^ zlib.crc32(b"\0") for value in range(256)]
_BACK: Final = {step >> 24: index for index, step in enumerate(_TABLE)}
# By what two checksums differ when the last bytes of their texts differ by the value.
_CHANGES: Final = {step: change for change, step in enumerate(_TABLE) if change}


def single_byte_corrections(text: bytes, crc: int) -> Iterator[bytes]:
    """Every text of the same length that differs in exactly one byte and has this CRC-32; mostly one or none.

    A CRC is linear: the difference of two checksums depends only on the change and on how many bytes follow it. So the
    difference is run backwards, byte by byte from the end, until it is what one changed byte makes.
    """
    difference = zlib.crc32(text) ^ crc
    for position in range(len(text) - 1, -1, -1):
        change = _CHANGES.get(difference)
        if change is not None:
            fixed = bytearray(text)
            fixed[position] ^= change
            yield bytes(fixed)
        index = _BACK[difference >> 24]
        difference = ((difference ^ _TABLE[index]) << 8 | index) & 0xFFFFFFFF
