"""Lab guests: threads that write to the disks of a VM through the engine, as the VM's own software would."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from secondsite import logs
from secondsite.agent.lab import layout
from secondsite.agent.lab.datacentre import Machine
from secondsite.agent.lab.engine import EngineError, QuiesceFailed
from secondsite.agent.lab.guest_disks import GuestDisk, disk_ids, open_disk
from secondsite.agent.lab.guest_journal import Journal
from secondsite.agent.lab.layout import Record
from secondsite.agent.lab.truth import Read, newest_record

_log = logs.get(__name__)

# Slow enough to cost nothing, fast enough that a guest of one write per second is not late by a tick.
_LONGEST_PAUSE_SECONDS = 0.2
# VSS holds the writes of file systems for ten seconds at the most ("Volume Shadow Copy Service": flush and hold).
HOLD_SECONDS = 10.0
# A disk that fails is tried again: it may have been full.
_BROKEN_SECONDS = 1.0


_NONE: Mapping[str, GuestDisk] = MappingProxyType({})
# Of all guests without a thread: an event is a kilobyte, and most guests of a large site never write.
_NOT_STARTED = threading.Event()


class Guest:
    """A VM that runs here: its disks, and the thread that writes to them.

    `borrowed` are disks that are no files in `folder`: those of a clone. The others are made where they are not there.
    `refuse_quiesce`: why it cannot be quiesced at the moment, as after a failure of VSS; empty: it can.
    """

    refuse_quiesce = ""

    def __init__(self, machine: Machine, folder: Path, borrowed: Mapping[str, GuestDisk] = _NONE) -> None:
        self.machine = machine
        self._lock = threading.RLock()
        self._thawed: threading.Condition | None = None
        self._held_until: float | None = None
        self._stop = _NOT_STARTED
        self._thread: threading.Thread | None = None
        self.disks = {
            name: open_disk(folder / f"{name}.raw", machine, index)
            for index, name in enumerate(disk_ids(machine))
            if name not in borrowed
        }
        all_disks = {**borrowed, **self.disks}
        self._order: list[GuestDisk] = [all_disks[name] for name in disk_ids(machine)]
        self._sizes = [disk.size for disk in self._order]
        self._last = newest_record(self._order[0].read)
        self._journal = Journal(self._order[0].read, self._order[0].write)

    @property
    def newest(self) -> Record | None:
        """The last record written."""
        return self._last

    def record(self, sequence: int) -> Record | None:
        """The record of one write; None where it was not made yet, or is overwritten since."""
        found = Record.from_bytes(self._order[0].read(layout.ring_offset(sequence), layout.RECORD_BYTES))
        return found if found and found.sequence == sequence else None

    @property
    def readers(self) -> dict[str, Read]:
        """What its disks hold now, by the engine's names."""
        return {name: disk.read for name, disk in zip(disk_ids(self.machine), self._order, strict=True)}

    def start(self) -> None:
        """Go on writing at the next sequence number, if the VM is on."""
        if self._thread is None and self.machine.guest.writes_per_second and self.machine.state == "Running":
            self._stop = threading.Event()
            self._thread = threading.Thread(target=self._run, name=f"guest {self.machine.name}", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Write no more; the disks stay open for whoever tracks them. The VM stays on: it goes on with `start`."""
        self._stop.set()
        thread, self._thread = self._thread, None
        if thread:
            thread.join()

    def turn_on(self) -> None:
        """Start-VM. One that is on stays so."""
        self._power("Running")
        self.start()

    def shut_down(self) -> None:
        """Stop-VM, as the guest's own shutdown: nothing is under way, all is flushed, the journal is clean.

        Raises QuiesceFailed, OSError or EngineError where its disks do not let it; then it is on as before.
        """
        if self.machine.state == "Running":
            self.stop()
            try:
                with self._lock:
                    self._settle()
            except (OSError, EngineError):
                self.start()
                raise
        self._power("Off")

    def turn_off(self) -> None:
        """Stop-VM -TurnOff: as if its power was cut."""
        self.stop()
        self._power("Off")

    def _power(self, state: Literal["Running", "Off"]) -> None:
        self.machine = self.machine.model_copy(update={"state": state})

    def close(self) -> None:
        """Stop, and close the disks."""
        self.stop()
        for disk in self._order:
            disk.close()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """While inside, the guest writes nothing."""
        with self._lock:
            yield

    @contextmanager
    def quiesced(self) -> Iterator[None]:
        """While inside, the guest rests: its journal is clean, its disks are flushed, and it writes nothing.

        Raises QuiesceFailed: at the entry where it cannot be brought to rest, at the exit where it did not rest so
        long, for after `HOLD_SECONDS` it goes on by itself.
        """
        self._hold()
        try:
            yield
        finally:
            rested = self._thaw()
        if not rested:
            raise QuiesceFailed(f"{self.machine.name} was held for more than {HOLD_SECONDS:g} s and went on writing")

    def write_one(self) -> Record:
        """One write, once nobody holds the guest."""
        with self._lock:
            self._await_thaw()
            return self._write()

    def _write(self) -> Record:
        """Announced in the journal; then the content; then its record, which never promises what is not there."""
        seed, log = self.machine.guest.seed, self._order[0]
        sequence = self._newest_sequence + 1
        disk, slot = layout.place(seed, sequence, self._sizes)
        self._journal.begin(sequence)
        self._order[disk].write(layout.slot_offset(slot), layout.content(seed, sequence))
        # No freeze between the time and the record: one that lacks the record must not be later than its time.
        with log.lock:
            record = layout.next_record(self._last, time.time_ns(), disk, slot)
            log.write(layout.ring_offset(sequence), record.to_bytes())
        self._last = record
        self._journal.end(sequence)
        return record

    @property
    def _newest_sequence(self) -> int:
        return self._last.sequence if self._last else 0

    def _hold(self) -> None:
        if self.refuse_quiesce:
            raise QuiesceFailed(f"{self.machine.name} cannot be quiesced: {self.refuse_quiesce}")
        # Whoever holds the lock is in the middle of a write: it is let finish.
        if not self._lock.acquire(timeout=HOLD_SECONDS):
            raise QuiesceFailed(f"{self.machine.name} cannot be quiesced: a write does not end")
        try:
            self._settle()
            self._held_until = time.monotonic() + HOLD_SECONDS
        except OSError as error:
            raise QuiesceFailed(f"{self.machine.name} cannot be quiesced: {error}") from error
        finally:
            self._lock.release()

    def _settle(self) -> None:
        """Finish, flush, mark. Lock held."""
        if self._journal.clean:
            return
        if self.machine.state != "Running":
            raise QuiesceFailed(f"{self.machine.name} is off, and was not shut down cleanly")
        if self._journal.torn:
            # An earlier life of this guest was killed in the middle of a write.
            self._write()
        for disk in self._order:
            disk.sync()
        self._journal.close(self._newest_sequence)

    def _await_thaw(self) -> None:
        """Lock held. A holder that does not come back must not stop the guest for ever."""
        while self._held_until is not None:
            left = self._held_until - time.monotonic()
            if left > 0:
                self._thawed = self._thawed or threading.Condition(self._lock)
                self._thawed.wait(left)
            else:
                self._held_until = None

    def _thaw(self) -> bool:
        """Let the guest go; whether it was still held."""
        with self._lock:
            rested, self._held_until = self._held_until is not None, None
            if self._thawed is not None:
                self._thawed.notify_all()
            return rested

    def _run(self) -> None:
        pause = 1 / self.machine.guest.writes_per_second
        due = time.monotonic()
        while not self._stop.wait(max(0.0, min(due - time.monotonic(), _LONGEST_PAUSE_SECONDS))):
            if time.monotonic() >= due:
                due = self._write_or_wait(due, pause)

    def _write_or_wait(self, due: float, pause: float) -> float:
        """One write; when the next is due."""
        try:
            self.write_one()
        except (EngineError, OSError) as error:
            _log.warning("a guest's disk fails", vm=self.machine.name, error=str(error))
            return time.monotonic() + _BROKEN_SECONDS
        # A guest that was held up does not hurry after what it missed.
        return max(due + pause, time.monotonic() - 1)
