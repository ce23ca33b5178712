"""The two programs of the kill harness: a source with a writing guest, and a target that merges, clones and scrubs.

`python -m support.engine_processes` waits for orders on its standard input, one JSON object a line, and starts a
program by a fork: so a new life costs milliseconds, not the imports. It answers with the process id.
"""

import json
import os
import random
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from secondsite.agent.lab.engine import (
    DataServer,
    HeadConflict,
    LinkError,
    PeerClient,
    PeerRefused,
    ReplicationSource,
    SourceDisk,
    TargetStore,
    TokenBucket,
)
from support.engine_chores import Chores
from support.engine_mutants import break_source, break_target
from support.engine_truth import TruthfulGuest, wrong_in_point


def note(folder: Path, **fields: Any) -> None:
    line = json.dumps(fields) + "\n"
    with (folder / "events.jsonl").open("a", encoding="utf-8") as file:
        file.write(line)


def run_source(config: dict[str, Any]) -> None:
    folder = Path(config["source"])
    break_source(config["mutant"], lambda: source)
    disks = {name: SourceDisk(folder / f"{name}.raw", size) for name, size in config["disks"].items()}
    guest = TruthfulGuest(folder, disks, seed=time.time_ns())
    if not ReplicationSource.exists(folder / "tracking"):
        guest.fill(config["fill"])
    source = ReplicationSource(folder / "tracking", "vm", disks, at_freeze=guest.at_freeze)
    guest.repair()
    threading.Thread(target=_write_forever, args=(guest, config["writes_per_second"]), daemon=True).start()
    bucket = TokenBucket(config["rate"])
    client = PeerClient("127.0.0.1", config["port"], None, bucket=bucket, timeout_seconds=10)
    note(folder, event="started", trusted=source.map_trusted)
    pause = threading.Event()
    while True:
        try:
            if random.random() < config["distrust"]:
                source.distrust()
            if not source.map_trusted:
                found = source.compare(client)
                note(folder, event="disks-compared", different=found.blocks_different)
            result = source.run_cycle(client)
            kind, sent = result.kind.value, result.wire_bytes
            note(
                folder, event="cycle", id=result.cycle, kind=kind, resumed=result.resumed, bytes=result.bytes, wire=sent
            )
            pause.wait(config["pause"])
        except LinkError:
            pause.wait(0.02)
        except (HeadConflict, PeerRefused) as refusal:
            # The two sides agree no more on what is committed, or on what was to be sent: no kill excuses that.
            note(folder, event="died", detail=str(refusal))
            return


def _write_forever(guest: TruthfulGuest, per_second: float) -> None:
    pause = threading.Event()
    while not pause.wait(1 / per_second):
        guest.write_once()


def run_target(config: dict[str, Any]) -> None:
    folder = Path(config["target"])
    break_target(config["mutant"])
    arrived = threading.Event()
    store = TargetStore(folder, "vm", on_commit=lambda _: arrived.set())
    server = DataServer("127.0.0.1", config["port"], None, lambda _: store, lambda *_: "source")
    server.start()
    chores = Chores(store, config, lambda **fields: note(folder, **fields))
    threading.Thread(target=_compare_new_points, args=(store, config, arrived), daemon=True).start()
    pause = threading.Event()
    while not pause.wait(0.05):
        chores.do_one()


def _compare_new_points(store: TargetStore, config: dict[str, Any], arrived: threading.Event) -> None:
    """Compare each point as soon as it came, if there is time for each: the judge compares all that are left."""
    while arrived.wait():
        arrived.clear()
        point = store.points()[-1].id
        wrong = wrong_in_point(store, point, Path(config["source"]))
        note(Path(config["target"]), event="compared", point=point, wrong=wrong)


PROGRAMS = {"source": run_source, "target": run_target}


def serve() -> None:
    """Start a program for each order. What died is only forgotten at the next: until then its number is its own."""
    for line in sys.stdin:
        order = json.loads(line)
        while _forget_one():
            pass
        child = os.fork()
        if child == 0:
            _become(order["program"], json.loads(Path(order["config"]).read_text(encoding="utf-8")))
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()


def _forget_one() -> bool:
    try:
        return os.waitpid(-1, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return False


def _become(program: str, config: dict[str, Any]) -> None:
    try:
        log = os.open(f"{config[program]}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        PROGRAMS[program](config)
    except BaseException as error:  # noqa: BLE001  # what is raised here must not unwind into the parent's loop
        traceback.print_exc()
        note(Path(config[program]), event="died", detail=f"the {program} died by itself: {error!r}")
    os._exit(1)


if __name__ == "__main__":
    serve()
