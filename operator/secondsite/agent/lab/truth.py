"""What a guest's disks prove: which writes they hold, and whether they are exactly the replay of writes 1 to n.

A reader is a function of offset and length over the bytes of one disk: of the live disk, of a recovery point, of a
clone. Nothing here trusts whoever replicated them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from secondsite.agent.lab import layout
from secondsite.agent.lab.datacentre import Machine
from secondsite.agent.lab.guest_journal import JournalEntry, JournalState, read_journal
from secondsite.agent.lab.layout import Record

Read = Callable[[int, int], bytes]


@dataclass(frozen=True)
class Evidence:
    """`sequence` and `time_ns` of the newest record (0: none yet); `faults` says what does not verify.

    `journal`: `Clean` is said by a guest that stood still for this image, and by no other that ever wrote.
    """

    sequence: int
    time_ns: int
    services: tuple[dict[str, object], ...]
    faults: tuple[str, ...]
    journal: JournalState = JournalState.CLEAN


def newest_record(read: Read) -> Record | None:
    """The record with the highest number in the ring of a first disk."""
    return max(_ring(read).values(), key=lambda record: record.sequence, default=None)


def examine(read: Read) -> Evidence:
    """Verify the superblock and the chain of records of a first disk, without knowing the guest."""
    faults = []
    block = layout.read_superblock(read(0, layout.SUPERBLOCK_BYTES))
    if block is None:
        faults.append("the superblock does not verify")
    records = _ring(read)
    newest = max(records.values(), key=lambda record: record.sequence, default=None)
    if newest:
        faults += _chain_faults(records, newest.sequence)
    journal = read_journal(read)
    faults += _journal_faults(journal, newest.sequence if newest else 0)
    services = block.get("services", []) if block else []
    return Evidence(
        newest.sequence if newest else 0,
        newest.time_ns if newest else 0,
        tuple(services) if isinstance(services, list) else (),
        tuple(faults),
        journal.state,
    )


def replay(machine: Machine, order: list[str], readers: Mapping[str, Read]) -> Evidence:
    """Compare disks with what writes 1 to n must have left, n being the newest record found on the first disk.

    `order` names all disks of the VM, the first one first; disks without a reader (excluded ones) are left out.
    Every byte of every disk is compared. The one freedom: where the journal says that write n + 1 is under way, its
    content may be there before its record. So an image whose journal is clean has none.
    """
    found = examine(readers[order[0]])
    seed, sizes = machine.guest.seed, [int(disk.size) for disk in machine.disks]
    last: dict[tuple[int, int], int] = {}
    for sequence in range(1, found.sequence + 1):
        last[layout.place(seed, sequence, sizes)] = sequence
    ahead = layout.place(seed, found.sequence + 1, sizes)
    torn = found.journal is JournalState.TORN
    faults = list(found.faults)
    for index, name in enumerate(order):
        if name in readers:
            image = _Image(machine, index, {slot: n for (disk, slot), n in last.items() if disk == index})
            early = (ahead[1], found.sequence + 1) if torn and ahead[0] == index else None
            faults += [f"{name}: {fault}" for fault in image.differences(readers[name], early)]
    return Evidence(found.sequence, found.time_ns, found.services, tuple(faults), found.journal)


class _Image:
    """The bytes that a disk must have, piece by piece."""

    def __init__(self, machine: Machine, index: int, last: Mapping[int, int]) -> None:
        self._seed, self._last, self._size = machine.guest.seed, last, int(machine.disks[index].size)
        wish = machine.disks[index]
        self._initial = dict(layout.pieces(self._size, int(wish.data)))
        self._initial_seed = wish.seed
        services = [service.model_dump() for service in machine.guest.services]
        self._superblock = layout.superblock(self._seed, services) if index == 0 else b""
        self._ring_end = layout.SLOTS_OFFSET if index == 0 else 0

    def differences(self, read: Read, early: tuple[int, int] | None) -> list[str]:
        found = []
        for offset in range(0, self._size, layout.PIECE):
            length = min(layout.PIECE, self._size - offset)
            actual = read(offset, length)
            if actual != self._expected(offset, length, actual, early):
                found.append(f"bytes {offset} to {offset + length} are not those of the replay")
        return found

    def _expected(self, offset: int, length: int, actual: bytes, early: tuple[int, int] | None) -> bytes:
        image = bytearray(length)
        if offset in self._initial:
            image[: self._initial[offset]] = layout.initial(self._initial_seed, offset, self._initial[offset])
        if offset < self._ring_end:
            # The records hold times, which no replay knows: their chain is verified instead.
            image[:] = actual
            if offset == 0:
                image[: layout.SUPERBLOCK_BYTES] = self._superblock
        for slot in self._slots_in(offset, length):
            at = layout.slot_offset(slot) - offset
            image[at : at + layout.SLOT_BYTES] = self._slot(slot, actual[at : at + layout.SLOT_BYTES], early)
        return bytes(image)

    def _slots_in(self, offset: int, length: int) -> range:
        first = max(0, (offset - layout.SLOTS_OFFSET) // layout.SLOT_BYTES)
        end = max(0, (offset + length - layout.SLOTS_OFFSET) // layout.SLOT_BYTES)
        return range(first, min(end, layout.slots(self._size)))

    def _slot(self, slot: int, actual: bytes, early: tuple[int, int] | None) -> bytes:
        if early and early[0] == slot and actual == layout.content(self._seed, early[1]):
            return actual
        return layout.content(self._seed, self._last[slot]) if slot in self._last else bytes(layout.SLOT_BYTES)


def _ring(read: Read) -> dict[int, Record]:
    data = read(layout.RING_OFFSET, layout.RING_RECORDS * layout.RECORD_BYTES)
    found: dict[int, Record] = {}
    # Most guests of a large site never wrote: nothing at all is seen a hundred times faster so.
    if data.count(0) == len(data):
        return found
    for at in range(0, len(data), layout.RECORD_BYTES):
        if data[at : at + 8] != bytes(8):
            record = Record.from_bytes(data[at : at + layout.RECORD_BYTES])
            if record:
                found[record.sequence] = record
    return found


def _journal_faults(journal: JournalEntry, newest: int) -> list[str]:
    if journal.state is JournalState.DAMAGED:
        return ["the journal does not verify"]
    if not journal.fits(newest):
        return [f"the journal is {journal.state} at write {journal.sequence}, but the newest record is {newest}"]
    return []


def _chain_faults(records: Mapping[int, Record], newest: int) -> list[str]:
    """Every record that must still be in the ring is there, in its chain."""
    oldest = max(1, newest - layout.RING_RECORDS + 1)
    for sequence in range(oldest, newest + 1):
        record = records.get(sequence)
        if record is None:
            return [f"the record of write {sequence} is missing"]
        before = records.get(sequence - 1)
        known = before.chain if before else (0 if sequence == 1 else None)
        if known is not None and record.chain != layout.chain(known, sequence, record.time_ns):
            return [f"the chain of records breaks at write {sequence}"]
    return []
