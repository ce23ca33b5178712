"""A quiesced guest: what the bytes of its disks and points say of it, and how it is held and let go."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from secondsite.agent.lab import guest_journal, guests, layout
from secondsite.agent.lab.datacentre import DataCentre, Machine
from secondsite.agent.lab.engine import Consistency, QuiesceFailed, ReplicationSource, SourceDisk
from secondsite.agent.lab.guest_disks import disk_ids
from secondsite.agent.lab.guest_journal import Journal, JournalEntry, JournalState, read_journal
from secondsite.agent.lab.guests import Guest
from secondsite.agent.lab.truth import Evidence, examine, replay
from support.engine_pair import Pair
from support.engine_soak import wait_until
from support.lab_centres import DB, source_centre

LOG = "SCSI-0-0"


def machine(**changes: Any) -> Machine:
    found = DataCentre.model_validate(source_centre()).machine(DB)
    assert found is not None
    return found.model_copy(update=changes)


class GuestPair(Pair):
    """A pair whose source disks are those of a lab guest; nobody writes but the test."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, {})

    def _open_source(self, boot_id: str | None = None) -> None:
        self.guest = Guest(machine(), self.folder / "guest")
        self.disks = self.guest.disks
        self.source = ReplicationSource(self.folder / "source", "vm", self.disks, clock=self.clock, boot_id=boot_id)

    def judge(self, point: str) -> Evidence:
        readers = {name: partial(self.target.read_point, point, name) for name in self.target.disks}
        return replay(self.guest.machine, disk_ids(self.guest.machine), readers)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[GuestPair]:
    with GuestPair(tmp_path) as found:
        found.guest.write_one()
        found.cycle()
        yield found


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[Guest]:
    found = Guest(machine(), tmp_path)
    found.write_one()
    yield found
    found.close()


@contextmanager
def in_the_middle_of_a_write(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> Iterator[None]:
    """Between the content and the record of the next write, `act` runs in the guest's own thread."""
    write, armed = SourceDisk.write, [True]

    def spied(self: SourceDisk, offset: int, data: bytes) -> None:
        write(self, offset, data)
        if len(data) == layout.SLOT_BYTES and armed:
            armed.clear()
            act()

    with monkeypatch.context() as patched:
        patched.setattr(SourceDisk, "write", spied)
        yield


def state(guest: Guest) -> JournalState:
    return read_journal(guest.disks[LOG].read).state


def test_a_point_frozen_in_the_middle_of_a_write_is_torn_and_one_of_a_quiesced_guest_is_clean(
    pair: GuestPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    with in_the_middle_of_a_write(monkeypatch, pair.cycle):
        pair.guest.write_one()
    by_chance = pair.cycle()
    quiesced = pair.source.run_cycle(pair.client, quiesce=pair.guest.quiesced)
    pair.guest.write_one()
    later = pair.cycle()
    torn = pair.target.points()[1]
    assert torn.consistency is Consistency.CrashConsistent
    found = [pair.judge(point) for point in (torn.id, by_chance.cycle, quiesced.cycle, later.cycle)]
    assert [evidence.journal for evidence in found] == ["Torn", "Dirty", "Clean", "Dirty"]
    assert [evidence.sequence for evidence in found] == [1, 2, 2, 3]
    assert [evidence.faults for evidence in found] == [(), (), (), ()]
    assert quiesced.consistency is Consistency.ApplicationConsistent


def test_quiescing_lets_the_write_finish_that_is_under_way(pair: GuestPair, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = threading.Event()
    pool = ThreadPoolExecutor(1)
    running: list[Future[str]] = []

    @contextmanager
    def quiesce() -> Iterator[None]:
        asked.set()
        with pair.guest.quiesced():
            yield

    def ask() -> None:
        running.append(pool.submit(lambda: pair.source.run_cycle(pair.client, quiesce=quiesce).cycle))
        assert asked.wait(20)
        assert pair.source.open_cycle is None, "frozen under the guest's hands"

    with in_the_middle_of_a_write(monkeypatch, ask):
        pair.guest.write_one()
    evidence = pair.judge(running[0].result(20))
    pool.shutdown()
    assert (evidence.sequence, evidence.journal, evidence.faults) == (2, JournalState.CLEAN, ())


def test_writes_wait_for_the_thaw(guest: Guest) -> None:
    with ThreadPoolExecutor(1) as pool:
        with guest.quiesced():
            writing = pool.submit(guest.write_one)
            # Made by the first who waits, under the lock that he gives up only to wait.
            wait_until(lambda: guest._thawed is not None, 20)
            assert (state(guest), guest.newest and guest.newest.sequence) == (JournalState.CLEAN, 1)
        assert writing.result(20).sequence == 2
    assert state(guest) is JournalState.DIRTY


def test_a_holder_that_does_not_come_back_is_not_waited_for(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guests, "HOLD_SECONDS", 0.01)
    with pytest.raises(QuiesceFailed, match=r"held for more than 0\.01 s"), guest.quiesced():
        assert guest.write_one().sequence == 2
    assert guest.write_one().sequence == 3


def test_a_guest_that_is_let_go_by_an_error_writes_on(guest: Guest) -> None:
    with pytest.raises(ValueError, match="of the caller"), guest.quiesced():
        raise ValueError("of the caller")
    assert guest.write_one().sequence == 2


def test_a_guest_that_refuses_says_why_and_goes_on(guest: Guest) -> None:
    guest.refuse_quiesce = "VSS_E_WRITER_STATUS"
    with pytest.raises(QuiesceFailed, match="db cannot be quiesced: VSS_E_WRITER_STATUS"), guest.quiesced():
        pytest.fail("it was not brought to rest")
    assert guest.write_one().sequence == 2
    guest.refuse_quiesce = ""
    with guest.quiesced():
        assert state(guest) is JournalState.CLEAN


def test_a_write_that_does_not_end_is_not_waited_for(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guests, "HOLD_SECONDS", 0.01)

    def ask() -> None:
        with ThreadPoolExecutor(1) as pool:
            failure = pool.submit(guest.quiesced().__enter__).exception(20)
        assert isinstance(failure, QuiesceFailed)
        assert "a write does not end" in str(failure)

    with in_the_middle_of_a_write(monkeypatch, ask):
        guest.write_one()


def test_disks_that_cannot_be_flushed_are_no_clean_image(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_self: SourceDisk) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(SourceDisk, "sync", broken)
        with pytest.raises(QuiesceFailed, match="Input/output"), guest.quiesced():
            pytest.fail("it was not brought to rest")
    assert state(guest) is JournalState.DIRTY
    assert guest.write_one().sequence == 2


def test_what_a_killed_guest_had_begun_is_finished_before_it_rests(
    guest: Guest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(Exception):
        pass

    def kill() -> None:
        raise Killed

    with in_the_middle_of_a_write(monkeypatch, kill), pytest.raises(Killed):
        guest.write_one()
    again = Guest(machine(), tmp_path)
    assert state(again) is JournalState.TORN
    with again.quiesced():
        readers = {name: disk.read for name, disk in again.disks.items()}
        found = replay(again.machine, disk_ids(again.machine), readers)
    assert (found.sequence, found.journal, found.faults) == (2, JournalState.CLEAN, ())
    again.close()


def test_a_vm_that_is_off_is_not_written_to(tmp_path: Path) -> None:
    idle = Guest(machine(state="Off"), tmp_path / "never ran")
    before = idle.disks[LOG].read(0, layout.SLOTS_OFFSET)
    with idle.quiesced():
        assert state(idle) is JournalState.CLEAN
    assert idle.disks[LOG].read(0, layout.SLOTS_OFFSET) == before
    idle.close()
    ran = Guest(machine(), tmp_path / "ran")
    ran.write_one()
    ran.close()
    off = Guest(machine(state="Off"), tmp_path / "ran")
    with pytest.raises(QuiesceFailed, match="was not shut down"), off.quiesced():
        pytest.fail("its journal is dirty")
    off.close()


def test_resting_again_without_a_write_between_changes_no_byte(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    with guest.quiesced():
        pass

    def forbidden(*_: object) -> None:
        pytest.fail("nothing has happened that would have to be written")

    monkeypatch.setattr(SourceDisk, "write", forbidden)
    with guest.quiesced():
        pass


@pytest.mark.parametrize("at", range(guest_journal.ENTRY_BYTES))
def test_every_byte_of_the_journal_counts(guest: Guest, at: int) -> None:
    with guest.quiesced():
        disk, place = guest.disks[LOG], guest_journal.OFFSET + at
        disk.write(place, bytes([disk.read(place, 1)[0] ^ 0x40]))
        assert read_journal(disk.read).state is JournalState.DAMAGED
        assert examine(disk.read).faults == ("the journal does not verify",)


@pytest.mark.parametrize(
    ("verb", "sequence", "fits"),
    [
        ("begin", 1, True),
        ("begin", 2, True),
        ("begin", 3, False),
        ("end", 2, False),
        ("end", 0, False),
        ("close", 2, False),
        ("close", 1, True),
    ],
)
def test_a_journal_that_contradicts_the_records_is_a_fault(guest: Guest, verb: str, sequence: int, fits: bool) -> None:
    disk = guest.disks[LOG]
    getattr(Journal(disk.read, disk.write), verb)(sequence)
    assert ("the newest record is 1" in "".join(examine(disk.read).faults)) is not fits


def test_a_lost_journal_is_a_fault(guest: Guest) -> None:
    disk = guest.disks[LOG]
    disk.write(guest_journal.OFFSET, bytes(guest_journal.ENTRY_BYTES))
    assert read_journal(disk.read) == JournalEntry(JournalState.CLEAN, 0)
    assert examine(disk.read).faults == ("the journal is Clean at write 0, but the newest record is 1",)
