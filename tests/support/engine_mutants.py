"""The engine with one rule broken at a time. What no harness can tell from the real one, no harness has tested.

Where a rule is broken for an instant only, the instant is made `WINDOW` seconds long, so that a random kill meets it.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from secondsite.agent.lab.engine import ReplicationSource, SourceDisk
from secondsite.agent.lab.engine.port.client import PeerSession
from secondsite.agent.lab.engine.primary.tracker import Cell, DiskTracker
from secondsite.agent.lab.engine.replica.receiver import Receiver
from secondsite.wire.peer import CycleCommit, CycleCommitted

WINDOW = 0.05


def linger() -> None:
    time.sleep(WINDOW)  # the broken instant itself, nothing is awaited


class NoCopyBeforeWrite(DiskTracker):
    """A guest may overwrite what the cycle still owes."""

    def before_write(self, offset: int, length: int) -> None:
        first, end = offset // 65536, -(-(offset + length) // 65536)
        self._current[first:end] = 1


class ForgetfulSaved(DiskTracker):
    """Saved blocks die with the process, but the cycle is resumed all the same."""

    def __init__(self, disk: SourceDisk, folder: Path, name: str) -> None:
        super().__init__(disk, folder, name)
        self._frozen[self._frozen == Cell.Saved] = Cell.Owed


class ClearFirst(DiskTracker):
    """The freeze clears `current` before `frozen` has it."""

    def _roll_over(self) -> None:
        pending = self._current.copy()
        self._current[:] = 0
        linger()
        self._frozen[:] = np.where(self._frozen | pending, np.uint8(Cell.Owed), np.uint8(Cell.Free))


TRACKERS: dict[str, type[DiskTracker]] = {
    "no-copy-before-write": NoCopyBeforeWrite,
    "forgetful-saved": ForgetfulSaved,
    "freeze-clears-first": ClearFirst,
}


def break_source(mutant: str, source: Callable[[], ReplicationSource]) -> None:
    """For the rest of this process."""
    patched = pytest.MonkeyPatch()
    if mutant in TRACKERS:
        patched.setattr(ReplicationSource, "_tracker_type", TRACKERS[mutant])
    if mutant == "clear-before-the-reply":
        commit = PeerSession.commit

        def cleared(peer: PeerSession, vm: str, cycle: str, message: CycleCommit) -> CycleCommitted:
            for tracker in source().trackers.values():
                tracker.release()
            source()._change(open=None)
            linger()
            return commit(peer, vm, cycle, message)

        patched.setattr(PeerSession, "commit", cleared)


def break_target(mutant: str) -> None:
    """For the rest of this process."""
    if mutant == "reply-before-the-commit":
        commit = Receiver.commit

        def promised(receiver: Receiver, cycle: str, message: CycleCommit) -> CycleCommitted:
            with receiver._core.lock:
                if cycle == receiver._core.contents.head:
                    return commit(receiver, cycle, message)
                receiver._expect_open(cycle)

            def later() -> None:
                linger()
                commit(receiver, cycle, message)

            threading.Thread(target=later, daemon=True).start()
            return CycleCommitted(point=cycle, durable_time=receiver._clock())

        pytest.MonkeyPatch().setattr(Receiver, "commit", promised)


# With who breaks which rule, in words for the table.
MUTANTS = {
    "no-copy-before-write": "source: writes over what the cycle still owes",
    "forgetful-saved": "source: resumes a cycle without what it had saved",
    "freeze-clears-first": "source: clears `current` before `frozen` has it",
    "clear-before-the-reply": "source: closes the cycle before the replica has answered",
    "reply-before-the-commit": "target: answers before the point exists",
}
