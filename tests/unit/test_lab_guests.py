"""Lab guests: write n is a function of n, the replay finds every difference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondsite.agent.lab import layout
from secondsite.agent.lab.datacentre import DataCentre, Machine
from secondsite.agent.lab.guest_disks import disk_ids
from secondsite.agent.lab.guest_journal import OFFSET, Journal, JournalState
from secondsite.agent.lab.guests import Guest
from secondsite.agent.lab.layout import Record
from secondsite.agent.lab.truth import Evidence, examine, replay
from support.lab_centres import DB, source_centre


@pytest.fixture
def machine() -> Machine:
    found = DataCentre.model_validate(source_centre()).machine(DB)
    assert found is not None
    return found


def judge(guest: Guest) -> Evidence:
    readers = {name: disk.read for name, disk in guest.disks.items()}
    return replay(guest.machine, disk_ids(guest.machine), readers)


def test_disks_equal_the_replay_of_their_writes(machine: Machine, tmp_path: Path) -> None:
    guest = Guest(machine, tmp_path)
    assert judge(guest) == Evidence(0, 0, judge(guest).services, ())
    for _ in range(300):
        guest.write_one()
    found = judge(guest)
    assert (found.sequence, found.faults) == (300, ())
    assert found.services[0]["port"] == 1433
    guest.close()


def test_a_guest_goes_on_at_its_next_write(machine: Machine, tmp_path: Path) -> None:
    guest = Guest(machine, tmp_path)
    for _ in range(7):
        guest.write_one()
    guest.close()
    again = Guest(machine, tmp_path)
    assert again.newest is not None
    assert again.newest.sequence == 7
    assert again.write_one().sequence == 8
    assert judge(again).faults == ()
    third = again.record(3)
    assert third is not None
    assert third.sequence == 3
    assert again.record(9) is None
    again.close()


def test_a_write_that_the_journal_announces_is_the_one_freedom(machine: Machine, tmp_path: Path) -> None:
    guest = Guest(machine, tmp_path)
    guest.write_one()
    sizes = [int(disk.size) for disk in machine.disks]
    log = guest.disks["SCSI-0-0"]

    def put(sequence: int) -> None:
        disk, slot = layout.place(machine.guest.seed, sequence, sizes)
        name = disk_ids(machine)[disk]
        guest.disks[name].write(layout.slot_offset(slot), layout.content(machine.guest.seed, sequence))

    put(2)
    assert len(judge(guest).faults) == 1
    Journal(log.read, log.write).begin(2)
    assert (judge(guest).faults, judge(guest).journal) == ((), JournalState.TORN)
    put(3)
    assert len(judge(guest).faults) == 1
    guest.close()


@pytest.mark.parametrize(
    ("disk", "offset", "says"),
    [
        ("SCSI-0-0", 20, "superblock"),
        ("SCSI-0-0", layout.ring_offset(40) + 20, "write 40 is missing"),
        ("SCSI-0-0", OFFSET + 9, "the journal does not verify"),
        ("SCSI-0-0", layout.SLOTS_OFFSET + 1, "not those of the replay"),
        ("SCSI-0-1", layout.SLOTS_OFFSET + 4097, "not those of the replay"),
        ("SCSI-0-1", 12 * layout.MEBIBYTE - 1, "not those of the replay"),
        ("SCSI-0-1", 5 * layout.MEBIBYTE, "not those of the replay"),
    ],
)
def test_one_wrong_byte_is_found(machine: Machine, tmp_path: Path, disk: str, offset: int, says: str) -> None:
    guest = Guest(machine, tmp_path)
    for _ in range(50):
        guest.write_one()
    byte = guest.disks[disk].read(offset, 1)[0]
    guest.disks[disk].write(offset, bytes([byte ^ 1]))
    assert any(says in fault for fault in judge(guest).faults)
    guest.close()


def test_a_lost_write_and_an_old_block_are_found(machine: Machine, tmp_path: Path) -> None:
    guest = Guest(machine, tmp_path)
    for _ in range(20):
        guest.write_one()
    last = guest.newest
    assert last is not None
    name = disk_ids(machine)[last.disk]
    before = guest.disks[name].read(layout.slot_offset(last.slot), layout.SLOT_BYTES)
    guest.disks[name].write(layout.slot_offset(last.slot), bytes(layout.SLOT_BYTES))
    assert judge(guest).faults
    guest.disks[name].write(layout.slot_offset(last.slot), before)
    assert judge(guest).faults == ()
    guest.close()


def test_a_broken_chain_is_found(machine: Machine, tmp_path: Path) -> None:
    guest = Guest(machine, tmp_path)
    records = [guest.write_one() for _ in range(5)]
    forged = Record(3, records[2].time_ns + 1, records[2].disk, records[2].slot, records[2].chain)
    disk = guest.disks["SCSI-0-0"]
    disk.write(layout.ring_offset(3), forged.to_bytes())
    assert examine(disk.read).faults == ("the chain of records breaks at write 3",)
    guest.close()


def test_the_ring_forgets_the_oldest_and_still_verifies(machine: Machine, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(layout, "RING_RECORDS", 64)
    guest = Guest(machine, tmp_path)
    for _ in range(200):
        guest.write_one()
    found = judge(guest)
    assert (found.sequence, found.faults) == (200, ())
    assert guest.record(100) is None
    guest.close()


@given(seed=st.integers(0, 2**63 - 1), sequence=st.integers(1, 2**40))
def test_every_write_falls_inside_its_disk(seed: int, sequence: int) -> None:
    sizes = [4 * layout.MEBIBYTE, 96 * layout.MEBIBYTE]
    disk, slot = layout.place(seed, sequence, sizes)
    assert layout.SLOTS_OFFSET <= layout.slot_offset(slot) <= sizes[disk] - layout.SLOT_BYTES


@given(size=st.integers(64, 4096).map(lambda blocks: blocks * layout.BLOCK), share=st.floats(0, 0.5))
def test_initial_content_lies_apart_from_what_the_guest_writes(size: int, share: float) -> None:
    pieces = layout.pieces(size, int(size * share))
    end_of_slots = layout.slot_offset(layout.slots(size))
    assert all(offset >= end_of_slots and offset + length <= size for offset, length in pieces)
    assert all(offset % layout.PIECE == 0 for offset, _ in pieces)
    assert len({offset for offset, _ in pieces}) == len(pieces)


@given(
    st.builds(
        Record,
        sequence=st.integers(1, 2**63),
        time_ns=st.integers(0, 2**63),
        disk=st.integers(0, 63),
        slot=st.integers(0, 2**31),
        chain=st.integers(0, 2**64 - 1),
    )
)
def test_a_record_is_read_as_it_was_written(record: Record) -> None:
    data = record.to_bytes()
    assert len(data) == layout.RECORD_BYTES
    assert Record.from_bytes(data) == record
    assert Record.from_bytes(data[:30] + bytes([data[30] ^ 1]) + data[31:]) is None
