"""A lab guest's journal: whether an image was taken while the guest stood still, told from the image's bytes alone.

Each write is announced in the journal before it touches anything else, and noted as done after its record is written.
Only a guest that was quiesced leaves the clean mark: like a file system that was frozen (VSS, `fsfreeze`), it needs no
recovery. A crash-consistent image shows a guest that ran, perhaps in the middle of a write.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from secondsite.agent.lab import layout

_ENTRY = struct.Struct("<8sQI28x")
_CHECKSUM_BYTES = 16
ENTRY_BYTES = _ENTRY.size + _CHECKSUM_BYTES
# Between the ring of records and the first slot, in a block of its own.
OFFSET = layout.RING_OFFSET + layout.MEBIBYTE
_MAGIC = b"2ndsiteJ"


class JournalState(StrEnum):
    """What a guest that starts from an image finds."""

    CLEAN = "Clean"
    """It stood still: all is flushed, nothing was under way."""
    DIRTY = "Dirty"
    """It ran; by chance no write was under way."""
    TORN = "Torn"
    """It was in the middle of a write."""
    DAMAGED = "Damaged"
    """There is no such guest: the journal does not verify."""


class _Mark(IntEnum):
    UNDER_WAY = 1
    DONE = 2
    CLEAN = 3


_STATES = {_Mark.UNDER_WAY: JournalState.TORN, _Mark.DONE: JournalState.DIRTY, _Mark.CLEAN: JournalState.CLEAN}


@dataclass(frozen=True)
class JournalEntry:
    """`sequence` is the write that the state speaks of: the one under way, else the last one done (0: none yet)."""

    state: JournalState
    sequence: int

    def fits(self, newest: int) -> bool:
        """Whether the newest record of the same image can be that of write `newest` (0: there is none)."""
        if self.state is JournalState.TORN:
            return newest in (self.sequence - 1, self.sequence)
        return self.state is not JournalState.DAMAGED and newest == self.sequence


def read_journal(read: Callable[[int, int], bytes]) -> JournalEntry:
    """The journal of a first disk, through a reader of offset and length. A disk that was never written is clean."""
    data = read(OFFSET, ENTRY_BYTES)
    if data == bytes(ENTRY_BYTES):
        return JournalEntry(JournalState.CLEAN, 0)
    body = data[: _ENTRY.size]
    magic, sequence, mark = _ENTRY.unpack(body)
    if magic != _MAGIC or _checksum(body) != data[_ENTRY.size :] or mark not in _STATES:
        return JournalEntry(JournalState.DAMAGED, 0)
    return JournalEntry(_STATES[mark], sequence)


class Journal:
    """The writing end. Not thread-safe: the guest's lock guards it."""

    def __init__(self, read: Callable[[int, int], bytes], write: Callable[[int, bytes], None]) -> None:
        self._write = write
        self._entry = read_journal(read)

    @property
    def clean(self) -> bool:
        """Whether the clean mark stands, and so nothing was written since."""
        return self._entry.state is JournalState.CLEAN

    @property
    def torn(self) -> bool:
        """Whether a write is under way."""
        return self._entry.state is JournalState.TORN

    def begin(self, sequence: int) -> None:
        """A write is about to touch the disks."""
        self._put(_Mark.UNDER_WAY, sequence)

    def end(self, sequence: int) -> None:
        """The write and its record are there."""
        self._put(_Mark.DONE, sequence)

    def close(self, sequence: int) -> None:
        """Everything up to this write is flushed, and nothing follows it for now."""
        if not self.clean:
            self._put(_Mark.CLEAN, sequence)

    def _put(self, mark: _Mark, sequence: int) -> None:
        body = _ENTRY.pack(_MAGIC, sequence, mark)
        self._write(OFFSET, body + _checksum(body))
        self._entry = JournalEntry(_STATES[mark], sequence)


def _checksum(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_CHECKSUM_BYTES).digest()
