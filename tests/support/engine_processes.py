"""The two programs of the kill harness: a source with a writing guest, and a target with its data port.

Run as `python -m support.engine_processes source|target CONFIG`; everything they know stands in the config file.
"""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from secondsite.agent.lab.engine import (
    DataServer,
    LinkError,
    PeerClient,
    ReplicationSource,
    SourceDisk,
    TargetStore,
    TokenBucket,
)
from secondsite.agent.lab.engine.tracker import Cell, DiskTracker
from support.engine_truth import TruthfulGuest


class NoCopyBeforeWrite(DiskTracker):
    """Mutant: a guest may overwrite what the cycle still owes."""

    def before_write(self, offset: int, length: int) -> None:
        first, end = offset // 65536, -(-(offset + length) // 65536)
        self._current[first:end] = 1


class ForgetfulSaved(DiskTracker):
    """Mutant: saved blocks die with the process, but the cycle is resumed all the same."""

    def __init__(self, disk: SourceDisk, folder: Path, name: str) -> None:
        super().__init__(disk, folder, name)
        self._frozen[self._frozen == Cell.Saved] = Cell.Owed


class ClearFirst(DiskTracker):
    """Mutant: the freeze clears `current` before `frozen` has it, and dies often in between."""

    def _roll_over(self) -> None:
        pending = self._current.copy()
        self._current[:] = 0
        if pending.any() and time.time_ns() // 1000 % 2:
            os.kill(os.getpid(), signal.SIGKILL)
        self._frozen[:] = np.where(self._frozen | pending, np.uint8(Cell.Owed), np.uint8(Cell.Free))


MUTANTS: dict[str, type[DiskTracker]] = {
    "none": DiskTracker,
    "no-copy-before-write": NoCopyBeforeWrite,
    "forgetful-saved": ForgetfulSaved,
    "clear-first": ClearFirst,
}


class HarnessSource(ReplicationSource):
    """A source whose tracker may be broken on purpose."""


def note(folder: Path, **fields: Any) -> None:
    with (folder / "events.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(fields) + "\n")


def run_source(config: dict[str, Any]) -> None:
    folder = Path(config["source"])
    HarnessSource._tracker_type = MUTANTS[config["mutant"]]
    disks = {name: SourceDisk(folder / f"{name}.raw", size) for name, size in config["disks"].items()}
    guest = TruthfulGuest(folder, disks, seed=time.time_ns())
    if not ReplicationSource.exists(folder / "tracking"):
        guest.fill(config["fill"])
    source = HarnessSource(folder / "tracking", "vm", disks, at_freeze=guest.at_freeze)
    guest.repair()
    threading.Thread(target=_write_forever, args=(guest, config["writes_per_second"]), daemon=True).start()
    bucket = TokenBucket(config["rate"])
    client = PeerClient("127.0.0.1", config["port"], None, bucket=bucket, timeout_seconds=10)
    note(folder, event="started", trusted=source.map_trusted)
    while True:
        try:
            result = source.run_cycle(client)
            kind, sent = result.kind.value, result.wire_bytes
            note(folder, event="cycle", kind=kind, resumed=result.resumed, bytes=result.bytes, wire=sent)
            threading.Event().wait(0.1)
        except LinkError:
            threading.Event().wait(0.05)


def _write_forever(guest: TruthfulGuest, per_second: float) -> None:
    pause = threading.Event()
    while not pause.wait(1 / per_second):
        guest.write_once()


def run_target(config: dict[str, Any]) -> None:
    store = TargetStore(Path(config["target"]), "vm")
    server = DataServer("127.0.0.1", config["port"], None, lambda _: store, lambda *_: "source")
    server.start()
    pause = threading.Event()
    while not pause.wait(0.2):
        points = store.points()
        if points:
            store.apply_retention(points[-1].freeze_time, config["keep_every"], config["retention"])


if __name__ == "__main__":
    programs = {"source": run_source, "target": run_target}
    programs[sys.argv[1]](json.loads(Path(sys.argv[2]).read_text(encoding="utf-8")))
